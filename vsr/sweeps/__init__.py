"""`-m`: many runs of a script, each in a fresh process: grids, searches, and the folder that a sweep can be taken up from."""
