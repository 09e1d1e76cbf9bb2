"""Sweeps of runs (-m): grids of values and searches, with a fresh process for each job."""
