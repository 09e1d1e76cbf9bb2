"""The version of vsr."""

__version__ = "0.1.0"
