"""Reading of weight files, and initial weights of networks."""
