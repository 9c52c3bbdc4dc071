"""Benchmarks, run by hand: `python -m tests.bench` (see README.md). Nothing here is collected by pytest."""
