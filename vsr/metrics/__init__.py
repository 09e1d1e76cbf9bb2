"""Scores of predicted frames and movies against the truth."""
