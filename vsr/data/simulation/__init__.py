"""The embedded shallow-water solver, numpy only."""
