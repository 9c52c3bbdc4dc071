"""DKIM signatures (RFC 6376, 8301, 8463), without I/O; `cryptography` is loaded with the first key."""
