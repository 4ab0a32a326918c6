"""Which assets of an item are bands, and what they say of themselves: one form for every version of STAC."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from xr_cloudmask.cube.metadata import as_number, band_fields
from xr_cloudmask.cube.sensors import common_names, sensors
from xr_cloudmask.cube.spelling import keys
from xr_cloudmask.errors import BandError, StacError, listed

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox
    from pystac import Asset, Item

SPECTRAL = ("common_name", "center_wavelength", "full_width_half_max")  # kept as attributes, micrometres as in STAC
PICTURES = frozenset(("thumbnail", "overview", "visual"))  # roles of assets to look at
PANCHROMATIC = "pan"  # finer than the others: left out unless it is asked for


@dataclass(frozen=True)
class AssetBand:
    """A band of an item: where its pixels are, and what is said of them.

    Attributes
    ----------
    asset : str
        Key of the asset.
    href : str
        Absolute address.
    grid : GeoBox or None
        Its pixels on the ground; None where the item does not say.
    dtype, nodata : str and float, or None
        Of the file; None where the item does not say.
    attrs : mapping
        ``common_name``, wavelengths, ``scale_factor`` and ``add_offset``, as far as they are stated.
    """

    asset: str
    href: str
    grid: GeoBox | None
    dtype: str | None
    nodata: float | None
    attrs: Mapping[str, Any]


class StatedBand(NamedTuple):
    """What an item says of a band: asset, attributes of `AssetBand` with ``nodata``, and whether it is a colour."""

    asset: Asset
    attrs: Mapping[str, Any]
    is_spectral: bool


def default_bands(items: Sequence[Item]) -> list[str]:
    """Return the keys of the spectral bands that all items have, without pan, in the order of the first item.

    Of files of the same band (a COG and a JPEG 2000, 10 m and 20 m) the finest is taken, the first listed among
    equals.
    """
    found = [_spectral_assets(item) for item in items]
    shared = [key for key in found[0] if all(key in keys for keys in found)]
    if not shared:
        raise BandError(
            f"items of which no spectral band is common to all: {items[0].id!r} has assets {listed(items[0].assets)}",
            "items of one sensor, whose assets have a common name or wavelength, or names that a sensor table has",
            "bands=['B02', 'B03', 'B04', 'B08']: keys of assets",
        )
    return shared


def source(item: Item, band: str) -> AssetBand:
    """Return where a band of an item is.

    Parameters
    ----------
    item : pystac.Item
        The item; not modified.
    band : str
        Key of an asset, name of its band or STAC common name.

    Raises
    ------
    BandError
        No asset has that band, or it is one of several in its file.
    """
    key = band if band in item.assets else _asset_of(item, band)
    fields = band_fields(item.assets[key].extra_fields)
    if len(fields) > 1:
        raise BandError(
            f"asset {key!r} of item {item.id!r}, with {len(fields)} bands",
            "an asset per band",
            f"rioxarray.open_rasterio({item.assets[key].href!r}, chunks={{}}).cloudmask.predict(...)",
        )
    href = item.assets[key].get_absolute_href()
    if href is None:
        raise StacError(
            f"asset {key!r} of item {item.id!r} at {item.assets[key].href!r}, relative to an unknown place",
            "absolute addresses, or items that know their own",
            "item.make_asset_hrefs_absolute() after item.set_self_href(...)",
        )
    said = fields[0]
    return AssetBand(
        key,
        href,
        _grid(item, item.assets[key]),
        said.get("data_type"),
        as_number(said.get("nodata")),
        _attributes(said),
    )


def stated(item: Item, bands: Iterable[str]) -> dict[str, StatedBand]:
    """Return what an item says of bands, called by key of an asset, name or common name; of those that it has."""
    found: dict[str, StatedBand] = {}
    named: dict[Any, tuple[Asset, dict[str, Any]]] | None = None
    for band in bands:
        fields = band_fields(item.assets[band].extra_fields) if band in item.assets else []
        if len(fields) == 1:
            found[band] = _stated(band, item.assets[band], fields[0])
            continue
        named = _by_name(item) if named is None else named
        if band in named:
            found[band] = _stated(band, *named[band])
    return found


def _by_name(item: Item) -> dict[Any, tuple[Asset, dict[str, Any]]]:
    """Return the bands of an item by their names: those with a file of their own before those of one file."""
    keys = dict.fromkeys((*_spectral_assets(item, with_pan=True), *item.assets))
    entries = [(item.assets[key], said) for key in keys for said in band_fields(item.assets[key].extra_fields)]
    return {name: (asset, said) for asset, said in reversed(entries) for name in _names(said)}


def _stated(band: str, asset: Asset, said: Mapping[str, Any]) -> StatedBand:
    nodata = as_number(said.get("nodata"))
    attrs = _attributes(said) | ({} if nodata is None else {"nodata": nodata})
    return StatedBand(asset, attrs, _spectral_role(band, said) is not None)


def _asset_of(item: Item, band: str) -> str:
    known = _spectral_assets(item, with_pan=True)
    matching = [key for key in known if band in _names(band_fields(item.assets[key].extra_fields)[0])]
    if not matching:
        raise BandError(
            f"item {item.id!r} without band {band!r}",
            f"one of its assets {listed(item.assets)}, or a common name of one",
            f"bands={known[:10]}, or leave the item out: [item for item in items if {band!r} in item.assets]",
        )
    return matching[0]


def _spectral_assets(item: Item, with_pan: bool = False) -> list[str]:
    """Return the keys of assets that are one spectral band each, one per band."""
    chosen: dict[str, tuple[float, str]] = {}
    for key, asset in item.assets.items():
        fields = band_fields(asset.extra_fields)
        role = _spectral_role(key, fields[0])
        if len(fields) > 1 or role is None or PICTURES & set(asset.roles or ()):
            continue
        if role == PANCHROMATIC and not with_pan:
            continue
        name, gsd = str(fields[0].get("name", keys(key)[-1])), as_number(fields[0].get("gsd")) or 0.0
        if name not in chosen or gsd < chosen[name][0]:
            chosen[name] = (gsd, key)
    return [key for _, key in chosen.values()]


def _spectral_role(key: str, said: Mapping[str, Any]) -> str | None:
    """Return the common name of a spectral band, or another name where it has none; None for all else."""
    stated = str(said.get("common_name") or "")
    if stated in common_names():
        return stated
    tables = (table.band(key) for table in sensors().values())
    known = next((band for band in tables if band is not None), None)
    if known is not None:
        return known.role or key
    return key if as_number(said.get("center_wavelength")) else None


def _names(said: Mapping[str, Any]) -> tuple[Any, ...]:
    return said.get("name"), said.get("common_name")


def _attributes(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return a band's attributes: its spectrum as STAC has it, its scale and offset as CF has them."""
    attrs = {key: said[key] for key in SPECTRAL if said.get(key) is not None}
    scale, offset = as_number(said.get("scale")), as_number(said.get("offset", said.get("scale_add")))
    if scale in (None, 1.0) and not offset:
        return attrs
    attrs["scale_factor"] = 1.0 if scale is None else scale
    return attrs if offset is None else {**attrs, "add_offset": offset}


def _grid(item: Item, asset: Asset) -> GeoBox | None:
    """Return the pixel grid that the fields of the projection extension state; None where they are incomplete."""
    from odc.geo.geobox import GeoBox

    def stated(*names: str) -> Any:
        places = (asset.extra_fields, item.properties)
        values = (place.get(f"proj:{name}") for place in places for name in names)
        return next((value for value in values if value is not None), None)

    shape, transform, crs = stated("shape"), stated("transform"), stated("code", "epsg", "wkt2", "projjson")
    if shape is None or transform is None or crs is None:
        return None
    return GeoBox(tuple(shape), _affine(transform), crs)


def _affine(numbers: Sequence[float]) -> Any:
    from affine import Affine

    return Affine(*numbers[:6])
