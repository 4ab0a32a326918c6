"""The whole path, from a cube to a mask. Read this first.

cube ─▶ bands ─▶ reflectance ─▶ model ─▶ engine ─▶ labels ─▶ coverage

A pipeline that looks at the whole scene first (``model="4-4A"``) takes the bands as they are, without reflectance.
"""

from __future__ import annotations

import difflib
import inspect
import math
import os
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import xarray as xr

from xr_cloudmask.cube import bands, calibration, layout, sun
from xr_cloudmask.cube.bands import BandDescriptor
from xr_cloudmask.cube.calibration import Factor, Radiometry
from xr_cloudmask.cube.declared import declared_nodata
from xr_cloudmask.cube.layout import Cube, CubeView
from xr_cloudmask.cube.sun import Sun
from xr_cloudmask.engine import lattice, lazy, scenes
from xr_cloudmask.engine.tile import Job
from xr_cloudmask.errors import CloudMaskError
from xr_cloudmask.masks import coverage, labels
from xr_cloudmask.models import registry
from xr_cloudmask.models.base import ModelSpec
from xr_cloudmask.models.merging import Merged, summary
from xr_cloudmask.models.weights import Given

OPTIONS = ("window", "halo", "batch_size")
STORABLE = str | int | float | np.number | np.ndarray  # as attributes, in every file format


def predict(
    cube: Cube,
    model: str = "auto",
    *,
    sensor: str | None = None,
    descriptors: Sequence[BandDescriptor] | None = None,
    level: str | None = None,
    scheme: str = "cloudsen12",
    probabilities: bool = False,
    resolution: str | float = "auto",
    scale: Factor | None = None,
    offset: Factor | None = None,
    nodata: float | None = None,
    weights: Given | None = None,
    precision: str = "auto",
    decision: str = "sum",
    thresholds: Any = None,
    device: str | None = None,
    cache: str | os.PathLike[str] | None = None,
    **options: int,
) -> xr.Dataset:
    """Predict a cloud mask.

    Nothing is computed, read or loaded for a dask cube until the result is; a NumPy cube is predicted at once. The
    labels are the same for every chunking, batch size and number of workers.

    Parameters
    ----------
    cube : Dataset or DataArray
        A variable per band, or a band dimension; with or without time; digital numbers or reflectance. Not modified.
    model : str, default 'auto'
        A name that `models` lists. ``'auto'`` is a fixed rule of the cube's bands: ``'csmask'`` where it has blue,
        green, red and nir (with swir16 and swir22 if it has them), else ``'universal'``.
    sensor : str, optional
        Sensor id such as ``'sentinel-2'``, where the cube's metadata does not tell.
    descriptors : sequence of BandDescriptor, optional
        What each band is, instead of reading it from the cube.
    level : {'TOA', 'BOA'}, optional
        Top or bottom of atmosphere, where the cube's metadata does not tell.
    scheme : {'cloudsen12', 'sensei', 'binary', 'validity', '4-4A', 'native'}
        Classes of the mask. ``'4-4A'`` are the codes of the 4-4A notebook: 0, 100 shadow, 200 cloud; its 0 is both
        clear and no data.
    probabilities : bool
        Whether to return the probability of every class too.
    resolution : 'auto', 'native' or float
        Pixel size the model works at: the ground sample distance it was trained at where the cube is finer
        (``'auto'``), the cube's own (``'native'``), or metres. The mask always has the cube's pixels.
    scale, offset : float or mapping of band name to float, optional
        ``reflectance = digital number * scale + offset``, where the cube's metadata does not tell.
    nodata : float, optional
        Digital number that marks missing pixels, where the cube does not declare it. NaN, and zero in all bands,
        always do.
    weights : path, pair of paths or str, optional
        For models that take the user's weights. ``'universal'``: a file that ``xr-cloudmask train`` wrote, instead of
        the package's own. ``'sensei'``: a file, a pair of files, a folder, or the name of fetched weights; by default
        those of the environment variable ``XR_CLOUDMASK_WEIGHTS``, else those that
        ``xr-cloudmask weights fetch`` has downloaded.
    precision : {'auto', 'fp32', 'bf16'}
        What networks multiply in. ``'auto'`` is bfloat16 where the device has it in hardware and the model allows it:
        about twice as fast, with probabilities that differ in the third digit.
    decision : {'sum', 'argmax'}
        How a scheme coarser than the model's classes is decided: the largest sum of the probabilities that a class
        gathers, or the most probable of the model's own classes, translated (as phicloudmask does).
    thresholds : optional
        For models that are rules, ``'4-4A'`` and ``'physical'``: their thresholds, with some replaced by others.
    device : str, optional
        ``'cpu'``, ``'cuda'`` …; by default the best that is installed.
    cache : path, optional
        A Zarr store that keeps every chunk of the mask as it is made, and gives back what it has: what is computed
        twice, or was interrupted, is predicted once. Predictions of other cubes, models or options lie beside it. A
        cube is recognised by the names that dask gives its arrays, or by its values where it is in memory; see
        the page on time series. For models that work in windows.
    **options
        ``window``, ``halo`` (model pixels), ``batch_size`` (windows per call of the model).

    Returns
    -------
    Dataset
        ``cloudmask`` uint8 ``(time, y, x)`` with CF flag attributes; ``probability`` float32
        ``(time, class, y, x)``, NaN where no data, if asked for; coverage coordinates ``cloud_fraction``,
        ``thin_cloud_fraction``, ``cloud_shadow_fraction``, ``clear_fraction`` (of valid pixels) and
        ``valid_fraction``, per date. ``model='4-4A'`` adds a layer ``water`` and ``water_fraction``, the notebook's
        percentages, the ``scene_statistics`` that decided, and ``band_mismatch``, whether the visible bands cover
        different areas.

    Raises
    ------
    CloudMaskError
        The cube, its bands, their reflectance, the model or an option cannot be understood; the message says what
        was found, what was expected and what to type.

    Examples
    --------
    >>> import xr_cloudmask
    >>> cube = xr_cloudmask.simulate.series(dates=1, size=(128, 128))
    >>> mask = predict(cube, resolution="native")
    >>> dict(mask["cloudmask"].sizes)
    {'time': 1, 'y': 128, 'x': 128}
    >>> mask["cloudmask"].attrs["flag_meanings"]
    'clear thick_cloud thin_cloud cloud_shadow no_data'
    """
    _check_options(options)
    view = layout.view(cube)
    described = bands.describe(view, sensor, descriptors)
    spec = registry.choose(model, described, calibration.level_of(view, described, sensor, level))
    spec = registry.configured(spec, weights, precision, thresholds)
    used = spec.inputs(described)
    if spec.context == "scene":
        given = {**options, "scale": scale, "offset": offset, "device": device, "cache": cache}
        asked = {name: value is not None for name, value in given.items()}
        asked |= {"resolution": resolution not in ("auto", "native"), "decision": decision != "sum"}
        _refuse(spec, asked | {"probabilities": probabilities})
        return _predict_scenes(view, spec, used, scheme, nodata)
    radiometry = calibration.calibrate(
        view, used, sensor=sensor, scale=scale, offset=offset, level=level, nodata=nodata
    )
    mask_scheme = labels.scheme_for(scheme, spec.classes)
    labeller = labels.Labeller.of(mask_scheme, spec.classes, decision)
    factor = model_factor(view, spec, resolution)
    merged = spec.merged(described)
    job = _job(view, spec, used, merged, radiometry, factor=factor, labeller=labeller, device=device, options=options)
    arrays = lazy.predict_blocks(job, [dated(view, band.name) for band in used], probabilities, cache)
    attrs = labels.flag_attrs(mask_scheme) | _provenance(view, spec, used) | _of_windows(view, job, radiometry)
    return _labelled(view, job, arrays, attrs)


def _check_options(options: dict[str, int]) -> None:
    known = [*list(inspect.signature(predict).parameters)[1:-1], *OPTIONS]
    unknown = sorted(set(options) - set(OPTIONS))
    if unknown:
        close = difflib.get_close_matches(unknown[0], known, n=1) or [OPTIONS[0]]
        raise CloudMaskError(f"unknown keyword {unknown[0]!r}", f"one of {known}", f"predict({close[0]}=...)")
    wrong = {name: n for name, n in options.items() if not isinstance(n, int | np.integer) or n < (name != "halo")}
    if wrong:
        raise CloudMaskError(f"{wrong}", "whole numbers: window and batch_size from 1, halo from 0", "predict(halo=32)")


def _refuse(spec: ModelSpec, asked: dict[str, bool]) -> None:
    """Refuse what a pipeline without windows, probabilities and calibration cannot do."""
    wrong = [name for name, is_asked in asked.items() if is_asked]
    if wrong:
        raise CloudMaskError(
            f"{wrong} for model {spec.name!r}",
            "none of them: it labels each pixel as it is, by the statistics of the scene",
            f"predict({spec.name!r}) without {', '.join(f'{name}=' for name in wrong)}",
        )


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


def is_lazy(view: CubeView, used: Sequence[BandDescriptor]) -> bool:
    """Whether any of the bands is a dask array."""
    return any(view.bands[band.name].chunks is not None for band in used)


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


def _shape(view: CubeView) -> tuple[int, int]:
    return view.sizes[view.y], view.sizes[view.x]


def _job(
    view: CubeView,
    spec: ModelSpec,
    used: tuple[BandDescriptor, ...],
    merged: tuple[Merged, ...],
    radiometry: Radiometry,
    *,
    factor: int,
    labeller: labels.Labeller,
    device: str | None,
    options: dict[str, int],
) -> Job:
    shape = _shape(view)
    window, halo = options.get("window", spec.window), options.get("halo", spec.halo)
    rows, columns = (lattice.fit(-(-size // factor), window, halo, spec.multiple) for size in shape)
    batch_size = options.get("batch_size")
    along_rows, along_columns = (math.inf if len(axis) == 1 else halo for axis in (rows, columns))
    suns = _suns(view, spec, factor, (along_rows, along_columns)) if spec.casts_shadows else ()
    return Job(
        spec,
        used,
        merged,
        radiometry.calibrations,
        rows,
        columns,
        shape,
        factor,
        labeller,
        device,
        batch_size,
        suns,
    )


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


def dated(view: CubeView, band: str) -> Any:
    """Return a band's array as ``(time, y, x)``, with one date where the cube has no time."""
    array = _pixels(view, band)
    return array if view.time is not None else array[None]


def _pixels(view: CubeView, band: str) -> Any:
    """Return a band's array as it is, ``(time, y, x)`` or ``(y, x)``."""
    values = view.bands[band]
    layout.require_real_numbers(band, values)
    return values.values if values.chunks is None else values.data


def undated(view: CubeView, array: Any) -> Any:
    """Drop the date of an array where the cube has no time."""
    return array if view.time is not None else array[0]


def _provenance(view: CubeView, spec: ModelSpec, used: Sequence[BandDescriptor]) -> dict[str, Any]:
    """Say how the mask was made, in attributes that every file format can hold."""
    gsd = layout.ground_sample_distance(view)
    return {
        "model": spec.name,
        "model_variant": spec.variant,
        "model_version": spec.version,
        "model_classes": " ".join(spec.classes),
        "model_licence": spec.licence,
        "model_citation": spec.citation,
        "bands": " ".join(band.name for band in used),
        "resolution": "native" if gsd is None else f"{gsd:.6g} m",
        "software": f"xr-cloudmask {version('xr-cloudmask')}",
    }


def _of_windows(view: CubeView, job: Job, radiometry: Radiometry) -> dict[str, Any]:
    """Say what else holds for masks that are made window by window, from reflectance."""
    gsd = layout.ground_sample_distance(view)
    return {
        "bands": summary(job.descriptors, job.merged),
        "weights_sha256": job.spec.sha256,
        "precision": job.spec.precision,
        "level": radiometry.level or "unknown",
        "reflectance_provenance": radiometry.provenance,
        "resolution": "native" if gsd is None else f"{gsd * job.factor:.6g} m",
        "window": f"{job.rows.window} x {job.columns.window}",
    } | _assumed(view, job)


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


def on_grid(view: CubeView, layers: dict[str, tuple[Any, dict[str, Any]]]) -> xr.Dataset:
    """Return arrays ``(date, y, x)`` and their attributes on the cube's grid."""
    encoding = {} if view.grid_mapping is None else {"grid_mapping": view.grid_mapping}
    variables = {
        name: xr.Variable(view.dims, undated(view, array), attrs, encoding) for name, (array, attrs) in layers.items()
    }
    attrs_of_cube = view.source.attrs if isinstance(view.source, xr.Dataset) else {}
    storable = {key: value for key, value in attrs_of_cube.items() if isinstance(value, STORABLE)}
    return xr.Dataset(variables, coords=view.coords, attrs=storable)
