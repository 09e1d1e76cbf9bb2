"""Video output."""
