"""The whole path, from a cube to a mask. Read this first.

cube ─▶ described cube ─▶ model ─▶ engine ─▶ labels ─▶ coverage

`fit` describes the cube and chooses the model. A model that looks at windows gets reflectance, window by window; a
pipeline that looks at the whole scene first (``model="4-4A"``) takes the bands as they are.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from xr_cloudmask.cube.bands import BandDescriptor
from xr_cloudmask.cube.calibration import Factor, Nodata
from xr_cloudmask.cube.described import Told
from xr_cloudmask.cube.layout import Cube
from xr_cloudmask.errors import CloudMaskError, close_to
from xr_cloudmask.masks import by_scenes, by_windows
from xr_cloudmask.models import registry
from xr_cloudmask.models.fit import fit
from xr_cloudmask.models.weights import Given

OPTIONS = ("window", "halo", "batch_size")


def predict(
    cube: Cube,
    model: str | Sequence[str] = "auto",
    *,
    sensor: str | None = None,
    descriptors: Sequence[BandDescriptor] | None = None,
    level: str | None = None,
    scheme: str = "cloudsen12",
    probabilities: bool = False,
    agreement: bool = False,
    resolution: str | float = "auto",
    scale: Factor | None = None,
    offset: Factor | None = None,
    nodata: Nodata | None = None,
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
    model : str or sequence of str, default 'auto'
        A name that `models` lists. ``'auto'`` is a fixed rule of the cube's bands: the four-band variant of
        ``'csmask'`` where it has blue, green, red and nir, else ``'universal'``; the mask's attribute ``model_choice``
        says why. Several names, or one such as ``'csmask+universal'``, are an ensemble: the mean of
        their probabilities; ``'ensemble'`` is that which was measured best. A model that lacks bands is left out of
        it, with a warning and in the attribute ``model_note``.
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
    agreement : bool
        Of an ensemble: whether to return the share of its networks that agree with the mask.
    resolution : 'auto', 'native' or float
        Pixel size the model works at: the ground sample distance it was trained at where the cube is finer
        (``'auto'``, with at least 32 of the model's pixels along a side), the cube's own (``'native'``), or true
        metres. The mask always has the cube's pixels. A warning, and the attribute ``resolution_note``, say where
        ``'auto'`` leaves the model other pixels than it was trained on.
    scale, offset : float or mapping of band name to float, optional
        ``reflectance = digital number * scale + offset``, where the cube's metadata does not tell.
        ``scale='display'``: an image that was stretched for the eye; ``'estimate'``: a scale that nobody knows.
    nodata : float or sequence of float, optional
        Numbers that mark missing pixels, besides those that the cube declares. NaN, zero in all bands, and what can be
        no measurement always do; how much of that there is, ``dropped_fraction`` tells.
    weights : path, pair of paths or str, optional
        For models that take the user's weights. ``'universal'``: a file that ``xr-cloudmask train`` wrote, instead of
        the package's own. ``'sensei'``: a file, a pair of files, a folder, or the name of fetched weights; by default
        those of the environment variable ``XR_CLOUDMASK_WEIGHTS``, else those that
        ``xr-cloudmask weights fetch`` has downloaded.
    precision : {'auto', 'fp32', 'bf16'}
        What networks multiply in. ``'auto'`` is bfloat16 where torch is installed, the device has it in hardware and
        the model allows it: about twice as fast, with probabilities that differ in the third digit. It is settled
        where the prediction is built; the mask's attribute ``precision`` says what it is.
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
        ``cloud_mask`` uint8 ``(time, y, x)`` with CF flag attributes; if asked for, ``probability`` float32
        ``(time, class, y, x)`` and ``agreement`` float32 ``(time, y, x)``, NaN where no data; coverage coordinates
        ``cloud_fraction``, ``thin_cloud_fraction``, ``cloud_shadow_fraction``, ``clear_fraction`` (of valid pixels)
        and ``valid_fraction``, per date, and ``mean_agreement`` (of valid pixels) with ``agreement``.
        ``model='4-4A'`` adds a layer ``water`` and ``water_fraction``, the notebook's percentages, the
        ``scene_statistics`` that decided, and ``band_mismatch``, whether the visible bands cover different areas.

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
    >>> dict(mask["cloud_mask"].sizes)
    {'time': 1, 'y': 128, 'x': 128}
    >>> mask["cloud_mask"].attrs["flag_meanings"]
    'clear thick_cloud thin_cloud cloud_shadow no_data'
    """
    _require_known(options)
    name = registry.name_of(model)
    texts = {"sensor": sensor, "level": level, "scheme": scheme, "precision": precision}
    _require_texts(texts | {"decision": decision, "device": device})
    for flag, value in (("probabilities", probabilities), ("agreement", agreement)):
        if not isinstance(value, int | np.bool_):
            raise CloudMaskError(f"{flag}={str(value)[:60]}", "True or False", f"{flag}=True")
    told = Told(sensor, level, scale, offset, nodata, descriptors)
    how = by_windows.Wanted(scheme, decision, probabilities, agreement, resolution, device, cache, options)
    found = fit(cube, name, told, weights=weights, precision=precision, thresholds=thresholds, device=device)
    if found.spec.context == "scene":
        by_scenes.require_nothing_else(found.spec, told, how)
        return by_scenes.predict_scenes(found, scheme)
    return by_windows.predict_windows(found, how)


def _require_texts(given: Mapping[str, Any]) -> None:
    for name, value in given.items():
        if not isinstance(value, str | None):
            default = inspect.signature(predict).parameters[name].default
            raise CloudMaskError(
                f"{name}={str(value)[:60]} of type {type(value).__name__}", "text", f"{name}={default!r}"
            )


def _require_known(options: dict[str, int]) -> None:
    known = [*list(inspect.signature(predict).parameters)[1:-1], *OPTIONS]
    unknown = sorted(set(options) - set(OPTIONS))
    if unknown:
        close = close_to(unknown[0], known, OPTIONS[0])
        raise CloudMaskError(f"unknown keyword {unknown[0]!r}", f"one of {known}", f"predict({close}=...)")
    wrong = {name: n for name, n in options.items() if not isinstance(n, int | np.integer) or n < (name != "halo")}
    if wrong:
        raise CloudMaskError(f"{wrong}", "whole numbers: window and batch_size from 1, halo from 0", "predict(halo=32)")
