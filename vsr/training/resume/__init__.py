"""Checkpoints and the state that a resumed run needs."""
