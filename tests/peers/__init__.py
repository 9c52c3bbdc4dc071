"""Servers that the tests talk to: real ones on loopback, and one whose every reply a test decides."""
