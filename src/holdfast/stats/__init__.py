"""Numbers that many modules need: intervals, cross-fitting, arrays."""
