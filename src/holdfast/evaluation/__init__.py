"""What held-out rows say about a policy: ranking, margins, divergence, lengths and win rates, each
with an interval.

Nothing is imported here: intervals and rankings are used where no language model is, and need not
wait for one to load.
"""
