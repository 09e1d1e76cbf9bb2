"""A trained network on movies of any length and size: tiles, streams, files."""
