"""The folder of a run: its record, lock, checkpoints, metrics, report, and doing it again."""
