"""Masks of models that look at windows: from a described cube to a labelled Dataset."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from xr_cloudmask.cube import layout, sun
from xr_cloudmask.cube.grid import dated, on_grid, shape_of, undated
from xr_cloudmask.cube.layout import CubeView
from xr_cloudmask.cube.sun import Sun
from xr_cloudmask.engine import lattice, lazy
from xr_cloudmask.engine.tile import Job
from xr_cloudmask.errors import CloudMaskError
from xr_cloudmask.masks import coverage, labels, provenance, schemes
from xr_cloudmask.models.base import ModelSpec
from xr_cloudmask.models.fit import Fit
from xr_cloudmask.names import CLASS_NAME, DROPPED_FRACTION, MASK_NAME, PROBABILITY_NAME

DROPPED = {"long_name": "fraction of all pixels whose values can be no measurement: no data", "units": "1"}


@dataclass(frozen=True)
class Wanted:
    """How a cube is to be predicted window by window.

    Attributes
    ----------
    scheme, decision : str
    probabilities : bool
    resolution : str or float
    device : str or None
    cache : path or None
    options : dict
        ``window``, ``halo``, ``batch_size``.
    """

    scheme: str
    decision: str
    probabilities: bool
    resolution: str | float
    device: str | None
    cache: str | os.PathLike[str] | None
    options: dict[str, int]


def predict_windows(fit: Fit, wanted: Wanted) -> xr.Dataset:
    """Return the mask of a described cube, with flags, provenance and coverage; lazy where the cube is."""
    scheme = schemes.scheme_for(wanted.scheme, fit.spec.classes)
    labeller = labels.Labeller.of(scheme, fit.spec.classes, wanted.decision)
    job = _job(fit, labeller, wanted)
    arrays = [dated(fit.cube.view, band.name) for band in fit.used]
    blocks = lazy.predict_blocks(job, arrays, wanted.probabilities, wanted.cache)
    return _labelled(fit, job, blocks, schemes.flag_attrs(scheme))


def _job(fit: Fit, labeller: labels.Labeller, wanted: Wanted) -> Job:
    view, spec, options = fit.cube.view, fit.spec, wanted.options
    shape, factor = shape_of(view), model_factor(view, spec, wanted.resolution)
    window, halo = options.get("window", spec.window), options.get("halo", spec.halo)
    rows, columns = (lattice.fit(-(-size // factor), window, halo, spec.multiple) for size in shape)
    halos = tuple(math.inf if len(axis) == 1 else halo for axis in (rows, columns))
    suns = _suns(view, spec, factor, halos) if spec.casts_shadows else ()
    rules = tuple(fit.cube.calibrated(fit.used).values())
    batch_size = options.get("batch_size")
    return Job(spec, fit.used, rules, rows, columns, shape, factor, labeller, wanted.device, batch_size, suns)


def _labelled(fit: Fit, job: Job, blocks: lazy.Blocks, flags: dict[str, Any]) -> xr.Dataset:
    """Put the arrays back on the cube's grid, with flags, provenance and coverage."""
    view, (mask, chances, dropped) = fit.cube.view, blocks
    attrs = flags | provenance.of_windows(fit, job)
    out = on_grid(view, {MASK_NAME: (mask, attrs)})
    if chances is not None:
        dims = (*view.dims[:-2], CLASS_NAME, *view.dims[-2:])
        described = {"long_name": "class probability", "units": "1"}
        out[PROBABILITY_NAME] = xr.Variable(dims, undated(view, chances), described, out[MASK_NAME].encoding)
        out = out.assign_coords({CLASS_NAME: xr.Variable(CLASS_NAME, list(job.to_labels.names))})
    share = undated(view, dropped) / math.prod(job.shape)
    out = out.assign_coords({DROPPED_FRACTION: (view.dims[:-2], share, DROPPED)})
    return coverage.with_coverage(out[MASK_NAME], out)


def _suns(view: CubeView, spec: ModelSpec, factor: int, halos: tuple[float, float]) -> tuple[Sun, ...]:
    """Return where shadows fall, in model pixels; where nobody knows their size, they are what the model is used to."""
    gsd = layout.ground_sample_distance(view)
    if gsd is None:
        return tuple(Sun(None, spec.gsd, halos) for _ in sun.shadow_shifts(view))
    pixel = gsd * factor
    return tuple(
        Sun(None if shift is None else (shift[0] / pixel, shift[1] / pixel), pixel, halos)
        for shift in sun.shadow_shifts(view)
    )


def model_factor(view: CubeView, spec: ModelSpec, resolution: str | float) -> int:
    """Return how many cube pixels, along an axis, make a pixel of the model."""
    if resolution == "native":
        return 1
    gsd = layout.ground_sample_distance(view)
    if resolution == "auto":
        # The coarsest whole factor that is not coarser than what the model was trained at.
        return 1 if gsd is None else max(1, int(spec.gsd / gsd + 0.01))
    if not isinstance(resolution, int | float | np.number) or not resolution > 0:
        raise CloudMaskError(f"resolution={resolution!r}", "'auto', 'native' or metres", "resolution='auto'")
    if gsd is None:
        raise CloudMaskError(
            f"resolution={resolution!r} for a cube whose pixel size is unknown",
            "a CRS, or coordinates with units",
            "cube.rio.write_crs('EPSG:32723') with y and x coordinates, or resolution='native'",
        )
    factor = round(resolution / gsd)
    if factor < 1 or abs(factor * gsd - resolution) > 0.05 * resolution:
        sizes = [round(gsd * k, 2) for k in (1, 2, 3, 4)]
        raise CloudMaskError(
            f"resolution={resolution!r} for pixels of {gsd:.2f} m",
            f"a whole multiple of the pixel size: {sizes} …",
            f"resolution={gsd * max(1, factor):.2f}",
        )
    return factor
