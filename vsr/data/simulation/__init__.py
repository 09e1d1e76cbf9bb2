"""Simulators of movies (shallow water, two-dimensional turbulence, head phantom) that need numpy and scipy only."""
