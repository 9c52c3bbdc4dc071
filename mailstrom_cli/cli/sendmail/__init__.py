"""A drop-in sendmail: `mailstrom sendmail`, `mailstrom-sendmail`, and links such as mailq.

Programs start it for every message they send: it has a parser of its own and imports as little as `submit`.
"""
