"""Files, locks, signals, processes; no Lightning, no Hydra."""
