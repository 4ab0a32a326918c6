"""From a STAC API to a cube that carries its own band and radiometric metadata.

`search` finds items, `screen` says which of them are worth loading, `load` makes a lazy cube of them, `attach` gives a
cube that another loader made what it dropped. Items of STAC 1.0
and 1.1 are read alike, with the fields of eo, raster and projection in any version, or without projection.
"""

from xr_cloudmask.stac.attaching import attach
from xr_cloudmask.stac.loading import load
from xr_cloudmask.stac.screening import Screening, screen
from xr_cloudmask.stac.searching import search

__all__ = ["Screening", "attach", "load", "screen", "search"]
