"""Which band is which: what a cube's coordinates, attributes and names say its bands measure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xr_cloudmask.cube.properties import band_metadata, texts
from xr_cloudmask.cube.sensors import Sensor, SensorBand, common_names, named, sensors
from xr_cloudmask.errors import BandError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from xr_cloudmask.cube.layout import CubeView

PLATFORM_KEYS = ("platform", "platform_name", "spacecraft", "SPACECRAFT_ID", "SPACECRAFT_NAME", "constellation")
INSTRUMENT_KEYS = ("instruments", "instrument", "sensor", "SENSOR_ID")
PRODUCT_KEYS = (
    "collection", "collections", "id", "product_id", "product_uri", "s2:product_uri", "s2:product_type",
    "sentinel:product_id", "landsat:product_id", "landsat:scene_id", "title", "PRODUCT_URI",
    "LANDSAT_PRODUCT_ID", "reader",
)  # fmt: skip

CENTRE_KEYS = ("center_wavelength", "radiation_wavelength", "wavelength", "central_wavelength")
WIDTH_KEYS = ("full_width_half_max", "fwhm", "bandwidth")
NANOMETRES = {"nm": 1.0, "um": 1e3, "µm": 1e3, "μm": 1e3, "m": 1e9}
NARROW = 0.1  # of the centre wavelength: narrower bands take the narrow common names (nir08, rededge071, lwir11)
PANCHROMATIC = 150.0  # nm: narrower visible bands are not panchromatic
THERMAL = 3000.0  # nm: beyond, the Earth's emission outweighs reflected sunlight

KINDS = (
    "reflectance",
    "brightness_temperature",  # kelvin
    "normalised_brightness_temperature",  # as some networks take it
    "SAR VV",
    "SAR VH",
    "SAR Angle",
    "DEM",
    "fill",  # nothing: keeps a place
)


@dataclass(frozen=True)
class BandDescriptor:
    """What a band measures.

    Attributes
    ----------
    name : str
        The band's name in the cube.
    role : str or None
        STAC common name: coastal, blue, green, red, rededge071, nir, nir08, swir16, swir22, lwir11 …
    min_wavelength, max_wavelength : float
        Limits of the band in nanometres; 0 where it has none (radar, elevation).
    kind : str
        One of `KINDS`.
    multitemporal : bool
        Whether the band is made of several dates.
    """

    name: str
    role: str | None
    min_wavelength: float = 0.0
    max_wavelength: float = 0.0
    kind: str = "reflectance"
    multitemporal: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise BandError(f"kind {self.kind!r} of band {self.name!r}", f"one of {list(KINDS)}", f"kind={KINDS[0]!r}")


def describe(
    view: CubeView, sensor: str | None = None, descriptors: Sequence[BandDescriptor] | None = None
) -> tuple[BandDescriptor, ...]:
    """Describe the spectral bands of a cube; computes nothing.

    The first source that answers for a band wins: `descriptors`; the table of `sensor`; wavelengths and common names
    in coordinates along the band dimension or in the bands' attributes (STAC, satpy, ENVI, CF); the table of the
    sensor that the cube's metadata or its band names identify; STAC common names. Other bands (quality, angles)
    are left out.

    Parameters
    ----------
    view : CubeView
        The cube.
    sensor : str, optional
        Sensor id or any usual spelling of a platform or instrument.
    descriptors : sequence of BandDescriptor, optional
        The caller's own description, by band name.

    Returns
    -------
    tuple of BandDescriptor
        In the cube's order; ``name`` is the band's name in the cube; wavelengths in nanometres.

    Raises
    ------
    BandError
        No band is recognised, several sensors fit, or a name is unknown.

    References
    ----------
    STAC electro-optical extension 2.0.0; CF conventions (``radiation_wavelength``).

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from xr_cloudmask.cube import layout
    >>> cube = xr.Dataset({"blue": (("y", "x"), np.ones((2, 2))), "qa": (("y", "x"), np.ones((2, 2)))})
    >>> describe(layout.view(cube))
    (BandDescriptor(name='blue', role='blue', min_wavelength=450.0, max_wavelength=530.0, kind='reflectance',
    multitemporal=False),)
    """
    if descriptors is not None:
        return _given(view, descriptors)
    measured = {name: _measured(view, name) for name in view.bands}
    candidates = candidate_sensors(view, sensor)
    if any(measured.values()) and len(candidates) > 1:
        candidates = ()
    # Sensors whose tables describe the bands alike are not ambiguous here, only where their calibration is asked for.
    readings = {_read_bands(measured, table, sensor is not None) for table in candidates or (None,)}
    if len(readings) > 1:
        raise _ambiguous(view, candidates)
    recognised = _unique_guesses(list(readings.pop()))
    if not recognised:
        table = candidates[0] if len(candidates) == 1 else None
        raise _unrecognised(view, table)
    return tuple(recognised)


def identify_sensor(view: CubeView, sensor: str | None = None) -> Sensor | None:
    """Say which sensor a cube is from; computes nothing.

    Parameters
    ----------
    view : CubeView
        The cube.
    sensor : str, optional
        Sensor id or any usual spelling; it wins over the cube's metadata.

    Returns
    -------
    Sensor or None
        None where neither metadata nor band names point at one: a cube of STAC common names is fine without.

    Raises
    ------
    BandError
        Several sensors fit, or `sensor` is unknown.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from xr_cloudmask.cube import layout
    >>> cube = xr.Dataset({"SR_B6": (("y", "x"), np.ones((2, 2)))})
    >>> identify_sensor(layout.view(cube)).id
    'landsat-8-9'
    """
    candidates = candidate_sensors(view, sensor)
    if len(candidates) > 1:
        raise _ambiguous(view, candidates)
    return candidates[0] if candidates else None


def candidate_sensors(view: CubeView, sensor: str | None = None) -> tuple[Sensor, ...]:
    """Return every sensor a cube can be from: those that recognise the most of its band names."""
    pool = named(sensor) if sensor is not None else _hinted(view)
    known = tuple(sensors().values()) if pool is None else pool
    counts = {candidate.id: candidate.recognises(view.bands) for candidate in known}
    best = max(counts.values(), default=(0, 0))
    found = tuple(candidate for candidate in known if counts[candidate.id] == best)
    if pool is not None:
        return found
    # STAC common names are nobody's own: only a quality band that one sensor alone has tells the sensor.
    generic = sum(name in common_names() for name in map(str.casefold, view.bands))
    own = best[0] > generic or (best[0] > 0 and best[1] > 0 and len(found) == 1)
    return found if own else ()


def _hinted(view: CubeView) -> tuple[Sensor, ...] | None:
    """Return the sensors that platform, instrument and product names point at; None where there are no such names."""
    hints = tuple(texts(view, *keys) for keys in (PRODUCT_KEYS, PLATFORM_KEYS, INSTRUMENT_KEYS))
    dates = max(len(hint) for hint in hints)
    rows = {tuple(hint[i % len(hint)] for hint in hints) for i in range(dates)}
    per_row = [pool for pool in (_pointed_at(*row) for row in sorted(rows, key=repr)) if pool is not None]
    if not per_row:
        return None
    common = set.intersection(*per_row)
    if not common and all(per_row):
        raise BandError(
            f"dates of different sensors: {_ids(set.union(*per_row))}",
            "one sensor per cube",
            "a cube per sensor: for name, part in cube.groupby('platform'): part.cloudmask.predict()",
        )
    return tuple(sensors()[name] for name in sorted(common))


def _pointed_at(products: frozenset[str], platforms: frozenset[str], instruments: frozenset[str]) -> set[str] | None:
    by_product = {s.id for s in sensors().values() if any(map(s.is_product, products))}
    by_platform = {s.id for s in sensors().values() if any(map(s.is_platform, platforms))}
    by_instrument = {s.id for s in sensors().values() if any(map(s.is_instrument, instruments))}
    # A product name is the most specific: HLS items name Sentinel-2 and Landsat as their platforms.
    if by_product:
        return by_product & by_platform or by_product
    if platforms:
        return by_platform & by_instrument or by_platform
    return by_instrument or None


def _given(view: CubeView, descriptors: Sequence[BandDescriptor]) -> tuple[BandDescriptor, ...]:
    are_descriptors = isinstance(descriptors, Sequence) and all(isinstance(d, BandDescriptor) for d in descriptors)
    by_name = {descriptor.name: descriptor for descriptor in descriptors} if are_descriptors else {}
    unknown = [name for name in by_name if name not in view.bands]
    if unknown or not by_name:
        raise BandError(
            f"descriptors of bands {_listed(unknown) or 'none'}" if are_descriptors else f"descriptors={descriptors!r}",
            f"descriptors of bands in the cube: {_listed(view.bands)}",
            "descriptors=[BandDescriptor(name='B02', role='blue', min_wavelength=446, max_wavelength=542), ...]",
        )
    return tuple(by_name[name] for name in view.bands if name in by_name)


def _read_bands(
    measured: Mapping[str, BandDescriptor | None], table: Sensor | None, trust_table: bool
) -> tuple[BandDescriptor, ...]:
    found = (_described(name, band, table, trust_table) for name, band in measured.items())
    return tuple(band for band in found if band is not None)


def _described(
    name: str, measured: BandDescriptor | None, table: Sensor | None, trust_table: bool
) -> BandDescriptor | None:
    if table is not None and name in table.quality:
        return None
    entry = table.band(name) if table is not None else None
    if entry is not None and (trust_table or measured is None):
        return _from_entry(name, entry)
    if measured is None:
        generic = common_names().get(name.casefold())
        return _from_entry(name, generic) if generic is not None else None
    return measured if entry is None else replace(measured, role=entry.role, kind=entry.kind)


def _from_entry(name: str, entry: SensorBand) -> BandDescriptor:
    return BandDescriptor(name, entry.role, entry.min_wavelength, entry.max_wavelength, entry.kind)


def _measured(view: CubeView, name: str) -> BandDescriptor | None:
    """Describe a band from its own metadata, None where there is none."""
    metadata = band_metadata(view, name)
    common = common_names().get(str(metadata.get("common_name") or "").casefold())
    limits = _limits(metadata, _declared_unit(view, metadata))
    if limits is None:
        return None if common is None else _from_entry(name, common)
    low, high = limits
    role = _role(common.role if common else None, low, high)
    return BandDescriptor(name, role, low, high, "brightness_temperature" if low > THERMAL else "reflectance")


def _limits(metadata: Mapping[str, Any], unit: float | None) -> tuple[float, float] | None:
    pair = (_number(metadata.get("min_wavelength")), _number(metadata.get("max_wavelength")))
    if pair[0] is not None and pair[1] is not None:
        return _in_nanometres(pair[0], pair[1], unit)
    for key in CENTRE_KEYS:
        value: Any = metadata.get(key)
        if hasattr(value, "min") and hasattr(value, "central"):  # satpy's WavelengthRange
            return _in_nanometres(float(value.min), float(value.max), NANOMETRES.get(str(value.unit)))
        if isinstance(value, list | tuple) and len(value) == 3:
            return _in_nanometres(float(value[0]), float(value[2]), unit)
        centre = _number(value)
        if centre is not None:
            width = next((w for w in map(_number, map(metadata.get, WIDTH_KEYS)) if w is not None), 0.0)
            return _in_nanometres(centre - width / 2, centre + width / 2, unit)
    return None


def _in_nanometres(low: float, high: float, unit: float | None) -> tuple[float, float]:
    if unit is None:
        unit = NANOMETRES["um"] if high < 100 else NANOMETRES["nm"]
    return round(low * unit, 3), round(high * unit, 3)


def _declared_unit(view: CubeView, metadata: Mapping[str, Any]) -> float | None:
    """Return nanometres per unit of the wavelengths, None where nothing says."""
    coords = view.source.coords
    declared = [coords[key].attrs.get("units") for key in ("min_wavelength", *CENTRE_KEYS) if key in coords]
    declared.append(metadata.get("wavelength_units"))
    spelt = (str(text).casefold().replace("micrometer", "um").replace("micrometre", "um") for text in declared if text)
    spelt = (text.replace("nanometer", "nm").replace("nanometre", "nm").rstrip("s") for text in spelt)
    return next((NANOMETRES[text] for text in spelt if text in NANOMETRES), None)


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if not isinstance(value, int | float | np.number) or not np.isfinite(value) or value <= 0:
        return None
    return float(value)


def _role(common: str | None, low: float, high: float) -> str | None:
    """Return the STAC common name: the declared one where it is precise and true, else that of the wavelengths."""
    centre, width = (low + high) / 2, high - low
    declared = common_names().get(common or "")
    # STAC 1 has only "rededge"; some catalogues call Sentinel-2's B8A so too.
    if declared is not None and common != "rededge" and declared.min_wavelength <= centre <= declared.max_wavelength:
        return common
    fits = [
        band
        for band in common_names().values()
        if band.min_wavelength <= centre <= band.max_wavelength and (band.role != "pan" or width > PANCHROMATIC)
    ]
    if not fits:
        return common
    best = min if width <= NARROW * centre else max
    return best(fits, key=lambda band: band.max_wavelength - band.min_wavelength).role


def _unique_guesses(bands: list[BandDescriptor]) -> list[BandDescriptor]:
    """Drop the role of hyperspectral bands: where many bands share one, it points at none of them."""
    counts = Counter(band.role for band in bands)
    crowded = {role for role, count in counts.items() if role is not None and count > 2}
    return [replace(band, role=None) if band.role in crowded else band for band in bands]


def _ambiguous(view: CubeView, candidates: Iterable[Sensor]) -> BandError:
    ids = sorted(sensor.id for sensor in candidates)
    choices = " or ".join(f"sensor={name!r}" for name in ids)
    return BandError(f"bands {_listed(view.bands)}, which fit several sensors: {_ids(ids)}", "one sensor", choices)


def _unrecognised(view: CubeView, table: Sensor | None) -> BandError:
    names = f"band names of {table.title}: {_listed(b.name for b in table.bands)}" if table else ""
    renamed = (
        f"cube.assign_coords({view.band}=['blue', ...])" if view.band else "cube.rename({'your_band': 'blue', ...})"
    )
    if isinstance(view.source, xr.DataArray) and view.band is None:
        renamed = "cube.rename('red')"
    return BandError(
        f"bands {_listed(view.bands)}, none of which is known",
        names or f"STAC common names ({_listed(common_names())}) or the band names of one of: {_ids(sensors())}",
        f"{renamed}, sensor='sentinel-2', or descriptors=[BandDescriptor(...), ...]",
    )


def _ids(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
