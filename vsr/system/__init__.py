"""Files, locks, signals and processes, without Lightning and Hydra."""
