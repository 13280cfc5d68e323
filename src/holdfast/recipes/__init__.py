"""Procedures of several stages, each a few calls of the other modules."""
