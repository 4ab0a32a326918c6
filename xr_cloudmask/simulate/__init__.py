"""Simulated scenes with known truth: clouds, their shadows, haze and a swath edge over a clear surface.

Enough physics that a scene looks real to people and to networks trained on real scenes. The ground is made of spectra
(`spectra`, `landscapes`), clouds are fields of optical thickness (`clouds`), what a band sees of both follows from its
wavelengths (`light`, `render`) and from its sensor (`instrument`). `worlds` makes patches to train networks on.
"""

from xr_cloudmask.simulate.ground import clear_surface
from xr_cloudmask.simulate.scenes import scene, series

__all__ = ["clear_surface", "scene", "series"]
