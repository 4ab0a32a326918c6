"""Which band is which: what a cube's coordinates, attributes and names say its bands measure."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import xarray as xr

from xr_cloudmask.cube.descriptor import KINDS, BandDescriptor
from xr_cloudmask.cube.layout import CubeView
from xr_cloudmask.cube.metadata import INSTRUMENT_KEYS, PLATFORM_KEYS, PRODUCT_KEYS, texts
from xr_cloudmask.cube.sensors import Sensor, SensorBand, common_name, common_names, named, sensors
from xr_cloudmask.cube.spelling import image_id, is_number, key, keys, looks_spectral
from xr_cloudmask.cube.wavelengths import Limits, bad_bands, limits_in, measured_limits
from xr_cloudmask.errors import BandError, listed

__all__ = ["KINDS", "BandDescriptor", "bad_bands", "candidate_sensors", "describe", "identify_sensor", "left_out"]

DESCRIPTIONS = ("long_name", "description", "band_name")  # attributes that name a band of a mere number
TWO_SWIR = ("swir1", "swir2")  # 1.6 and 2.2 µm, unless the cube has a third
NARROW = 0.1  # of the centre wavelength: narrower bands take the narrow common names (nir08, rededge071, lwir11)
OTHER_WIDTH = 2.0  # times as wide or as narrow as in the sensor's table is another band, or an error
PANCHROMATIC = 150.0  # nm: narrower visible bands are not panchromatic
THERMAL = 3000.0  # nm: beyond, the Earth's emission outweighs reflected sunlight


def describe(
    view: CubeView,
    sensor: str | None = None,
    descriptors: Sequence[BandDescriptor] | None = None,
    candidates: Sequence[Sensor] | None = None,
) -> tuple[BandDescriptor, ...]:
    """Describe the spectral bands of a cube; computes nothing.

    The first source that answers for a band wins: `descriptors`; the table of `sensor`; wavelengths and common names
    in coordinates along the band dimension or in the bands' attributes (STAC, satpy, ENVI, CF); the table of the
    sensor that the cube's metadata or its band names identify; STAC common names. Other bands (quality, angles)
    are left out, and so are those that a product marks as bad; a warning names those that look spectral but are
    known to nobody.

    Parameters
    ----------
    view : CubeView
        The cube.
    sensor : str, optional
        Sensor id or any usual spelling of a platform or instrument.
    descriptors : sequence of BandDescriptor, optional
        The caller's own description, by band name.
    candidates : sequence of Sensor, optional
        What `candidate_sensors` found, where it has been asked before.

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
    candidates = candidate_sensors(view, sensor) if candidates is None else tuple(candidates)
    limits, bad = measured_limits(view), bad_bands(view)
    bands = _bands(view, {name: limits[name] for name in view.bands if name not in bad})
    if len(candidates) > 1 and any(band.measured for band in bands):
        candidates = ()
    # Sensors whose tables describe the bands alike are not ambiguous here, only where their calibration is asked for.
    readings = {_read_bands(bands, table, sensor is not None) for table in candidates or (None,)}
    if len(readings) > 1:
        raise ambiguous(view, candidates)
    recognised = [BandDescriptor(name, *measured) for name, measured in _unique_guesses(readings.pop())]
    table = candidates[0] if len(candidates) == 1 else None
    if not recognised:
        raise _unrecognised(view, table)
    _require_one_image(view, recognised)
    unknown = left_out(view, recognised, candidates, bad)
    if unknown:
        warnings.warn(
            f"bands {listed(unknown)} are left out: their names look spectral, but neither metadata nor a table says "
            f"what they measure. Name them ({_renaming(view, unknown[0])}) or drop them.",
            stacklevel=2,
        )
    return tuple(recognised)


def left_out(
    view: CubeView,
    descriptors: Sequence[BandDescriptor],
    candidates: Sequence[Sensor] = (),
    bad: frozenset[str] | None = None,
) -> tuple[str, ...]:
    """Return the bands that look spectral by their names, and that `describe` could not recognise."""
    known = {descriptor.name for descriptor in descriptors} | (bad_bands(view) if bad is None else bad)
    names = (name for name in view.bands if name not in known and looks_spectral(name))
    return tuple(name for name in names if not any(table.is_quality(name) for table in candidates))


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
        raise ambiguous(view, candidates)
    return candidates[0] if candidates else None


def candidate_sensors(view: CubeView, sensor: str | None = None) -> tuple[Sensor, ...]:
    """Return every sensor a cube can be from: those that recognise the most of its band names."""
    pool = named(sensor) if sensor is not None else _hinted(view)
    names = list(_names(view).values())
    if pool is not None:
        found = _best(_with_products(pool), names)
        return tuple(table for table in found if table in pool) or found
    names = [name for name in names if not is_number(name)]
    found = _best([table for table in sensors().values() if table.names_tell], names)
    spectral, quality, _ = found[0].recognises(names)
    # STAC common names are nobody's own: only a quality band that one sensor alone has tells the sensor.
    generic = sum(common_name(name) is not None for name in names)
    own = spectral > generic or (spectral > 0 and quality > 0 and len(found) == 1)
    return found if own else ()


def _best(tables: Sequence[Sensor], names: Sequence[str]) -> tuple[Sensor, ...]:
    counts = [table.recognises(names) for table in tables]
    return tuple(table for table, count in zip(tables, counts, strict=True) if count == max(counts))


def _with_products(pool: Sequence[Sensor]) -> tuple[Sensor, ...]:
    """Return sensors, and the products that other providers make of their data."""
    ids = {table.id for table in pool}
    return (*pool, *(table for table in sensors().values() if ids & set(table.of) and table.id not in ids))


def _hinted(view: CubeView) -> tuple[Sensor, ...] | None:
    """Return the sensors that platform, instrument and product names point at; None where there are no such names."""
    hints = tuple(texts(view, *keys) for keys in (PRODUCT_KEYS, PLATFORM_KEYS, INSTRUMENT_KEYS))
    hints = (tuple(row | _image_ids(view) for row in hints[0]), *hints[1:])
    dates = max(len(hint) for hint in hints)
    rows = {tuple(hint[i % len(hint)] for hint in hints) for i in range(dates)}
    per_row = [pool for pool in (_pointed_at(*row) for row in sorted(rows, key=repr)) if pool is not None]
    if not per_row:
        return None
    common = frozenset.intersection(*per_row)
    if not common and all(per_row):
        raise BandError(
            f"dates of different sensors: {_ids(frozenset.union(*per_row))}",
            "one sensor per cube",
            "a cube per sensor: for name, part in cube.groupby('platform'): part.cloudmask.predict()",
        )
    return tuple(sensors()[name] for name in sorted(common))


@lru_cache(maxsize=4096)
def _pointed_at(
    products: frozenset[str], platforms: frozenset[str], instruments: frozenset[str]
) -> frozenset[str] | None:
    """Return the ids of the sensors that names point at, none where no table is theirs; None where there are none."""
    by_product = {s.id for s in sensors().values() if any(map(s.is_product, products))}
    by_platform = {s.id for s in sensors().values() if any(map(s.is_platform, platforms))}
    by_instrument = {s.id for s in sensors().values() if any(map(s.is_instrument, instruments))}
    # A product name is the most specific: HLS items name Sentinel-2 and Landsat as their platforms, and the names of
    # products that others make of a sensor's data hold its own.
    by_product -= {origin for name in by_product for origin in sensors()[name].of}
    if by_product:
        return frozenset(by_product & by_platform or by_product)
    if platforms:
        # Where a platform has an instrument of which no table is its own (MSS of Landsat 5), the instrument tells.
        return frozenset(by_platform and (by_platform & by_instrument or by_instrument or by_platform))
    return frozenset(by_instrument) or None


def _image_ids(view: CubeView) -> frozenset[str]:
    """Return the ids of images that stand before the names of bands, as Earth Engine's ``toBands`` writes them."""
    ids = (image_id(name, known) for name in view.bands for known in keys(name)[1:])
    return frozenset(found for found in ids if found is not None)


def _given(view: CubeView, descriptors: Sequence[BandDescriptor]) -> tuple[BandDescriptor, ...]:
    are_descriptors = isinstance(descriptors, Sequence) and all(isinstance(d, BandDescriptor) for d in descriptors)
    by_name = {descriptor.name: descriptor for descriptor in descriptors} if are_descriptors else {}
    unknown = [name for name in by_name if name not in view.bands]
    if unknown or not by_name:
        raise BandError(
            f"descriptors of bands {listed(unknown) or 'none'}" if are_descriptors else f"descriptors={descriptors!r}",
            f"descriptors of bands in the cube: {listed(view.bands)}",
            "descriptors=[BandDescriptor(name='B02', role='blue', min_wavelength=446, max_wavelength=542), ...]",
        )
    return tuple(by_name[name] for name in view.bands if name in by_name)


class _Measured(NamedTuple):
    """What a band measures, but for its name: the fields of a `BandDescriptor`."""

    role: str | None
    min_wavelength: float
    max_wavelength: float
    kind: str


@dataclass(frozen=True)
class _Band:
    """A band before it is recognised: its name, what it is called in tables, and what its metadata say."""

    name: str
    called: str
    measured: _Measured | None
    is_generic: bool  # whether a common name among the names of the cube means what it usually does


def _bands(view: CubeView, limits: Mapping[str, Limits | None]) -> tuple[_Band, ...]:
    """Return those of the bands of which limits, or that there are none, are given."""
    called = {name: other for name, other in _names(view).items() if name in limits}
    third = any(key(other) in ("swir3", "swir4", "swir5") for other in called.values())
    return tuple(
        _Band(
            name,
            other,
            _measured(view.metadata[name].said.get("common_name"), limits[name] or limits_in(other)),
            not (third and key(other) in TWO_SWIR),
        )
        for name, other in called.items()
    )


def _names(view: CubeView) -> dict[str, str]:
    """Return what each band is called: its name, or its description where the name is only a number."""
    called = {}
    for name, values in view.bands.items():
        told = (values.attrs.get(field) for field in DESCRIPTIONS if is_number(name))
        called[name] = next((text for text in told if isinstance(text, str) and text.strip()), name)
    return called


Reading = tuple[tuple[str, _Measured], ...]


def _read_bands(bands: Iterable[_Band], table: Sensor | None, trust_table: bool) -> Reading:
    """Return what bands measure, as far as a sensor's table and their own metadata tell."""
    entries = {band.called: table.entry(band.called) for band in bands} if table is not None else {}
    found = []
    for band in bands:
        is_quality, entry = entries.get(band.called, (False, None))
        told = _of_entry(entry)
        if told is not None and band.measured is not None and not trust_table and _can_be_as_wide(band.measured, told):
            told = band.measured._replace(role=told.role, kind=told.kind)
        elif told is None:
            told = band.measured or (_of_entry(common_name(band.called)) if band.is_generic else None)
        if told is not None and not is_quality:
            found.append((band.name, told))
    return tuple(found)


def _of_entry(entry: SensorBand | None) -> _Measured | None:
    return None if entry is None else _Measured(entry.role, entry.min_wavelength, entry.max_wavelength, entry.kind)


def _can_be_as_wide(measured: _Measured, table: _Measured) -> bool:
    """Whether a width in metadata can be that of a sensor's band; some state none, some half of the wavelength."""
    known, stated = (band.max_wavelength - band.min_wavelength for band in (table, measured))
    return known / OTHER_WIDTH <= stated <= known * OTHER_WIDTH


def _measured(stated: Any, limits: Limits | None) -> _Measured | None:
    """Return what a band's own metadata say it measures, None where they say nothing."""
    common = common_names().get(str(stated or "").casefold())
    if limits is None:
        return _of_entry(common)
    low, high = limits
    role = _role(common.role if common else None, low, high)
    return _Measured(role, low, high, "brightness_temperature" if low > THERMAL else "reflectance")


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


def _unique_guesses(bands: Reading) -> Reading:
    """Drop the role of hyperspectral bands: where many bands share one, it points at none of them."""
    counts = Counter(measured.role for _, measured in bands)
    crowded = {role for role, count in counts.items() if role is not None and count > 2}
    return tuple((name, told._replace(role=None) if told.role in crowded else told) for name, told in bands)


def _require_one_image(view: CubeView, found: Sequence[BandDescriptor]) -> None:
    """Refuse the same band of several images side by side: a model would take whichever comes first."""
    of_limits: dict[tuple[str | None, float, float], list[str]] = {}
    for band in found:
        of_limits.setdefault((band.role, band.min_wavelength, band.max_wavelength), []).append(band.name)
    for names in of_limits.values():
        shared = set(keys(names[0])[1:]).intersection(*(keys(name)[1:] for name in names))
        images = [{image_id(name, known) for name in names} - {None} for known in shared]
        ids = max(images, key=len, default=set())
        if len(ids) > 1:
            of_one = f"if str(name).startswith({min(map(str, ids)) + '_'!r})"
            raise BandError(
                f"bands of several images side by side: {listed(names)}",
                "one image, or images along a time dimension",
                f"cube.sel({view.band}=[name for name in cube[{view.band!r}].values {of_one}])"
                if view.band
                else f"cube[[name for name in cube {of_one}]]",
            )


def ambiguous(view: CubeView, candidates: Iterable[Sensor]) -> BandError:
    """Return the error for bands that several sensors have."""
    ids = sorted(sensor.id for sensor in candidates)
    choices = " or ".join(f"sensor={name!r}" for name in ids)
    return BandError(
        f"bands {listed(view.bands)}, which fit several sensors: {_ids(ids)}",
        "one sensor",
        choices,
        {"sensor": min(ids, key=lambda name: name.startswith("hls"))},  # made of others, and rarer
    )


def _unrecognised(view: CubeView, table: Sensor | None) -> BandError:
    roles = listed(dict.fromkeys(band.role for band in common_names().values()))
    expected = f"STAC common names ({roles}) or the band names of one of: {_ids(sensors())}"
    remedies = [_renaming(view), "sensor='sentinel-2'", "descriptors=[BandDescriptor(...), ...]"]
    if table is not None:
        expected = f"band names of {table.title}: {listed(band.name for band in table.bands)}"
    if table is not None and not table.bands:
        expected = f"wavelengths of the bands of {table.title}, in nanometres, along the band dimension"
        remedies = [f"cube.assign_coords(wavelength=({view.band or 'band'!r}, [...]))", remedies[-1]]
    return BandError(
        f"bands {listed(view.bands)}, none of which is known",
        expected,
        f"{', '.join(remedies[:-1])}, or {remedies[-1]}",
    )


def _renaming(view: CubeView, name: str = "your_band") -> str:
    """Return what to type to give bands the names of what they measure."""
    if view.band:
        return f"cube.assign_coords({view.band}=['blue', ...])"
    return "cube.rename('red')" if isinstance(view.source, xr.DataArray) else f"cube.rename({{{name!r}: 'blue', ...}})"


def _ids(names: Iterable[str]) -> str:
    return listed(sorted(names))
