"""What is generated from the command tree and the table of settings: man page, completions, README tables."""
