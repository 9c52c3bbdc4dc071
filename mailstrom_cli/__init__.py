"""mailstrom: submit a message, and know at any time what became of it for every recipient."""

__version__ = "0.1.0"
