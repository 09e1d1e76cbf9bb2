"""Simulated movies (shallow water, two-dimensional turbulence, head phantom), numpy and scipy only."""
