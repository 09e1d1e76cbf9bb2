"""vsr: super-resolution of movies, of simulations first. Importing it costs nothing; its parts import torch where they use it."""

__version__ = "0.1.0"
