"""Sensor tables: what is known about a sensor's bands and its products' digital numbers, as data.

One TOML file per sensor; the file name is the sensor's id. A new sensor is a new file, no code.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from xr_cloudmask.cube.spelling import key, keys
from xr_cloudmask.errors import BandError, close_to, listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

COMMON_NAMES_FILE = "common_names.toml"


@dataclass(frozen=True)
class ThermalRule:
    """How a platform's thermal digital numbers become radiance, ``DN * scale + offset``, and radiance kelvin.

    Attributes
    ----------
    platforms : tuple of str
        Regular expressions that find the platform in normalised platform or product names.
    scale, offset : float
        W m⁻² sr⁻¹ µm⁻¹.
    k1, k2 : float
        Constants of Planck's law for the band: W m⁻² sr⁻¹ µm⁻¹, and kelvin.
    """

    platforms: tuple[str, ...]
    scale: float
    offset: float
    k1: float
    k2: float

    def is_platform(self, text: str) -> bool:
        """Whether a platform or product name is one of this rule's."""
        return _matches(self.platforms, text)


@dataclass(frozen=True)
class SensorBand:
    """One band of a sensor.

    Attributes
    ----------
    name : str
        The provider's name.
    role : str or None
        STAC common name; None where STAC has none.
    min_wavelength, max_wavelength : float
        Limits in nanometres, as the table's source gives them.
    gsd : float or None
        Ground sample distance in metres.
    aliases : tuple of str
        Other names that loaders and catalogues use, and
    also : tuple of str
        those that are its own only where the sensor is known: other sensors' bands are called so, too.
    kind : str
        ``"reflectance"`` or ``"brightness_temperature"``.
    thermal : tuple of ThermalRule
        How digital numbers become kelvin, by platform.
    solar_illumination : float or None
        Mean solar irradiance of the band at one astronomical unit (ESUN), W m⁻² µm⁻¹.
    calibration_coefficient : float or None
        Radiance of one digital number, W m⁻² sr⁻¹ µm⁻¹, to assume where the product does not say.
    """

    name: str
    role: str | None
    min_wavelength: float
    max_wavelength: float
    gsd: float | None = None
    aliases: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    kind: str = "reflectance"
    thermal: tuple[ThermalRule, ...] = ()
    solar_illumination: float | None = None
    calibration_coefficient: float | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Every name of the band."""
        return (self.name, *self.aliases)


@dataclass(frozen=True)
class RadiometryRule:
    """How digital numbers of one product level become reflectance: ``DN * scale + offset``.

    Attributes
    ----------
    level : str
        ``"TOA"`` or ``"BOA"``.
    products : tuple of str
        Regular expressions that find the level in normalised product, collection or band names.
    scale, offset : float
        The linear rule.
    baseline, baseline_offset : float or None
        From this processing baseline on, the offset is `baseline_offset`.
    sun_elevation : bool
        Whether the result must be divided by the sine of the sun elevation.
    nodata : float or None
        No-data value where it differs from the sensor's.
    radiance : bool
        Whether digital numbers are radiance over a coefficient, which `cube.radiance` turns into reflectance.
    attach : str or None
        What to type to give a cube the product's own metadata.
    unsupported : str or None
        What is missing, where the product cannot be calibrated from metadata a cube carries.
    """

    level: str
    products: tuple[str, ...] = ()
    scale: float = 1.0
    offset: float = 0.0
    baseline: float | None = None
    baseline_offset: float | None = None
    sun_elevation: bool = False
    nodata: float | None = None
    radiance: bool = False
    attach: str | None = None
    unsupported: str | None = None

    def describes(self, text: str) -> bool:
        """Whether a product, collection or band name is one of this level."""
        return _matches(self.products, text)


@dataclass(frozen=True)
class Sensor:
    """A sensor: its spellings, its bands, its radiometry.

    Attributes
    ----------
    id, title : str
        Short and long name.
    platforms, instruments, products : tuple of str
        Regular expressions over normalised platform, instrument, and product or collection names.
    gsd : float
        Ground sample distance of the multispectral bands in metres.
    nodata : float
        No-data value of the digital numbers.
    quality : tuple of str
        Names of bands without wavelength that only this sensor's products have.
    bands : tuple of SensorBand
        In the order of wavelength or of the provider; none for hyperspectral sensors, whose wavelengths every product
        states.
    radiometry : tuple of RadiometryRule
        One per product level.
    source : str
        Where the numbers come from.
    of : tuple of str
        Ids of the sensors whose data another provider has made this product of: their platforms are its platforms.
    prefixes : tuple of str
        What stands before the names of the product's bands. Without it they are known where the product is.
    names_tell : bool
        Whether the names of bands alone can tell this sensor, without metadata: not where they are anybody's.
    """

    id: str
    title: str
    platforms: tuple[str, ...]
    instruments: tuple[str, ...]
    products: tuple[str, ...]
    gsd: float
    nodata: float
    quality: tuple[str, ...]
    bands: tuple[SensorBand, ...]
    radiometry: tuple[RadiometryRule, ...]
    source: str
    of: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    names_tell: bool = True

    def band(self, name: str) -> SensorBand | None:
        """Return the band of that name or alias, in any spelling; None where the sensor has none."""
        return next(
            (names[known] for names in (self._by_key, self._also) for known in keys(name) if known in names), None
        )

    def is_quality(self, name: str) -> bool:
        """Whether a name is that of a band without wavelength."""
        return not self._quality.isdisjoint(keys(name))

    def entry(self, name: str) -> tuple[bool, SensorBand | None]:
        """Return both: whether a name is that of a band without wavelength, and the band of that name."""
        return self.is_quality(name), self.band(name)

    def recognises(self, names: Iterable[str]) -> tuple[int, int, int]:
        """Count the names that are a spectral band, those that are a quality band, and those spelt to the letter."""
        known, quality = self._by_key, self._quality
        bands = {name: next((known[key] for key in keys(name) if key in known), None) for name in names}
        spelt = sum(band is not None and name in (band.name, *band.aliases) for name, band in bands.items())
        of_quality = sum(not quality.isdisjoint(keys(name)) for name in bands)
        return sum(band is not None for band in bands.values()), of_quality, spelt

    def is_platform(self, text: str) -> bool:
        """Whether a text is a spelling of one of the platforms."""
        return _matches(self.platforms, text, whole=True)

    def is_instrument(self, text: str) -> bool:
        """Whether a text is a spelling of the instrument."""
        return _matches(self.instruments, text, whole=True)

    def is_product(self, text: str) -> bool:
        """Whether a product id or a collection name is one of this sensor's."""
        return _matches(self.products, text)

    @cached_property
    def _by_key(self) -> Mapping[str, SensorBand]:
        return {key(name): band for band in self.bands for name in band.names}

    @cached_property
    def _also(self) -> Mapping[str, SensorBand]:
        """Names that are known only where the sensor is."""
        plain = [(name.removeprefix(p), band) for p in self.prefixes for band in self.bands for name in band.names]
        return {
            key(name): band for name, band in [*plain, *((name, band) for band in self.bands for name in band.also)]
        }

    @cached_property
    def _quality(self) -> frozenset[str]:
        return frozenset(map(key, self.quality))


@cache
def sensors() -> Mapping[str, Sensor]:
    """Return every known sensor by id; parsed once.

    Returns
    -------
    mapping of str to Sensor

    Examples
    --------
    >>> sensors()["sentinel-2"].band("B8A").role
    'nir08'
    """
    tables = (_table(path.name) for path in _folder().iterdir() if path.name.endswith(".toml"))
    found = [_sensor(table) for table in tables if "id" in table]
    return MappingProxyType({sensor.id: sensor for sensor in sorted(found, key=lambda sensor: sensor.id)})


@cache
def common_names() -> Mapping[str, SensorBand]:
    """Return the STAC common names with their wavelength ranges, for bands of a sensor nobody named.

    Returns
    -------
    mapping of str to SensorBand

    Examples
    --------
    >>> blue = common_names()["blue"]
    >>> blue.min_wavelength, blue.max_wavelength
    (450.0, 530.0)
    """
    bands = (_band(entry) for entry in _table(COMMON_NAMES_FILE)["bands"])
    return MappingProxyType({name: band for band in bands for name in band.names})


@cache
def _common_keys() -> Mapping[str, SensorBand]:
    return {key(name): band for name, band in common_names().items()}


@lru_cache(maxsize=4096)
def common_name(name: str) -> SensorBand | None:
    """Return the STAC common name that a text spells, with its wavelengths; None where it spells none.

    Examples
    --------
    >>> common_name("SWIR_1").role, common_name("Near Infrared").role, common_name("B04")
    ('swir16', 'nir', None)
    """
    return next((_common_keys()[known] for known in keys(name) if known in _common_keys()), None)


def named(text: str) -> tuple[Sensor, ...]:
    """Return the sensors a spelling can mean, such as ``"sentinel-2"``, ``"S2A"``, ``"OLI_TIRS"`` or ``"CBERS-4A"``.

    Raises
    ------
    BandError
        No sensor has that name.

    Examples
    --------
    >>> [sensor.id for sensor in named("LANDSAT_8")]
    ['landsat-8-9']
    """
    known = sensors()
    if isinstance(text, str) and normalised(text) in known:
        return (known[normalised(text)],)
    tests = (Sensor.is_platform, Sensor.is_instrument, Sensor.is_product) if isinstance(text, str) else ()
    for test in tests:
        found = tuple(sensor for sensor in known.values() if test(sensor, text))
        if found:
            return found
    close = close_to(normalised(str(text)), known, "sentinel-2")
    raise BandError(
        f"sensor {text!r}",
        f"one of {listed(known)}: xr_cloudmask.cube.sensors.sensors() has all",
        f"sensor={close!r}",
    )


@lru_cache(maxsize=4096)
def normalised(text: str) -> str:
    """Write a platform, product or sensor name in one way: lower case, single hyphens.

    Examples
    --------
    >>> normalised("LANDSAT_8")
    'landsat-8'
    """
    return re.sub(r"[^0-9a-z]+", "-", text.casefold()).strip("-")


@cache
def _compiled(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns))


def _matches(patterns: tuple[str, ...], text: str, whole: bool = False) -> bool:
    """Tell whether one of several regular expressions is found in a normalised name, or is all of it."""
    if not patterns:
        return False
    pattern = _compiled(patterns)
    return (pattern.fullmatch if whole else pattern.search)(normalised(text)) is not None


def _folder() -> Any:
    return files(__name__)


def _table(name: str) -> dict[str, Any]:
    return tomllib.loads(_folder().joinpath(name).read_text(encoding="utf-8"))


def _sensor(table: dict[str, Any]) -> Sensor:
    prefixes = table.get("prefixes", ())
    shared = {band.name: band for name in table.get("of", ()) for band in _bands_of(name)}
    bands = tuple(_band(_completed(entry, shared, prefixes)) for entry in table.pop("bands", ()))
    rules = tuple(RadiometryRule(**_frozen(entry)) for entry in table.pop("radiometry"))
    return Sensor(bands=bands, radiometry=rules, **_frozen(table))


def _bands_of(name: str) -> Iterable[SensorBand]:
    return (_band(entry) for entry in _table(f"{name}.toml")["bands"])


def _completed(entry: dict[str, Any], shared: Mapping[str, SensorBand], prefixes: Iterable[str]) -> dict[str, Any]:
    """Return what a table says of a band, completed by the sensor's own table, and the name behind every prefix."""
    if "same_as" in entry:
        band = shared[entry.pop("same_as")]
        measured = {
            field: getattr(band, field) for field in ("role", "min_wavelength", "max_wavelength", "gsd", "kind")
        }
        entry = measured | entry
    first = next((prefix for prefix in prefixes if entry["name"].startswith(prefix)), "")
    others = [prefix + entry["name"].removeprefix(first) for prefix in prefixes if prefix != first]
    return {**entry, "aliases": [*entry.get("aliases", ()), *others]}


def _band(entry: dict[str, Any]) -> SensorBand:
    thermal = tuple(ThermalRule(**_frozen(rule)) for rule in entry.pop("thermal", ()))
    return SensorBand(**{"role": None, **_frozen(entry)}, thermal=thermal)


def _frozen(entry: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in entry.items()}
