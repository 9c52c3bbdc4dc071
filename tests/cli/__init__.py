"""The command line, from outside and from inside."""
