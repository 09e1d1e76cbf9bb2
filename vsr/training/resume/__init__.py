"""Checkpoint files, and the saved state from which an interrupted run resumes."""
