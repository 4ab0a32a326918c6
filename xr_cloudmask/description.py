"""What was understood of a cube, and everything that is missing, in one answer for people."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import xarray as xr

from xr_cloudmask.cube.bands import BandDescriptor
from xr_cloudmask.cube.calibration import Factor, Nodata
from xr_cloudmask.cube.described import DescribedCube, Told
from xr_cloudmask.cube.layout import Cube
from xr_cloudmask.cube.metadata import spelt
from xr_cloudmask.errors import CloudMaskError
from xr_cloudmask.masks.labels import is_mask, mask_of
from xr_cloudmask.models import registry
from xr_cloudmask.models.fit import fit

OF_MODELS = ("model_choice", "model_note", "model_warning")
SHOWN_OF_A_MASK = (
    "bands",
    "level",
    "reflectance_provenance",
    "resolution",
    "resolution_note",
    *OF_MODELS,
    "told",
    "software",
)
MOST_BANDS = 12  # that are listed one by one


class Table:
    """Something that shows its rows as text, and as a table in notebooks."""

    def rows(self) -> list[tuple[str, str]]:
        """Return what is known, a name and a text each."""
        raise NotImplementedError

    def below(self) -> str:
        """Return what stands below the table."""
        return ""

    def __repr__(self) -> str:
        rows = self.rows()
        width = max(len(name) for name, _ in rows)
        indent = "\n" + " " * (width + 2)
        lines = [f"{name:<{width}}  {text.replace(chr(10), indent)}" for name, text in rows]
        return "\n".join(lines) + ("\n\n" + self.below() if self.below() else "")

    def _repr_html_(self) -> str:
        cell = "<tr><th style='text-align:left;vertical-align:top'>{}</th><td style='text-align:left'>{}</td></tr>"
        rows = "".join(cell.format(*(html.escape(text).replace("\n", "<br>") for text in row)) for row in self.rows())
        return f"<table>{rows}</table>{f'<pre>{html.escape(self.below())}</pre>' if self.below() else ''}"


@dataclass(frozen=True, repr=False)
class MaskDescription(Table):
    """What a mask says of itself.

    Attributes
    ----------
    mask : DataArray
    missing, keywords
        None and nothing: a mask lacks nothing.
    """

    mask: xr.DataArray
    missing: ClassVar[None] = None
    keywords: ClassVar[dict[str, Any]] = {}

    def rows(self) -> list[tuple[str, str]]:
        """Return classes, model and provenance."""
        attrs = self.mask.attrs
        known = [("cloud mask", " × ".join(f"{size} {dim}" for dim, size in self.mask.sizes.items()))]
        known.append(("classes", str(attrs.get("flag_meanings", attrs.get("scheme", "")))))
        model = " ".join(str(attrs[key]) for key in ("model", "model_variant", "model_version") if key in attrs)
        known += [("model", model)] * bool(model)
        return known + [(key.replace("_", " "), str(attrs[key])) for key in SHOWN_OF_A_MASK if key in attrs]


@dataclass(frozen=True, repr=False)
class Description(Table):
    """What `describe` says of a cube. It shows itself as text, and as a table in notebooks.

    Attributes
    ----------
    cube : DescribedCube or None
        What is known; None where not even its bands are.
    model : str
        The model and variant that `predict` would take; empty where none does.
    why : str
        The rule by which it is taken.
    missing : CloudMaskError or None
        Everything that is missing, as `predict` would raise it.
    """

    cube: DescribedCube | None
    model: str
    why: str
    missing: CloudMaskError | None

    @property
    def keywords(self) -> dict[str, Any]:
        """The keywords that settle what is missing, with values that work."""
        return {} if self.missing is None else self.missing.keywords

    def rows(self) -> list[tuple[str, str]]:
        """Return what is known, a name and a text each."""
        known = [] if self.cube is None else _known(self.cube)
        return [*known, ("model", f"{self.model}: {self.why}" if self.model else "none yet")]

    def below(self) -> str:
        """Return everything that is missing."""
        return "" if self.missing is None else f"missing\n{self.missing}"


def describe(
    cube: Cube,
    model: str | Sequence[str] = "auto",
    *,
    sensor: str | None = None,
    level: str | None = None,
    scale: Factor | None = None,
    offset: Factor | None = None,
    nodata: Nodata | None = None,
    descriptors: Sequence[BandDescriptor] | None = None,
    items: Any = None,
) -> Description | MaskDescription:
    """Say what is understood of a cube, and what is missing; computes nothing.

    Parameters
    ----------
    cube : Dataset or DataArray
        Bands in any form that `predict` takes; NumPy or dask. Or a mask.
    model : str or sequence of str, default 'auto'
        For which model, or which ensemble.
    sensor, level, scale, offset, nodata, descriptors : optional
        As for `predict`.
    items : STAC items, optional
        What the cube was loaded from: `stac.attach` puts their metadata on it first.

    Returns
    -------
    Description
        Shows bands, sensor, level, calibration, pixel size, dates and model, and everything that is missing with one
        line to type. Nothing is raised for what is missing. Of a mask, a MaskDescription: its classes, and how it was
        made.

    Raises
    ------
    StacError
        The items are not those of the cube.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> names = ["blue", "green", "red", "nir"]
    >>> cube = xr.Dataset({name: (("y", "x"), np.full((64, 64), 3000, "uint16")) for name in names})
    >>> found = describe(cube)
    >>> found.keywords
    {'level': 'BOA', 'scale': 0.0001, 'offset': 0.0}
    >>> describe(cube, **found.keywords).model
    'csmask 4b_l2a'
    """
    if isinstance(cube, xr.Dataset | xr.DataArray) and is_mask(cube):
        return MaskDescription(mask_of(cube))
    if items is not None:
        from xr_cloudmask.stac import attach

        cube = attach(cube, items)  # type: ignore[type-var]
    told = Told(sensor, level, scale, offset, nodata, descriptors)
    try:
        found = fit(cube, registry.name_of(model), told)
    except CloudMaskError as error:
        return Description(_as_far_as_known(cube, told), "", "", error)
    why = "; ".join(filter(None, [found.why or "as asked for", found.spec.note]))
    return Description(found.cube, f"{found.spec.name} {found.spec.variant}", why, None)


def _as_far_as_known(cube: Cube, told: Told) -> DescribedCube | None:
    for said in (told, replace(told, scale=None), Told()):
        try:
            return DescribedCube.of(cube, said)
        except CloudMaskError:
            continue
    return None


def _known(cube: DescribedCube) -> list[tuple[str, str]]:
    view = cube.view
    return [
        ("bands", _bands(cube)),
        ("sensor", " or ".join(sensor.title for sensor in cube.candidates) or "unknown"),
        ("level", _or_unknown(lambda: cube.level)),
        ("calibration", _calibration(cube)),
        ("pixels", f"{' × '.join(f'{view.sizes[dim]}' for dim in (view.y, view.x))}, of {_ground(cube)}"),
        ("sun", _sun(cube)),
        ("dates", _dates(cube)),
    ]


def _or_unknown(value: Any) -> str:
    try:
        return str(value() or "unknown")
    except CloudMaskError as error:
        return error.found


def _bands(cube: DescribedCube) -> str:
    every = len(cube.descriptors) <= MOST_BANDS + 1  # "and 1 more" would take a line as well
    shown = cube.descriptors if every else cube.descriptors[:MOST_BANDS]
    lines = [
        f"{band.name}: {band.role or 'no common name'}, {band.min_wavelength:g}–{band.max_wavelength:g} nm"
        for band in shown
    ]
    further = len(cube.descriptors) - len(shown)
    left = [name for name in cube.view.bands if name not in {band.name for band in cube.descriptors}]
    lines += [f"and {further} more"] * bool(further)
    lines += [f"left out: {', '.join(left[:MOST_BANDS])}{' …' * (len(left) > MOST_BANDS)}"] * bool(left)
    return "\n".join(lines)


def _calibration(cube: DescribedCube) -> str:
    """Return scale and offset of the bands, those that are alike in one line, with their source."""
    lines: dict[str, list[str]] = {}
    for band in cube.descriptors:
        try:
            rule, source = cube.calibrated([band])[band.name], cube.provenance_of([band])
            line = f"scale {spelt(rule.scale)}, offset {spelt(rule.offset)} ({source})"
        except CloudMaskError as error:
            line = f"unknown: {error.found}"
        lines.setdefault(line, []).append(band.name)
    if len(lines) == 1:
        return next(iter(lines))
    return "\n".join(f"{', '.join(names[:MOST_BANDS])}: {line}" for line, names in lines.items())


def _ground(cube: DescribedCube) -> str:
    ground = cube.ground
    return f"unknown size ({ground.source})" if ground.pixel is None else f"{ground} ({ground.source})"


def _sun(cube: DescribedCube) -> str:
    known = [position for position in cube.suns if position is not None]
    if not known:
        return "unknown: shadows are looked for on all sides of clouds by models that are rules"
    low, high = (f"{value:.0f}°" for value in (min(p.elevation for p in known), max(p.elevation for p in known)))
    return f"{low if low == high else f'{low} to {high}'} above the horizon, {len(known)} of {len(cube.suns)} known"


def _dates(cube: DescribedCube) -> str:
    days = cube.dates
    if days is None:
        return f"{cube.view.dates}, unknown which"
    first, last = (str(day)[: len("2024-01-31")] for day in (np.min(days), np.max(days)))
    return f"{cube.view.dates}: {first}" + (f" to {last}" if first != last else "")
