"""Parsing of files in a child process, where a crash of a library does no harm."""
