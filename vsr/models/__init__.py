"""Networks in plain torch, one file each."""
