"""Shared parts of the result pages: runs that are made once, Markdown and figures."""
