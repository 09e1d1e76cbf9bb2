"""The LightningModules: a shared base and one subclass per pipeline."""
