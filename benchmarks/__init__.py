"""Figures that the README quotes, each measured side by side with its peer: ``make bench``."""
