"""From a STAC API to a cube that carries its own band and radiometric metadata.

`search` finds items, `screen` says which of them are worth loading, `load` makes a lazy cube of them, `attach` gives a
cube that another loader made what it dropped. Items of STAC 1.0
and 1.1 are read alike, with the fields of eo, raster and projection in any version, or without projection.
"""

from xr_cloudmask.stac.attach import attach
from xr_cloudmask.stac.load import load
from xr_cloudmask.stac.screen import Screening, screen
from xr_cloudmask.stac.search import search

__all__ = ["Screening", "attach", "load", "screen", "search"]
