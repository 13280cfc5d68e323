"""The stress test: a flaw at rising rates, and who survives."""
