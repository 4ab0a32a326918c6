"""Spectral-index pipelines: the formulas, exact scene statistics, and the rules that decide a pixel."""
