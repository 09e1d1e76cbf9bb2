"""Sources of HR movies, their division into train, val and test, and the loaders of their frames."""
