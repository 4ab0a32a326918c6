"""Composites of a simulated series over a real surface, against what they would be without a cloud."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr

from xr_cloudmask import simulate
from xr_cloudmask.demo import real_surface

MODELS = ("auto", "universal")
METHODS: dict[str, dict[str, Any]] = {
    "median": {}, "mean": {}, "percentile": {"percentile": 25}, "geomedian": {}, "medoid": {}, "best": {},
}  # fmt: skip
DATES, SIZE, SEEDS = 16, (600, 600), (0, 1, 2)


def scenes(dates: int, size: tuple[int, int], seed: int) -> tuple[xr.Dataset, xr.Dataset]:
    """Return a series of reflectance over the real surface with its ``truth``, and the same without clouds."""
    options: dict[str, Any] = {"size": size, "gsd": 10, "dates": dates, "seed": seed}
    cloudy, clear = (simulate.series(real_surface(), cover=cover, **options) for cover in (None, 0.0))
    return cloudy.cloudmask.reflectance(), clear.cloudmask.reflectance()
