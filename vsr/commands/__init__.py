"""The commands of vsr, one file each."""
