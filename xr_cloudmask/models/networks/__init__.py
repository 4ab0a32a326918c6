"""Torch modules; each is imported when a model is loaded, never before."""
