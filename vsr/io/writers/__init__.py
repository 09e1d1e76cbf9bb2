"""Files of SR movies, written while they are computed: they appear whole or not at all, and a killed run goes on where it was."""
