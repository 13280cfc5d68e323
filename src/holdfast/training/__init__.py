"""Training: plain loops on `accelerate`, each readable at a sitting, none of which knows which
method it trains.
"""
