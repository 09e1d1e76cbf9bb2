"""Benchmarks, the leaderboard and the reproduction of the report; not installed."""
