"""Training of networks: LightningModules, callbacks, time budgets, and the resuming of interrupted runs."""
