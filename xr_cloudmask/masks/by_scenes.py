"""Masks of pipelines that look at whole scenes: from a described cube to a labelled Dataset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import xarray as xr

from xr_cloudmask.cube.bands import BandDescriptor
from xr_cloudmask.cube.calibration import numbers_given
from xr_cloudmask.cube.described import DescribedCube, Told
from xr_cloudmask.cube.layout import CubeView, is_lazy, pixels, undated
from xr_cloudmask.cube.mapping import on_grid
from xr_cloudmask.cube.nodata import declared_nodata
from xr_cloudmask.engine import scenes
from xr_cloudmask.errors import CloudMaskError
from xr_cloudmask.masks import coverage, labels, provenance, schemes
from xr_cloudmask.masks.by_windows import Wanted
from xr_cloudmask.models.base import ModelSpec
from xr_cloudmask.models.fit import Fit
from xr_cloudmask.names import BAND_MISMATCH, MASK_NAME, STATISTIC_NAME, STATISTICS_NAME, WATER_NAME


def predict_scenes(fit: Fit, scheme: str) -> xr.Dataset:
    """Label scenes by their own statistics, from the bands as they are; lazy where the cube is."""
    view, spec = fit.cube.view, fit.spec
    mask_scheme, native = (schemes.scheme_for(name, spec.classes) for name in (scheme, "native"))
    codes = labels.codes_of(mask_scheme, spec.classes)
    job, arrays = scene_job(fit.cube, spec, fit.used, (*map(int, codes[: len(spec.classes)]), mask_scheme.no_data))
    result = scenes.examine(job, arrays)
    water = schemes.flag_attrs(schemes.WATER) | {"long_name": "water"}
    attrs = schemes.flag_attrs(mask_scheme) | provenance.of_scenes(fit)
    layers = {MASK_NAME: (result.layers["class"], attrs), WATER_NAME: (result.layers["water"], water)}
    out = on_grid(view, layers).assign_coords(_scene_coords(view, job, result, native))
    lazy = is_lazy(view, [band.name for band in fit.used])
    return out if lazy else coverage.stated(out.compute(scheduler="threads"))


def scene_job(
    cube: DescribedCube, spec: ModelSpec, used: Sequence[BandDescriptor], codes: tuple[int, ...] = ()
) -> tuple[scenes.SceneJob, list[Any]]:
    """Return what the engine needs to look at scenes: the job, and the bands as they are."""
    view, given = cube.view, numbers_given(cube.told.nodata)
    declared = [declared_nodata(view.bands[band.name]) for band in used]
    # Besides NaN and 0, which the pipelines know of themselves.
    nodata = tuple(tuple(number for number in (*given, *of_band) if number != 0) for of_band in declared)
    job = scenes.SceneJob(spec, nodata, view.shape, codes)
    return job, scenes.chunked([pixels(view, band.name) for band in used])


def _scene_coords(view: CubeView, job: scenes.SceneJob, result: scenes.SceneResult, native: schemes.Scheme) -> Any:
    """Return what is known of each scene as coordinates; in the percentages a cloud in shadow counts as both."""
    pipeline, dated = job.pipeline(), view.dims[:-2]
    shares = coverage.shares(undated(view, result.counts), pipeline.counted, native)
    names = list(pipeline.statistics)
    mismatched = result.statistics[:, names.index("band_mismatch_pixels")] > job.spec.thresholds.mismatch
    described = {"long_name": "statistics of the scene's normalised bands and indices"}
    area = coverage.counted_over(job.shape)
    return {name: (dated, share, attrs | area) for name, (share, attrs) in shares.items()} | {
        STATISTIC_NAME: names,
        STATISTICS_NAME: ((*dated, STATISTIC_NAME), undated(view, result.statistics), described),
        BAND_MISMATCH: (dated, undated(view, mismatched), {"long_name": "visible bands cover different areas"}),
    }


def require_nothing_else(spec: ModelSpec, told: Told, wanted: Wanted) -> None:
    """Refuse what a pipeline without windows, probabilities and calibration cannot do.

    Raises
    ------
    CloudMaskError
        Something of it is asked for.
    """
    given = {**wanted.options, "scale": told.scale, "offset": told.offset, "device": wanted.device}
    asked = {name: value is not None for name, value in given.items()} | {"cache": wanted.cache is not None}
    asked |= {"resolution": wanted.resolution not in ("auto", "native"), "decision": wanted.decision != "sum"}
    asked |= {"probabilities": wanted.probabilities, "agreement": wanted.agreement}
    wrong = [name for name, is_asked in asked.items() if is_asked]
    if wrong:
        raise CloudMaskError(
            f"{wrong} for model {spec.name!r}",
            "none of them: it labels each pixel as it is, by the statistics of the scene",
            f"predict({spec.name!r}) without {', '.join(f'{name}=' for name in wrong)}",
        )
