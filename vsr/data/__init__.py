"""Data modules: where HR movies come from, how they are split and degraded."""
