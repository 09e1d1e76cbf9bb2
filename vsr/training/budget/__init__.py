"""Training within a time budget."""
