"""Super-resolution networks in plain torch, one file for each network."""
