"""Real fields of other projects, on which a pre-trained network is judged."""
