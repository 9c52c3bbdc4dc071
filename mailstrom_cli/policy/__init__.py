"""Decisions: pure functions of values, clock and random as arguments. The other rooms only report."""
