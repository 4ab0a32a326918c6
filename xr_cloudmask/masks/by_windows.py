"""Masks of models that look at windows: from a described cube to a labelled Dataset."""

from __future__ import annotations

import math
import os
import warnings
from dataclasses import dataclass
from typing import Any

import xarray as xr

from xr_cloudmask.cube.layout import dated, undated
from xr_cloudmask.cube.mapping import on_grid
from xr_cloudmask.engine import lattice, lazy
from xr_cloudmask.engine.resolution import resolution_for, suns_for
from xr_cloudmask.engine.tile import Job
from xr_cloudmask.errors import ModelError
from xr_cloudmask.masks import coverage, labels, provenance, schemes, votes
from xr_cloudmask.models import ensemble
from xr_cloudmask.models.fit import Fit
from xr_cloudmask.names import (
    AGREEMENT_NAME,
    CLASS_NAME,
    DROPPED_FRACTION,
    MASK_NAME,
    MEAN_AGREEMENT,
    PROBABILITY_NAME,
)

DROPPED = {"long_name": "fraction of all pixels whose values can be no measurement: no data", "units": "1"}


@dataclass(frozen=True)
class Wanted:
    """How a cube is to be predicted window by window.

    Attributes
    ----------
    scheme, decision : str
    probabilities, agreement : bool
    resolution : str or float
    device : str or None
    cache : path or None
    options : dict
        ``window``, ``halo``, ``batch_size``.
    """

    scheme: str
    decision: str
    probabilities: bool
    agreement: bool
    resolution: str | float
    device: str | None
    cache: str | os.PathLike[str] | None
    options: dict[str, int]


def predict_windows(fit: Fit, wanted: Wanted) -> xr.Dataset:
    """Return the mask of a described cube, with flags, provenance and coverage; lazy where the cube is."""
    if wanted.agreement and not fit.spec.members:
        raise ModelError(
            f"agreement=True for model {fit.spec.name!r}, which is no ensemble",
            "several models",
            f"predict({ensemble.NAME!r}, agreement=True), or predict({list(ensemble.NAMES)}, agreement=True)",
        )
    job, scheme, note = _job(fit, wanted)
    for text in filter(None, (note, fit.spec.note)):
        warnings.warn(text, UserWarning, stacklevel=3)
    arrays = [dated(fit.cube.view, band.name) for band in fit.used]
    blocks = lazy.predict_blocks(job, arrays, wanted.probabilities, wanted.cache)
    return _labelled(fit, job, blocks, scheme, note)


def _job(fit: Fit, wanted: Wanted) -> tuple[Job, schemes.Scheme, str | None]:
    """Return what the engine is to do, the labels' scheme, and a note on pixels other than the model was trained on."""
    spec, options, shape = fit.spec, wanted.options, fit.cube.view.shape
    scheme = schemes.scheme_for(wanted.scheme, spec.classes)
    labeller = labels.Labeller.of(scheme, spec.classes, wanted.decision)
    sees = resolution_for(fit.ground, shape, spec, wanted.resolution)
    window, halo = options.get("window", spec.window), options.get("halo", spec.halo)
    rows, columns = (lattice.fit(-(-size // sees.factor), window, halo, spec.multiple) for size in shape)
    along_rows, along_columns = (math.inf if len(axis.starts) == 1 else halo for axis in (rows, columns))
    halos = (along_rows, along_columns)
    suns = suns_for(fit.ground, fit.cube.suns, spec, sees.factor, halos) if spec.casts_shadows else ()
    job = Job(
        spec,
        fit.used,
        fit.merged,
        fit.calibrations,
        rows,
        columns,
        shape,
        sees.factor,
        labeller,
        wanted.device,
        options.get("batch_size"),
        suns,
        ensemble.JUDGED if wanted.agreement else (),
    )
    return job, scheme, sees.note


def _labelled(fit: Fit, job: Job, blocks: lazy.Blocks, scheme: schemes.Scheme, note: str | None) -> xr.Dataset:
    """Put the arrays back on the cube's grid, with their attributes and coverage."""
    view, (mask, chances, dropped, said) = fit.cube.view, blocks
    attrs = schemes.flag_attrs(scheme) | provenance.of_windows(fit, job, note)
    out = on_grid(view, {MASK_NAME: (mask, attrs)})
    if chances is not None:
        dims = (*view.dims[:-2], CLASS_NAME, *view.dims[-2:])
        described = {"long_name": "class probability", "units": "1"}
        out[PROBABILITY_NAME] = xr.Variable(dims, undated(view, chances), described, out[MASK_NAME].encoding)
        out = out.assign_coords({CLASS_NAME: xr.Variable(CLASS_NAME, list(job.to_labels.names))})
    if said is not None:
        out = _with_agreement(out, fit, said)
    share = undated(view, dropped) / math.prod(job.shape)
    out = out.assign_coords({DROPPED_FRACTION: (view.dims[:-2], share, DROPPED | coverage.counted_over(job.shape))})
    return coverage.with_coverage(out[MASK_NAME], out)


def _with_agreement(out: xr.Dataset, fit: Fit, blocks: Any) -> xr.Dataset:
    """Add the share of an ensemble's networks that agree with each pixel's label, and its mean of every date."""
    view, networks = fit.cube.view, len(fit.spec.members)
    described = {"long_name": "share of networks that agree with the mask", "units": "1", "networks": networks}
    shares = undated(view, votes.shares(blocks, networks))
    out[AGREEMENT_NAME] = xr.Variable(view.dims, shares, described, out[MASK_NAME].encoding)
    about = {"long_name": f"mean {described['long_name']}", "units": "1"} | coverage.counted_over(view.shape)
    return out.assign_coords({MEAN_AGREEMENT: (view.dims[:-2], undated(view, votes.mean(blocks, networks)), about)})
