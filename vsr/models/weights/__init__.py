"""Weight files of others and of our own: reading them, and fitting their tensors into a network."""
