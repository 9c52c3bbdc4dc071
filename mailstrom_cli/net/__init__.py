"""Sockets, DNS and TLS: the only room that touches a network. It performs, and decides nothing."""
