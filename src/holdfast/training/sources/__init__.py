"""Where the examples of a step come from."""
