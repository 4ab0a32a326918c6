"""Pictures: a sheet with a column per date, the image above its mask."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
import xarray as xr

from xr_cloudmask.cube import layout, reflectance
from xr_cloudmask.cube.bands import BandDescriptor
from xr_cloudmask.cube.calibration import Factor, Nodata
from xr_cloudmask.cube.described import DescribedCube, Told
from xr_cloudmask.errors import BandError, CloudMaskError
from xr_cloudmask.extras import require
from xr_cloudmask.masks import coverage, labels, schemes
from xr_cloudmask.names import CLOUD_FRACTION

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Colors: TypeAlias = npt.NDArray[np.uint8]

# What stands for red, green and blue, best first.
COMPOSITES = {
    "true colour": ("red", "green", "blue"),
    "near infrared": ("nir", "red", "green"),
    "near infrared (narrow)": ("nir08", "red", "green"),
    "shortwave infrared": ("swir16", "nir", "red"),
    "shortwave infrared (narrow)": ("swir16", "nir08", "red"),
    "panchromatic": ("pan", "pan", "pan"),
}
INK, PAPER = "#222222", "#ffffff"
SHEET_INCHES, PANEL_INCHES = 12.6, (2.1, 3.6)  # a panel's width: the sheet's share, within limits
GAP_INCHES, LEFT_INCHES, TOP_INCHES, LEGEND_INCHES = 0.06, 0.32, 0.52, (1.3, 0.25)
DPI = 150


@dataclass(frozen=True)
class Row:
    """One row of a sheet: its name, and a picture ``(y, x, 3)`` for each date."""

    name: str
    pictures: Sequence[Colors]


def overview(
    cube: layout.Cube | None,
    mask: layout.Cube | None = None,
    truth: xr.DataArray | None = None,
    path: str | os.PathLike[str] | None = None,
    *,
    max_dates: int = 8,
    max_pixels: int = 400,
    sensor: str | None = None,
    level: str | None = None,
    scale: Factor | None = None,
    offset: Factor | None = None,
    nodata: Nodata | None = None,
    descriptors: Sequence[BandDescriptor] | None = None,
) -> Figure:
    """Draw a sheet: a column per date, the image on top, its mask below, and one legend.

    Large scenes are thinned to every n-th pixel before anything is computed.

    Parameters
    ----------
    cube : Dataset or DataArray, or None
        Bands in any form that `predict` takes; None, or a mask in this place, draws the mask alone. The image is true
        colour where the bands allow, else the first of `COMPOSITES` that they allow, in one stretch for all dates.
    mask : Dataset or DataArray, optional
        `predict`'s Dataset or a mask with flag attributes, on the cube's pixels. Default: the cube's own.
    truth : DataArray, optional
        A second mask to compare with, drawn as a third row.
    path : path-like, optional
        File to write, its format by suffix.
    max_dates : int, default 8
        Most columns; of more dates, evenly chosen ones are drawn.
    max_pixels : int, default 400
        Most rows or columns of pixels drawn of a scene.
    sensor, level, scale, offset, nodata, descriptors : optional
        What the cube's metadata do not tell, as for `predict`; by default what `predict` was told for the mask.

    Returns
    -------
    matplotlib.figure.Figure
        Not registered with pyplot, so nothing needs closing. A date's title has its cloud fraction, counted in the
        mask as it is given; of a lazy mask that is thinned, only what is drawn is computed and counted: "≈".

    Raises
    ------
    CloudMaskError
        Neither cube nor mask, or masks of other dates or sizes than the cube.
    BandError
        No composite can be made of the bands.

    Examples
    --------
    >>> from xr_cloudmask import simulate
    >>> scenes = simulate.series(bands=["blue", "green", "red"], dates=3, size=(64, 64))
    >>> figure = overview(scenes.drop_vars("truth"), scenes["truth"])
    >>> [axes.get_title().splitlines()[0] for axes in figure.axes[:3]]
    ['2024-06-01', '2024-06-11', '2024-06-21']
    """
    require("matplotlib", "plot", "pictures")
    if mask is None and cube is None:
        raise CloudMaskError("neither a cube nor a mask", "at least one", "overview(cube, cube.cloudmask.predict())")
    if mask is None and cube is not None and labels.is_mask(cube):
        cube, mask = None, cube
    masks = {"mask": labels.mask_of(cube if mask is None else mask)}  # type: ignore[arg-type]
    if truth is not None:
        masks["truth"] = truth
    _check_grids(masks if cube is None else {"cube": cube, **masks})
    shown = {name: _thin(values, max_dates, max_pixels).compute() for name, values in masks.items()}
    rows = [Row(name, _class_pictures(values)) for name, values in shown.items()]
    if cube is not None:
        told = Told(sensor, level, scale, offset, nodata, descriptors).or_else(Told.of(shown["mask"].attrs))
        rows.insert(0, _image_row(_thin(cube, max_dates, max_pixels), shown["mask"], told))
    counted = _few_dates(masks["mask"], max_dates)
    exact = not counted.chunks or counted.size == shown["mask"].size
    titles = _titles(shown["mask"] if counted.chunks else counted, exact=exact)
    figure = _sheet(rows, titles, _legend(shown.values()))
    if path is not None:
        figure.savefig(path)
    return figure


def _check_grids(drawn: Mapping[str, layout.Cube]) -> None:
    views = {name: layout.view(values) for name, values in drawn.items()}
    found = {name: (view.dates, view.sizes[view.y], view.sizes[view.x]) for name, view in views.items()}
    if len(set(found.values())) > 1:
        raise CloudMaskError(
            f"(dates, rows, columns): {found}",
            "cube, mask and truth on the same dates and pixels",
            "mask.sel(time=cube.time), or mask=cube.cloudmask.predict()",
        )


def _thin(cube: Any, max_dates: int, max_pixels: int) -> Any:
    """Keep few dates and every n-th pixel, north up and west to the left; lazy where the cube is."""
    view = layout.view(cube)
    step = -(-max(view.sizes[view.y], view.sizes[view.x]) // max_pixels)
    dims: dict[Hashable, Any] = {
        view.y: _positions(cube, view.y, step, descending=True),
        view.x: _positions(cube, view.x, step, descending=False),
    }
    return _few_dates(cube, max_dates).isel(dims)


def _few_dates(cube: Any, max_dates: int) -> Any:
    view = layout.view(cube)
    positions = np.unique(np.linspace(0, view.dates - 1, min(view.dates, max_dates)).round().astype(int))
    return cube if view.time is None else cube.isel({view.time: positions})


def _positions(cube: Any, dim: str, step: int, *, descending: bool) -> slice:
    ends = cube[dim].values[[0, -1]] if dim in cube.coords else None
    against = ends is not None and (ends[0] > ends[1]) != descending and ends[0] != ends[1]
    return slice(None, None, -step if against else step)


def _dated(values: xr.DataArray) -> xr.DataArray:
    """Order a band or a mask as ``(time, y, x)``."""
    view = layout.view(values)
    (band,) = view.bands.values()
    return band if view.time is not None else band.expand_dims("time")


def _class_pictures(mask: xr.DataArray) -> list[Colors]:
    scheme = schemes.scheme_of(mask)
    table = np.zeros((256, 3), "uint8")  # no data is black
    for entry in scheme.classes:
        table[entry.code] = list(bytes.fromhex(entry.color[1:]))
    return [table[date] for date in _dated(mask).values]


def _image_row(cube: Any, mask: xr.DataArray, told: Told) -> Row:
    described = DescribedCube.of(cube, told)
    roles = {band.role: band for band in reversed(described.descriptors)}
    name = next((name for name, wanted in COMPOSITES.items() if set(wanted) <= set(roles)), None)
    if name is None:
        raise BandError(
            f"bands that measure {sorted(str(role) for role in roles)}",
            f"one of the band sets {list(COMPOSITES.values())}",
            "overview(None, mask) to draw the mask alone",
        )
    used = [roles[role] for role in COMPOSITES[name]]
    made = reflectance.converted(described, described.calibrated(used), described.provenance_of(used))
    calibrated = layout.view(made).bands
    values = np.asarray(np.stack([_dated(calibrated[band.name]).data for band in used], axis=-1))
    return Row(name, list(_stretched(values, labels.clear(_dated(mask)).values)))


def _stretched(values: npt.NDArray[np.float32], clear: npt.NDArray[np.bool_]) -> Colors:
    """Turn reflectance ``(time, y, x, 3)`` into colours; one stretch for all dates, from what is clear.

    Haze is taken off each colour; the ground gets most of the range, clouds the soft shoulder of the curve.
    """
    known = np.asarray(np.isfinite(values).all(axis=-1))
    seen = clear & known
    ground = values[seen if seen.sum() > 100 else known]
    if ground.size == 0:
        return np.zeros(values.shape, "uint8")
    dark = np.percentile(values[known], 0.5, axis=0)
    bright = np.percentile(ground - dark, 90)
    scaled = np.clip(np.nan_to_num(values - dark) / max(float(bright), 1e-3), 0, None)
    tone = scaled / (1 + scaled)
    return np.where(known[..., None], tone / max(float(tone.max()), 1e-3) * 255, 0).astype("uint8")


def _titles(mask: xr.DataArray, *, exact: bool) -> list[str]:
    fraction = coverage.coverage(mask)[CLOUD_FRACTION]
    time = layout.view(mask).time or "time"
    days = np.atleast_1d(mask[time].values) if time in mask.coords else [None] * fraction.size
    about = "" if exact else "≈ "
    return [_title(day, share, about) for day, share in zip(days, np.atleast_1d(fraction.values), strict=True)]


def _title(day: Any, share: float, about: str) -> str:
    cloud = "no data" if np.isnan(share) else f"{about}{share:.0%} cloud"
    return cloud if day is None else f"{str(day)[: len('2024-01-31')]}\n{cloud}"


def _legend(masks: Iterable[xr.DataArray]) -> dict[str, str]:
    """Return names and colours of the classes, and of no data where it is drawn."""
    told = [(mask, schemes.scheme_of(mask)) for mask in masks]
    entries = {entry.name: entry.color for _, scheme in told for entry in scheme.classes}
    if any((mask == scheme.no_data).any() for mask, scheme in told):
        entries["no_data"] = schemes.BLACK
    return {name.replace("_", " "): color for name, color in entries.items()}


def _sheet(rows: Sequence[Row], titles: Sequence[str], legend: dict[str, str]) -> Figure:
    patch = require("matplotlib.patches", "plot", "pictures").Patch
    height, width = rows[0].pictures[0].shape[:2]
    columns = len(titles)
    panel = float(np.clip(SHEET_INCHES / columns, *PANEL_INCHES))
    total = LEFT_INCHES + columns * (panel + GAP_INCHES)
    across = min(len(legend), max(1, int(total / LEGEND_INCHES[0])))
    bottom = 0.2 + LEGEND_INCHES[1] * -(-len(legend) // across)
    tall = TOP_INCHES + len(rows) * (panel * height / width + GAP_INCHES) + bottom
    figure = _figure((total, tall))
    figure.subplots_adjust(
        left=LEFT_INCHES / total,
        right=1 - GAP_INCHES / total,
        top=1 - TOP_INCHES / tall,
        bottom=bottom / tall,
        wspace=GAP_INCHES / panel,
        hspace=GAP_INCHES / (panel * height / width),
    )
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for row, line in zip(rows, grid, strict=True):
        for picture, axes in zip(row.pictures, line, strict=True):
            _draw(axes, picture)
        line[0].set_ylabel(row.name, fontsize=9, color=INK)
    for title, axes in zip(titles, grid[0], strict=True):
        axes.set_title(title, fontsize=9, color=INK, pad=5, linespacing=1.35)
    patches = [patch(facecolor=color, edgecolor="#888888", linewidth=0.5, label=name) for name, color in legend.items()]
    figure.legend(handles=patches, loc="lower center", ncols=across, frameon=False, fontsize=9, labelcolor=INK)
    return figure


def _draw(axes: Axes, picture: Colors) -> None:
    axes.imshow(picture, interpolation="nearest", aspect="auto")
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set(linewidth=0.5, color="#888888")


def _figure(inches: tuple[float, float]) -> Figure:
    from io import BytesIO

    class Sheet(require("matplotlib.figure", "plot", "pictures").Figure):  # type: ignore[misc]
        """A figure that notebooks show although pyplot does not know it."""

        def _repr_png_(self) -> bytes:
            buffer = BytesIO()
            self.savefig(buffer, format="png")
            return buffer.getvalue()

    return Sheet(figsize=inches, dpi=DPI, facecolor=PAPER)
