"""The store: one contract for every store, and what only the spool has."""
