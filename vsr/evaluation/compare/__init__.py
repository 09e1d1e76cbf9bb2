"""Comparison of training runs: tables, plots and a page."""
