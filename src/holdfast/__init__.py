"""Holdfast: train language models on preferences that cannot be fully trusted."""

__version__ = "0.1.0"
