"""A mask corrected by its series: what is always called cloud and never changes is ground, what stands out is not.

The ground of a pixel is the median of its clear dates; every comparison is of reflectance, pixel by pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import xarray as xr

from xr_cloudmask.cube import bands, calibration, layout
from xr_cloudmask.cube.bands import BandDescriptor
from xr_cloudmask.cube.calibration import Calibration
from xr_cloudmask.cube.layout import Cube
from xr_cloudmask.cube.reflectance import physical
from xr_cloudmask.engine.stacks import Blocks, reduce_dates
from xr_cloudmask.errors import BandError, CloudMaskError
from xr_cloudmask.masks import coverage, labels
from xr_cloudmask.masks.labels import Scheme
from xr_cloudmask.predict import dated, on_grid
from xr_cloudmask.series.composite import Series

VISIBLE_END = 700.0  # nm
FURTHER = (("red",), ("nir", "nir08"), ("swir16",))  # roles, the first of each that is there
STRIP = 1 << 14  # pixels whose dates are turned into reflectance at once


@dataclass(frozen=True)
class Refinement:
    """When the series is believed, and not the mask.

    Attributes
    ----------
    difference : float
        Reflectance by which a date differs from the ground. Source: Zhu & Woodcock (2014), who take 0.04 for clouds
        and for shadows.
    persistent : float
        Share of the dates with data, from which on a pixel that is called cloud is doubted.
    alike : float
        Share of the dates with data that must look like the ground for the doubt to be believed: real clouds vary.
    dates : int
        Fewest dates with data of a pixel that is looked at.
    """

    difference: float = 0.04
    persistent: float = 0.6
    alike: float = 0.5
    dates: int = 6

    def __post_init__(self) -> None:
        shares = 0 < self.persistent <= 1 and 0 < self.alike <= 1
        if not (self.difference > 0 and shares and self.dates >= 3):
            raise CloudMaskError(
                f"{self}", "a difference above 0, shares above 0 and up to 1, 3 dates or more", "Refinement(dates=6)"
            )


def refine(mask: Cube | None, cube: Cube, *, limits: Refinement | None = None) -> xr.Dataset:
    limits = limits or Refinement()
    series = Series.of(cube, mask)
    view = series.view
    if view.dates < limits.dates:
        raise CloudMaskError(
            f"a cube of {view.dates} dates", f"at least {limits.dates}", "refine(limits=Refinement(dates=3))"
        )
    scheme = labels.scheme_of(series.mask)
    used = _bands(bands.describe(view))
    correct = partial(
        _corrected,
        order=series.order,
        calibrations=calibration.calibrate(view, used).calibrations,
        cloudy=_cloudy(scheme),
        written=_written(scheme, series.clear),
        no_data=scheme.no_data,
        days=tuple(((series.times - series.times.min()) / np.timedelta64(1, "D")).tolist()),
        places=_places(used),
        limits=astuple(limits),
    )
    arrays = [series.codes, *(dated(view, band.name) for band in used)]
    refined = reduce_dates(correct, arrays, dtype="uint8", layers=view.dates)
    said = {"refined": f"{limits} by {' '.join(band.name for band in used)}"}
    kept = {name: value for name, value in series.mask.attrs.items() if name not in coverage.FRACTIONS}
    out = on_grid(view, {labels.MASK_NAME: (refined, kept | said)})
    return coverage.with_coverage(out[labels.MASK_NAME], out)


def _bands(described: Sequence[BandDescriptor]) -> tuple[BandDescriptor, ...]:
    """Return blue, or else the shortest visible band, and near and shortwave infrared where they are."""
    solar = [band for band in described if band.kind == "reflectance"]
    centre = {band: (band.min_wavelength + band.max_wavelength) / 2 for band in solar}
    visible = [band for band in solar if 0 < centre[band] < VISIBLE_END]
    if not visible:
        raise BandError(
            f"bands {[band.name for band in described]}", "a visible one, blue at best", "cube.rename({'band 1': 'blue'})"
        )
    shortest = min(visible, key=lambda band: (band.role != "blue", centre[band]))
    further = [[band for band in solar if band.role in roles and band != shortest] for roles in FURTHER]
    return (shortest, *(found[0] for found in further if found))


def _places(used: Sequence[BandDescriptor]) -> tuple[int, int, int]:
    """Return the places of red, of the first infrared band and of the shortwave one; -1 for none."""
    roles = [band.role for band in used]
    def place(*wanted: str) -> int:
        return next((i for i, role in enumerate(roles) if role in wanted and i), -1)
    return place("red"), place("nir", "nir08", "swir16"), place("swir16")


def _cloudy(scheme: Scheme) -> tuple[bool, ...]:
    """Return which of the 256 codes are cloud."""
    codes = {entry.code for entry in scheme.classes if set(entry.gathers) & set(labels.CLOUDS)}
    return tuple(code in codes for code in range(256))


def _written(scheme: Scheme, clear: Sequence[int]) -> tuple[int, int, int]:
    """Return the codes to write: clear, cloud, and shadow, which is -1 where it has none."""
    clouds = [entry.code for entry in scheme.classes if set(entry.gathers) & set(labels.CLOUDS)]
    shadows = [e.code for e in scheme.classes if "cloud_shadow" in e.gathers and e.code not in clear]
    if len(clear) != 1 or not clouds or not scheme.tells_no_data:
        raise CloudMaskError(
            f"a mask in scheme {scheme.name!r}: {[entry.name for entry in scheme.classes]}",
            "a scheme with one clear class, clouds and no data",
            "mask.cloudmask.to_scheme('cloudsen12')",
        )
    return clear[0], clouds[0], next(iter(shadows), -1)


def _corrected(
    codes: Blocks,
    *values: Blocks,
    order: Sequence[int],
    calibrations: Sequence[Calibration],
    cloudy: Sequence[bool],
    written: tuple[int, int, int],
    no_data: int,
    days: Sequence[float],
    places: tuple[int, int, int],
    limits: tuple[float, float, float, int],
) -> npt.NDArray[np.uint8]:
    """Return the codes of all dates of a chunk of pixels, ``(date, y, x)``."""
    from xr_cloudmask.series import kernels

    before = [date for block in codes for date in block]
    out = np.stack(before)
    when = np.array(days)[list(order)]
    flat = out.reshape(len(out), -1)
    numbers = [[date.reshape(-1) for block in band for date in block] for band in values]
    for begin in range(0, flat.shape[1], STRIP):
        part = slice(begin, begin + STRIP)
        seen = np.empty((flat[0, part].size, len(out), len(values)), "float32")
        for band, (dates, rule) in enumerate(zip(numbers, calibrations, strict=True)):
            for place, date in enumerate(order):
                seen[:, place, band] = physical(dates[date][part], rule, date)
        found = np.ascontiguousarray(flat[list(order), part].T)
        valid = np.isfinite(seen).all(axis=2) & (found != no_data)
        kernels.refine(found, seen, valid, when, np.array(cloudy), written, places, limits)
        flat[list(order), part] = found.T
    return out
