"""The command line: thin commands, one module each, loaded when used. Only this room prints or exits."""
