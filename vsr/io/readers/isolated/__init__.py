"""Parsers in a child process."""
