"""Data modules of Lightning, one for each kind of data."""
