"""Files, locks, signals and processes. No module here imports Lightning or Hydra."""
