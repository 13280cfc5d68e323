"""Robust decisions beside preference training: optimizers, two-stage robust problems, robust Markov
decision processes and Pareto sets, each held against an exact answer.
"""
