"""Evaluation of checkpoints, reports of scores, and comparisons of runs."""
