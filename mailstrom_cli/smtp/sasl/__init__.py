"""SASL mechanisms as generators: they yield effects, get replies, and return the last one."""
