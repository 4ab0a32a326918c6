"""A mask corrected by its series: what is always called cloud and never changes is ground, what stands out is not.

Every comparison is of reflectance, pixel by pixel, with the ground: the median of the pixel's clear dates. Where there
are fewer than three, the lower quartile of all its dates tells which clouds are freed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr

from xr_cloudmask.cube.bands import BandDescriptor
from xr_cloudmask.cube.calibration import Calibration, Factor, Nodata
from xr_cloudmask.cube.described import DescribedCube, Told
from xr_cloudmask.cube.layout import Cube, dated
from xr_cloudmask.cube.mapping import on_grid
from xr_cloudmask.cube.reflectance import measured
from xr_cloudmask.engine.stacks import Blocks, reduce_dates
from xr_cloudmask.errors import BandError, CloudMaskError
from xr_cloudmask.masks import coverage, schemes
from xr_cloudmask.masks.schemes import Scheme
from xr_cloudmask.names import FRACTIONS, MASK_NAME
from xr_cloudmask.series.series import Series

VISIBLE_END = 700.0  # nm, of the centre of a band
FURTHER = (("red",), ("nir", "nir08"), ("swir16",))  # roles of bands besides the visible one, in their order
NONE = -1  # the code of no class, and the place of no band
STRIP = 1 << 14  # pixels whose dates are turned into reflectance at once


@dataclass(frozen=True)
class Refinement:
    """When the series is believed rather than the mask.

    Attributes
    ----------
    difference : float
        Reflectance by which a date differs from the ground. Source: Zhu & Woodcock (2014), for clouds and shadows.
    persistent : float
        Share of a pixel's dates with data that are called cloud, from which on the mask is doubted there.
    alike : float
        Share of those, three at least, that must look like the ground for it to be freed: clouds vary, ground does
        not. This share and the one above were set on simulated series.
    dates : int
        Fewest dates with data of a pixel that is looked at.

    References
    ----------
    Zhu & Woodcock (2014), Tmask, https://doi.org/10.1016/j.rse.2014.06.012.
    """

    difference: float = 0.04
    persistent: float = 0.6
    alike: float = 0.3
    dates: int = 6

    def __post_init__(self) -> None:
        shares = 0 < self.persistent <= 1 and 0 < self.alike <= 1
        if not (self.difference > 0 and shares and self.dates >= 3):
            raise CloudMaskError(
                f"{self}", "a difference above 0, shares above 0 and up to 1, 3 dates or more", "Refinement(dates=6)"
            )


class CorrectionRule(NamedTuple):
    """What compiled code corrects the dates of a pixel by.

    Attributes
    ----------
    clear, cloud, shadow, no_data : int
        Codes; shadow is `NONE` where the mask has none.
    cloudy : tuple of int
        All codes of clouds.
    red, infrared, swir : int
        Places of the bands: red, the first in the infrared, the shortwave one; `NONE` for none. The first band of all
        is the visible one.
    difference, persistent, alike, dates : float and int
        See `Refinement`.
    """

    clear: int
    cloud: int
    shadow: int
    no_data: int
    cloudy: tuple[int, ...]
    red: int
    infrared: int
    swir: int
    difference: float
    persistent: float
    alike: float
    dates: int


def refine(
    mask: Cube | None,
    cube: Cube,
    limits: Refinement | None = None,
    *,
    sensor: str | None = None,
    level: str | None = None,
    scale: Factor | None = None,
    offset: Factor | None = None,
    nodata: Nodata | None = None,
    descriptors: Sequence[BandDescriptor] | None = None,
) -> xr.Dataset:
    """Correct a mask by the other dates of each pixel.

    - What is called cloud on most dates, and looks like the ground on many of those, such as bright roofs, sand, salt
      and snow, becomes clear on those.
    - A clear date that is brighter in the visible than the ground and than the clear dates before and after it becomes
      cloud. The first and the last clear date have one neighbour: there the limit grows with the days between, and
      what turns redder, as fields do at harvest, stays. So does what turns darker at 1.6 µm, as snow does.
    - A clear date between others that is darker in all infrared bands than the ground and than both becomes shadow.

    A change of the ground that lasts is no spike. One that is seen on a single date, such as a flood or, without a
    band at 1.6 µm, snow, is taken for shadow or cloud.

    Parameters
    ----------
    mask : Dataset or DataArray, optional
        Predict's Dataset or a mask; None for the cube's own ``cloud_mask``, else a prediction. Of a scheme with one
        clear class: ``cloudsen12``, ``binary`` (no shadow is looked for) or ``validity``. New clouds get the scheme's
        first class of clouds.
    cube : Dataset or DataArray
        With a time dimension, digital numbers or reflectance. Blue, or else the shortest visible band, is used, and
        red, near infrared and 1.6 µm where they are.
    limits : Refinement, optional
    sensor, level, scale, offset, nodata, descriptors : optional
        What the cube's metadata do not tell, as for `predict`; by default what `predict` was told for the mask.

    Returns
    -------
    Dataset
        ``cloud_mask`` uint8 with its coverage as coordinates, as `predict` returns it, and the attribute ``refined``:
        to be passed on as ``mask=``. No data stays what it is. Lazy where the cube or the mask is, with all dates in
        one chunk; the same for all chunks.

    Raises
    ------
    CloudMaskError
        Too few dates, no dates at all, no visible band, a scheme with several clear classes, or digital numbers whose
        calibration is not known.

    References
    ----------
    Zhu & Woodcock (2014), Tmask, https://doi.org/10.1016/j.rse.2014.06.012: the difference. Hagolle et al. (2010),
    MTCD, https://doi.org/10.1016/j.rse.2010.03.002: the first and last date. Kennedy et al. (2010), LandTrendr,
    https://doi.org/10.1016/j.rse.2010.07.008: spikes, one by one from the largest. Housman et al. (2018), TDOM,
    https://doi.org/10.3390/rs10081184: shadows as dark outliers in the infrared.

    Examples
    --------
    >>> import xr_cloudmask
    >>> cube = xr_cloudmask.simulate.series(bands=["blue", "red", "nir"], dates=8, size=(64, 64))
    >>> refined = refine(cube.truth, cube.drop_vars("truth"))
    >>> refined["cloud_mask"].attrs["refined"]
    'Refinement(difference=0.04, persistent=0.6, alike=0.3, dates=6) by B02 B04 B08'
    """
    limits = limits or Refinement()
    series = Series.of(cube, mask)
    view = series.view
    if view.dates < limits.dates:
        raise CloudMaskError(
            f"a cube of {view.dates} dates",
            f"at least {limits.dates}",
            "a longer series, or refine(limits=Refinement(dates=3))",
        )
    scheme = schemes.scheme_of(series.mask)
    told = Told(sensor, level, scale, offset, nodata, descriptors).or_else(Told.of(series.mask.attrs))
    described = DescribedCube.of(cube, told)
    used = _bands(described.descriptors)
    rule = _rule(scheme, series.clear, used, limits)
    rules = tuple(described.calibrated(used).values())
    days = tuple(((series.times - series.times.min()) / np.timedelta64(1, "D")).tolist())
    correct = partial(_corrected, order=series.order, days=days, calibrations=rules, rule=rule)
    arrays = [series.codes, *(dated(view, band.name) for band in used)]
    refined = reduce_dates(correct, arrays, dtype="uint8", layers=view.dates)
    said = {"refined": f"{limits} by {' '.join(band.name for band in used)}"}
    kept = {name: value for name, value in series.mask.attrs.items() if name not in FRACTIONS}
    out = on_grid(view, {MASK_NAME: (refined, kept | said)})
    return coverage.with_coverage(out[MASK_NAME], out)


def _bands(described: Sequence[BandDescriptor]) -> tuple[BandDescriptor, ...]:
    """Return blue, or else the shortest visible band, and what there is of `FURTHER`."""
    solar = [band for band in described if band.kind == "reflectance"]
    visible = [band for band in solar if 0 < _centre(band) < VISIBLE_END]
    if not visible:
        raise BandError(
            f"bands {[band.name for band in described]}",
            "a visible one, blue at best",
            "cube.rename({'band_1': 'blue'}), or add it to the cube",
        )
    first = min(visible, key=lambda band: (band.role != "blue", _centre(band)))
    further = [[band for band in solar if band.role in roles and band != first] for roles in FURTHER]
    return (first, *(found[0] for found in further if found))


def _centre(band: BandDescriptor) -> float:
    return (band.min_wavelength + band.max_wavelength) / 2


def _rule(scheme: Scheme, clear: Sequence[int], used: Sequence[BandDescriptor], limits: Refinement) -> CorrectionRule:
    clouds = _codes_of(scheme, schemes.CLOUDS)
    shadows = [code for code in _codes_of(scheme, ("cloud_shadow",)) if code not in clear]
    if len(clear) != 1 or not clouds or not scheme.tells_no_data:
        raise CloudMaskError(
            f"a mask in scheme {scheme.name!r}: {[entry.name for entry in scheme.classes]}",
            "one clear class, clouds, and no data apart from them",
            "mask.cloudmask.to_scheme('cloudsen12') first, or predict(scheme='cloudsen12')",
        )
    places = {band.role: place for place, band in enumerate(used) if place}
    return CorrectionRule(
        clear=clear[0],
        cloud=clouds[0],
        shadow=next(iter(shadows), NONE),
        no_data=scheme.no_data,
        cloudy=tuple(clouds),
        red=places.get("red", NONE),
        infrared=min((place for role, place in places.items() if role != "red"), default=NONE),
        swir=places.get("swir16", NONE),
        **asdict(limits),
    )


def _codes_of(scheme: Scheme, names: Sequence[str]) -> list[int]:
    return [entry.code for entry in scheme.classes if set(entry.gathers) & set(names)]


def _corrected(
    codes: Blocks,
    *values: Blocks,
    order: Sequence[int],
    days: Sequence[float],
    calibrations: Sequence[Calibration],
    rule: CorrectionRule,
) -> npt.NDArray[np.uint8]:
    """Return the codes of all dates of a chunk of pixels, ``(date, y, x)``."""
    from xr_cloudmask.series import kernels

    out = np.concatenate(codes)
    flat = out.reshape(len(out), -1)
    numbers = [[date.reshape(-1) for block in band for date in block] for band in values]
    when = np.array(days)[list(order)]
    for begin in range(0, flat.shape[1], STRIP):
        part = slice(begin, begin + STRIP)
        seen = np.empty((flat[0, part].size, len(out), len(values)), "float32")
        for place, date in enumerate(order):
            of_date = measured([dates[date][part] for dates in numbers], calibrations, date)
            seen[:, place] = np.stack(of_date, axis=-1)
        found = np.ascontiguousarray(flat[list(order), part].T)
        kernels.refine(found, seen, when, rule)
        flat[list(order), part] = found.T
    return out
