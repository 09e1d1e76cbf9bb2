"""Readers of array files, pictures and videos."""
