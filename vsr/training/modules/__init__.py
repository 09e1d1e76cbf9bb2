"""LightningModules: a shared base class and one subclass per pipeline (frame, movie, cascade)."""
