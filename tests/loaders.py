"""Tiny cubes as every loader presents them, made by the loader itself wherever it runs offline."""

from __future__ import annotations

import datetime as dt
import functools
import warnings
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pystac
import pytest
import rasterio
import xarray as xr
from affine import Affine

if TYPE_CHECKING:
    from pathlib import Path

SIZE = 8
EPSG = 32633
TRANSFORM = (10, 0, 500_000, 0, -10, 5_000_000)
DIGITAL_NUMBER = 3000

SENTINEL_2 = {"B02": "blue", "B03": "green", "B04": "red", "B08": "nir", "B11": "swir16", "B12": "swir22"}
EARTH_SEARCH = {name: name for name in ("blue", "green", "red", "nir", "swir16", "swir22")}
CENTRES = {"blue": 0.49, "green": 0.56, "red": 0.665, "nir": 0.842, "swir16": 1.61, "swir22": 2.19}
WIDTHS = {"blue": 0.098, "green": 0.045, "red": 0.038, "nir": 0.145, "swir16": 0.143, "swir22": 0.242}
EXTENSIONS = [
    "https://stac-extensions.github.io/eo/v1.1.0/schema.json",
    "https://stac-extensions.github.io/raster/v1.1.0/schema.json",
    "https://stac-extensions.github.io/projection/v1.1.0/schema.json",
]


def quiet(load: Any) -> Any:
    """Silence the deprecation warnings that loaders cause in their own dependencies."""

    @functools.wraps(load)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return load(*args, **kwargs)

    return wrapped


def geotiff(
    path: Path, values: int = DIGITAL_NUMBER, bands: tuple[str, ...] = (), dtype: str = "uint16", **tags: float
):
    """Write a constant GeoTIFF, its upper left pixel no data."""
    data = np.full((max(len(bands), 1), SIZE, SIZE), values, dtype)
    data[:, 0, 0] = 0
    profile = {"driver": "GTiff", "width": SIZE, "height": SIZE, "count": len(data), "dtype": dtype, "nodata": 0}
    with rasterio.open(path, "w", crs=EPSG, transform=Affine(*TRANSFORM), **profile) as target:
        target.write(data)
        if bands:
            target.descriptions = bands
        if tags:
            target.scales, target.offsets = [tags["scale"]] * len(data), [tags["offset"]] * len(data)
    return path


def stac_items(
    folder: Path,
    assets: dict[str, str | None],
    properties: list[dict[str, Any]],
    *,
    collection: str,
    ids: list[str] | None = None,
    raster_band: dict[str, Any] | None = None,
    eo_band: dict[str, Any] | None = None,
    values: int = DIGITAL_NUMBER,
) -> list[pystac.Item]:
    """Make an item per entry of `properties`, with a GeoTIFF per asset; asset name to common name or None."""
    items = []
    for i, extra in enumerate(properties):
        item = pystac.Item(
            ids[i] if ids else f"item{i}",
            {"type": "Polygon", "coordinates": [[[15, 45], [15.1, 45], [15.1, 45.2], [15, 45.2], [15, 45]]]},
            [15, 45, 15.1, 45.2],
            dt.datetime(2023, 9, 10 + i, tzinfo=dt.UTC),
            {"proj:epsg": EPSG} | extra,
            stac_extensions=EXTENSIONS,
            collection=collection,
        )
        for name, common in assets.items():
            path = geotiff(folder / f"{item.id}_{name}.tif", values if common else 4)
            item.add_asset(name, _asset(path, name, common, raster_band, eo_band))
        items.append(item)
    return items


def _asset(path: Path, name: str, common: str | None, raster_band: Any, eo_band: Any) -> pystac.Asset:
    fields: dict[str, Any] = {"proj:shape": [SIZE, SIZE], "proj:transform": list(TRANSFORM)}
    if common:
        spectral = {"center_wavelength": CENTRES[common], "full_width_half_max": WIDTHS[common]}
        fields["eo:bands"] = [{"name": name, "common_name": common, **spectral, **(eo_band or {})}]
    if raster_band is not None:
        fields["raster:bands"] = [{"nodata": 0, "data_type": "uint16", **(raster_band if common else {})}]
    return pystac.Asset(str(path), media_type="image/tiff", roles=["data"], extra_fields=fields)


def earth_search_items(folder: Path, applied: bool = True) -> list[pystac.Item]:
    """Sentinel-2 L2A as Earth Search v1 has it: the declared offset stays even where the flag says applied."""
    properties = {
        "platform": "sentinel-2b", "constellation": "sentinel-2", "instruments": ["msi"],
        "s2:processing_baseline": "05.09", "earthsearch:boa_offset_applied": applied,
    }  # fmt: skip
    return stac_items(
        folder, EARTH_SEARCH | {"scl": None}, [dict(properties), dict(properties)], collection="sentinel-2-l2a",
        ids=["S2B_33TVL_20230910_0_L2A", "S2B_33TVL_20230911_0_L2A"], raster_band={"scale": 0.0001, "offset": -0.1},
    )  # fmt: skip


def planetary_computer_items(folder: Path) -> list[pystac.Item]:
    """Sentinel-2 L2A as the Planetary Computer has it: baselines per date, no ``raster:bands``."""
    common = {"platform": "Sentinel-2A", "constellation": "Sentinel 2", "instruments": ["msi"]}
    properties = [common | {"s2:processing_baseline": baseline} for baseline in ("03.01", "05.09")]
    ids = ["S2A_MSIL2A_20230910T100031_R122_T33TVL_20230910T150000", "S2A_MSIL2A_20230911T100031_R122_T33TVL_x"]
    return stac_items(folder, SENTINEL_2 | {"SCL": None}, properties, collection="sentinel-2-l2a", ids=ids)


def bdc_items(folder: Path) -> list[pystac.Item]:
    """Amazonia-1 WFI surface reflectance as Brazil Data Cube has it: scale and nodata in ``eo:bands``."""
    bands: dict[str, str | None] = {"BAND1": "blue", "BAND2": "green", "BAND3": "red", "BAND4": "nir", "CMASK": None}
    band = {"min": 0.0, "max": 10000.0, "nodata": -9999.0, "scale": 0.0001, "scale_add": None}
    return stac_items(
        folder, bands, [{}], collection="AMZ1-WFI-L4-SR-1", ids=["AMAZONIA_1_WFI_20220811_036_018_L4"], eo_band=band
    )


@quiet
def odc_stac(folder: Path, **options: Any) -> xr.Dataset:
    """Sentinel-2 through odc-stac: no item properties, no wavelengths."""
    import odc.stac

    return odc.stac.load(planetary_computer_items(folder), bands=[*SENTINEL_2, "SCL"], chunks={}, **options)


def stackstac_planetary_computer(folder: Path) -> xr.DataArray:
    """Float64 digital numbers: there is no ``raster:bands`` to rescale with."""
    return _stack(planetary_computer_items(folder))


def stackstac_earth_search(folder: Path, applied: bool = True) -> xr.DataArray:
    """Float64, rescaled by ``raster:bands``, which stays as a coordinate."""
    return _stack(earth_search_items(folder, applied))


def stackstac_integers(folder: Path, applied: bool = True) -> xr.DataArray:
    """Digital numbers as in the files, with ``raster:bands``."""
    return _stack(earth_search_items(folder, applied), rescale=False, dtype="uint16", fill_value=np.uint16(0))


def stackstac_bdc(folder: Path) -> xr.DataArray:
    """Float64 digital numbers; scale and nodata are in ``eo:bands``, which stackstac does not keep."""
    return _stack(bdc_items(folder))


@quiet
def _stack(items: list[pystac.Item], **options: Any) -> xr.DataArray:
    stackstac = pytest.importorskip("stackstac")
    return stackstac.stack(items, epsg=EPSG, resolution=10, **options)


@quiet
def cubo(folder: Path, monkeypatch: Any) -> xr.DataArray:
    """Sentinel-2 through cubo from a catalogue that holds only our items."""
    import pystac_client

    package = pytest.importorskip("cubo")
    planetary_computer = pytest.importorskip("planetary_computer")

    items = pystac.ItemCollection(planetary_computer_items(folder))
    search = SimpleNamespace(item_collection=lambda: items)
    client = SimpleNamespace(search=lambda **_: search)
    monkeypatch.setattr(pystac_client.Client, "open", lambda *_, **__: client)
    monkeypatch.setattr(planetary_computer, "sign", lambda signed: signed)
    place = {"lat": 45.153117, "lon": 15.000509, "edge_size": SIZE, "resolution": 10}
    return package.create(
        collection="sentinel-2-l2a", bands=list(SENTINEL_2), start_date="2023-09-01", end_date="2023-09-30", **place
    )


@quiet
def rioxarray(
    folder: Path, bands: tuple[str, ...] = ("blue", "green", "red", "nir"), scaled: bool = True, **options: Any
):
    """One multi-band GeoTIFF with descriptions, and scale and offset where `scaled`."""
    import rioxarray as package

    tags = {"scale": 0.0001, "offset": -0.1} if scaled else {}
    return package.open_rasterio(geotiff(folder / "multiband.tif", bands=bands, **tags), **options)


@quiet
def satpy(values: xr.DataArray | None = None) -> xr.Dataset:
    """Sentinel-2 L1C as a satpy Scene hands it over: percent, wavelengths in attributes."""
    pytest.importorskip("satpy")
    from satpy import Scene
    from satpy.dataset.dataid import WavelengthRange

    if values is None:
        values = xr.DataArray(np.full((SIZE, SIZE), 20.0), dims=("y", "x"))
    shared = {
        "platform_name": "Sentinel-2A", "sensor": {"msi"}, "reader": "msi_safe", "calibration": "reflectance",
        "units": "%", "standard_name": "toa_bidirectional_reflectance", "area": None,
    }  # fmt: skip
    wavelengths = {
        "B02": (0.44, 0.49, 0.54),
        "B03": (0.54, 0.56, 0.58),
        "B04": (0.645, 0.665, 0.685),
        "B08": (0.78, 0.842, 0.905),
    }
    scene = Scene()
    for name, wavelength in wavelengths.items():
        scene[name] = values.assign_attrs(shared, name=name, wavelength=WavelengthRange(*wavelength))
    return xr.Dataset({str(item["name"]): scene[item["name"]] for item in scene.keys()})  # noqa: SIM118


@quiet
def eopf(folder: Path) -> xr.Dataset:
    """Sentinel-2 as an EOPF Zarr product: decoded by xarray, lower-case names, the STAC item in the attributes."""
    names = ("b02", "b03", "b04", "b08", "b11", "b12")
    pixels = np.full((SIZE, SIZE), 0.2)
    pixels[0, 0] = np.nan
    item = {"properties": {"platform": "sentinel-2a", "instrument": "msi", "processing:level": "L2A"}}
    cube = xr.Dataset(dict.fromkeys(names, (("y", "x"), pixels)), attrs={"stac_discovery": item})
    packing = {"dtype": "uint16", "scale_factor": 0.0001, "add_offset": -0.1, "_FillValue": 0}
    cube.to_zarr(folder / "eopf.zarr", encoding=dict.fromkeys(names, packing), zarr_format=2, consolidated=False)
    return xr.open_zarr(folder / "eopf.zarr", consolidated=False)
