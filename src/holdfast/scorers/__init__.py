"""Log-probabilities of answers: of text under a language model (`text`), and of exact tables
(`table`).
"""
