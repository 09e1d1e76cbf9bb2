"""LightningModules: one harness, a pipeline each."""
