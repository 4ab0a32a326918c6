"""Simulated scenes with known truth: clouds, their shadows, haze and a swath edge over a clear surface.

Small on purpose: enough physics that a scene looks real to people and to networks trained on real scenes. Clouds are
fields of optical thickness (`clouds`); what a band sees of them follows from its wavelength alone (`light`).
"""

from xr_cloudmask.simulate.ground import clear_surface
from xr_cloudmask.simulate.scenes import scene, series

__all__ = ["clear_surface", "scene", "series"]
