"""Words: key phrases of a text."""
