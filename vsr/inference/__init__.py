"""Upscaling of arrays, files and streams of any length and size with a trained network."""
