"""Self-play: rounds of answers, verdicts and training."""
