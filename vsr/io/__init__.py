"""Movie files: readers and writers."""
