"""Answers at inference: which to draw, and what to do with them."""
