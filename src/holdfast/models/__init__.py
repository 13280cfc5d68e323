"""Models: loading them with their tokenizers, safely and with clear refusals (`load`), and small
ones made on the spot (`small`).
"""
