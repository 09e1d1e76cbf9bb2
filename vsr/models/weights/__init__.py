"""Weight files and the initial weights of a network."""
