"""Labelled patches and cubes that carry a mask, and how one of them is scored."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from xr_cloudmask import files
from xr_cloudmask.cube import layout as layouts
from xr_cloudmask.datasets.labelled import Labelled
from xr_cloudmask.errors import FileError, refusing
from xr_cloudmask.files.colours import SIX
from xr_cloudmask.masks.agreement import Agreement, judged
from xr_cloudmask.masks.aligned import laid_out
from xr_cloudmask.masks.judging import (
    JUDGED,
    JUDGINGS,
    NOT_JUDGED,
    USUAL,
    judging_for,
    most_probable,
    place_of,
    table_of,
)
from xr_cloudmask.masks.labels import mask_of, renamed
from xr_cloudmask.masks.schemes import scheme_of
from xr_cloudmask.models import registry
from xr_cloudmask.names import CLASS_NAME, MASK_NAME, PROBABILITY_NAME
from xr_cloudmask.prediction import predict

CODES = {0: "cloud_shadow", 1: "water", 2: "snow", 3: "land", 4: "cloud"}


@dataclass(frozen=True)
class PatchLayout:
    """What is where in a labelled ``.npz``; by default as in the test files of ukis-csmask.

    Attributes
    ----------
    image, labels : str
        Names of the arrays: reflectance ``(y, x, band)``, and codes ``(y, x)`` or ``(y, x, 1)``.
    bands : tuple of str
        Of the image, in its order: roles (STAC common names), or names of a sensor's bands.
    codes : mapping of int to str
        What the labels mean: ``'cloud'`` or words of `masks.schemes.VOCABULARY`. Other codes are not judged.
    """

    image: str = "img"
    labels: str = "msk"
    bands: tuple[str, ...] = SIX
    codes: Mapping[int, str] = field(default_factory=CODES.copy)


def read(path: str | os.PathLike[str], layout: PatchLayout | None = None) -> Labelled:
    """Read a labelled scene.

    Parameters
    ----------
    path : path
        A ``.npz`` patch, or a netCDF file or Zarr store of a cube with a ``cloud_mask`` variable that has flag
        attributes, as ``cube.cloudmask.with_mask()`` makes them and as people correct them.
    layout : PatchLayout, optional
        Of the patch.

    Raises
    ------
    FileError
        The file lacks what the layout says.
    CloudMaskError
        The labels do not tell clear, cloud and shadow apart, or lack a dimension of the cube.
    """
    if Path(path).suffix == ".npz":
        return _patch(Path(path), layout or PatchLayout())
    cube = renamed(files.open_cube(Path(path)))
    mask, bands = mask_of(cube), cube.drop_vars(MASK_NAME)
    truth = judged(laid_out(mask, layouts.view(bands).sizes).compute())
    return Labelled(str(path), bands, truth)


def _patch(path: Path, layout: PatchLayout) -> Labelled:
    expected = f"arrays {layout.image!r} and {layout.labels!r}"
    reading = refusing(FileError, repr(str(path)), expected, "PatchLayout(image=..., labels=...)")
    with reading, path.open("rb") as file, np.load(file) as arrays:
        image, codes = (np.asarray(arrays[name]) for name in (layout.image, layout.labels))
    named = SIX[: image.shape[-1]] if image.ndim else SIX
    if image.ndim != 3 or image.shape[2] != len(layout.bands):
        raise FileError(
            f"an image of shape {image.shape} in {str(path)!r}",
            f"(y, x, band) with the bands {list(layout.bands)}",
            f"PatchLayout(bands={named}), or --layout {','.join(named)}",
        )
    size = image.shape[:2]
    if codes.shape not in (size, (*size, 1)) or codes.dtype.kind not in "biuf":
        raise FileError(
            f"labels of shape {codes.shape} and {codes.dtype} in {str(path)!r}",
            f"numbers {size} or {(*size, 1)}, as the image",
            "PatchLayout(labels=...)",
        )
    cube = xr.Dataset({band: (("y", "x"), image[..., i]) for i, band in enumerate(layout.bands)})
    truth = np.full(size, NOT_JUDGED, "uint8")
    for code, name in layout.codes.items():
        truth[codes.reshape(size) == code] = place_of(JUDGED.get(name, (name,)), f"label {name!r}")
    return Labelled(str(path), cube, truth)


def evaluate(
    labelled: Labelled,
    model: str | Sequence[str] = "auto",
    *,
    bands: Sequence[str] | None = None,
    classes: str | None = None,
    threshold: float | None = None,
    **keywords: Any,
) -> Agreement:
    """Predict a labelled scene and compare.

    The class of a pixel is the one of those judged that gathers the largest sum of probabilities; of a model that has a
    threshold of its own, its label.

    Parameters
    ----------
    labelled : Labelled
    model : str or sequence of str, default 'auto'
        As for `predict`.
    bands : sequence of str, optional
        Which of the cube's bands the model sees, by their names; by default all.
    classes : str, optional
        What is judged, as of `masks.agreement.score`: by default clear, cloud and cloud shadow; cloud alone where
        the labels or the model do not tell shadows.
    threshold : float, optional
        Cloud is what is cloud with at least this probability.
    **keywords
        As for `predict`: ``sensor``, ``level``, ``weights`` …; before what the scene itself says.

    Returns
    -------
    Agreement
        Computed.

    Raises
    ------
    CloudMaskError
        What `predict` says, or a model that does not tell what is judged apart.

    Examples
    --------
    >>> from xr_cloudmask import simulate
    >>> from xr_cloudmask.masks.agreement import judged
    >>> scene = simulate.series(dates=1, size=(64, 64))
    >>> known = Labelled("simulated", scene.drop_vars("truth"), judged(scene["truth"]))
    >>> sorted(evaluate(known, resolution="native").table())
    ['F1', 'IoU', 'balanced accuracy', 'precision', 'recall']
    """
    return scored(labelled, predicted(labelled, model, bands=bands, **keywords), classes, threshold)


def predicted(
    labelled: Labelled, model: str | Sequence[str] = "auto", *, bands: Sequence[str] | None = None, **keywords: Any
) -> xr.Dataset:
    """Return the mask of a labelled scene with its probabilities; lazy where the scene is."""
    cube = labelled.cube if bands is None else labelled.cube[_present(labelled, bands)]
    return predict(cube, model, scheme="native", probabilities=True, **{**labelled.told, **keywords})


def scored(
    labelled: Labelled, mask: xr.Dataset, classes: str | None = None, threshold: float | None = None
) -> Agreement:
    """Score a mask with probabilities by the labels of its scene; computes it."""
    name = judged_by(labelled, mask, USUAL, only=classes)
    made = mask[MASK_NAME]
    decides = threshold is None and any(spec.decides for spec in registry.variants(made.attrs["model"]))
    layer = made if decides else mask[PROBABILITY_NAME]
    if labelled.points is not None:
        y, x = (xr.DataArray(along, dims="point") for along in labelled.points)
        layer = layer.isel(dict(zip(layer.dims[-2:], (y, x), strict=True)))
    if decides:
        found = table_of(scheme_of(made), JUDGINGS[name])[layer.values]
    else:
        found = np.asarray(most_probable(layer, JUDGINGS[name], threshold))
    what = {"classes": tuple(JUDGINGS[name]), "rows": labelled.rows(JUDGINGS[name])}
    return Agreement.of(labelled.truth, found, **what)


def judged_by(labelled: Labelled, mask: xr.Dataset, usual: Sequence[str], *, only: str | None = None) -> str:
    """Return the first classes that both the labels of a scene and the model tell apart."""
    of_model = [(str(name),) for name in mask[PROBABILITY_NAME][CLASS_NAME].values if name != "no_data"]
    of_labels = [words for meaning in labelled.meanings for words in meaning]
    return judging_for([*of_model, *of_labels], only, usual)


def _present(labelled: Labelled, bands: Sequence[str]) -> list[str]:
    absent = [band for band in bands if band not in labelled.cube]
    if absent:
        known = list(map(str, labelled.cube))
        present = [band for band in bands if band in known] or known
        raise FileError(f"no bands {absent} in {labelled.name!r}", f"some of {known}", f"bands={present}")
    return list(bands)
