"""Sweeps (-m): grids and searches, each job in a fresh process."""
