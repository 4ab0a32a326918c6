"""Masks of pipelines that look at whole scenes: from a described cube to a labelled Dataset."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from xr_cloudmask.cube.bands import BandDescriptor
from xr_cloudmask.cube.described import DescribedCube
from xr_cloudmask.cube.grid import is_lazy, on_grid, pixels, shape_of, undated
from xr_cloudmask.cube.layout import CubeView
from xr_cloudmask.engine import scenes
from xr_cloudmask.errors import CloudMaskError
from xr_cloudmask.masks import coverage, labels, provenance, schemes
from xr_cloudmask.models.base import ModelSpec
from xr_cloudmask.models.fit import Fit

def _predict_scenes(
    view: CubeView, spec: ModelSpec, used: tuple[BandDescriptor, ...], scheme: str, nodata: float | None
) -> xr.Dataset:
    """Label scenes by their own statistics, from the bands as they are."""
    mask_scheme, native = (labels.scheme_for(name, spec.classes) for name in (scheme, "native"))
    codes = labels.codes_of(mask_scheme, spec.classes)
    codes_of_classes = (*map(int, codes[: len(spec.classes)]), mask_scheme.no_data)
    job, arrays = scene_job(view, spec, used, nodata, codes_of_classes)
    result = scenes.examine(job, arrays)
    attrs = labels.flag_attrs(mask_scheme) | _provenance(view, spec, used) | {"thresholds": repr(spec.thresholds)}
    water = labels.flag_attrs(labels.WATER) | {"long_name": "water"}
    layers = {labels.MASK_NAME: (result.layers["class"], attrs), labels.WATER_NAME: (result.layers["water"], water)}
    out = on_grid(view, layers).assign_coords(_scene_coords(view, job, result, native))
    return out if is_lazy(view, used) else coverage.stated(out.compute(scheduler="threads"))


def scene_job(
    view: CubeView,
    spec: ModelSpec,
    used: Sequence[BandDescriptor],
    nodata: float | None,
    codes: tuple[int, ...] = (),
) -> tuple[scenes.SceneJob, list[Any]]:
    """Return what the engine needs to look at scenes: the job, and the bands as they are."""
    job = scenes.SceneJob(spec, tuple(_nodata(view, band.name, nodata) for band in used), _shape(view), codes)
    return job, scenes.chunked([_pixels(view, band.name) for band in used])


def _scene_coords(view: CubeView, job: scenes.SceneJob, result: scenes.SceneResult, native: labels.Scheme) -> Any:
    """Return what is known of each scene as coordinates; in the percentages a cloud in shadow counts as both."""
    pipeline, dated = job.pipeline(), view.dims[:-2]
    shares = coverage.shares(undated(view, result.counts), pipeline.counted, native)
    names = list(pipeline.statistics)
    mismatched = result.statistics[:, names.index("band_mismatch_pixels")] > job.spec.thresholds.mismatch
    described = {"long_name": "statistics of the scene's normalised bands and indices"}
    return {name: (dated, share, attrs) for name, (share, attrs) in shares.items()} | {
        "statistic": names,
        "scene_statistics": ((*dated, "statistic"), undated(view, result.statistics), described),
        "band_mismatch": (dated, undated(view, mismatched), {"long_name": "visible bands cover different areas"}),
    }


def _nodata(view: CubeView, band: str, given: float | None) -> tuple[float, ...]:
    """Return what marks missing pixels of a band besides NaN and 0, which the pipelines know of themselves."""
    stated = declared_nodata(view.bands[band]) if given is None else (given,)
    return tuple(number for number in stated if number != 0)


def _refuse(spec: ModelSpec, asked: dict[str, bool]) -> None:
    """Refuse what a pipeline without windows, probabilities and calibration cannot do."""
    wrong = [name for name, is_asked in asked.items() if is_asked]
    if wrong:
        raise CloudMaskError(
            f"{wrong} for model {spec.name!r}",
            "none of them: it labels each pixel as it is, by the statistics of the scene",
            f"predict({spec.name!r}) without {', '.join(f'{name}=' for name in wrong)}",
        )


def _labelled(view: CubeView, job: Job, arrays: tuple[Any, Any], attrs: dict[str, Any]) -> xr.Dataset:
    """Put the arrays back on the cube's grid, with flags, provenance and coverage."""
    mask, chances = arrays
    out = on_grid(view, {labels.MASK_NAME: (mask, attrs)})
    if chances is not None:
        dims = (*view.dims[:-2], "class", *view.dims[-2:])
        described = {"long_name": "class probability", "units": "1"}
        out["probability"] = xr.Variable(dims, undated(view, chances), described, out[labels.MASK_NAME].encoding)
        out = out.assign_coords({"class": xr.Variable("class", list(job.to_labels.names))})
    return coverage.with_coverage(out[labels.MASK_NAME], out)


def _assumed(view: CubeView, job: Job) -> dict[str, Any]:
    """Say by which thresholds, and where shadows were looked for."""
    if not job.spec.casts_shadows:
        return {}
    limits, known = job.spec.thresholds, [one for one in job.suns if one.shift is not None]
    blind = [one for one in job.suns if one.shift is None]
    where = []
    if known:
        highest = min(one.highest(limits.height[1]) for one in known)
        where.append(f"along the sun's direction, of clouds up to {highest:.0f} m")
    if blind:
        furthest = min(one.furthest(limits.reach) for one in blind)
        why = f"{len(blind)} of {len(job.suns)} sun directions are unknown"
        if layout.ground_sample_distance(view) is None:
            why = f"the pixel size is unknown, and taken for {job.spec.gsd:g} m"
        where.append(f"on all sides of clouds, up to {furthest:.0f} m from them: {why}")
    return {"thresholds": repr(limits), "shadows_looked_for": "; ".join(where)}


