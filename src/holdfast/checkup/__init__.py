"""The check-up: what is wrong with these preferences, with intervals, before anything is
trained.
"""
