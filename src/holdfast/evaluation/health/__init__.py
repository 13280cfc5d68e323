"""The health card of a reward: what is wrong with it, and what to do about it."""
