"""Scores of images under a diffusion model: minus its denoising errors, in the place of
log-probabilities. Every objective over pairs applies to them.
"""
