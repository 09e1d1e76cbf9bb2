"""Scores of frames and movies against the truth."""
