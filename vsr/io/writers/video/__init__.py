"""Video output: LR frames in, SR frames out, and the colours, times and sound of the input."""
