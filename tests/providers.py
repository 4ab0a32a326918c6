"""Simulated scenes behind items as the providers of Sentinel-2, Landsat, HLS and Amazonia-1 have them."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from affine import Affine
from rasterio.warp import transform_bounds

from xr_cloudmask import simulate

if TYPE_CHECKING:
    from pathlib import Path

EPSG, PIXEL = 32633, 10.0
WEST, NORTH = 500_000.0, 5_000_000.0
SIDE = 64
ROLES = ("blue", "green", "red", "nir", "swir16", "swir22")
CENTRES = dict(zip(ROLES, (0.49, 0.56, 0.665, 0.842, 1.61, 2.19), strict=True))
WIDTHS = dict(zip(ROLES, (0.098, 0.045, 0.038, 0.145, 0.143, 0.242), strict=True))
EXTENSIONS = [
    f"https://stac-extensions.github.io/{name}/schema.json"
    for name in ("eo/v1.1.0", "raster/v1.1.0", "projection/v1.1.0", "view/v1.0.0")
]


@dataclass(frozen=True)
class Scene:
    """What an item says, and how the numbers in its files really become reflectance: ``DN * scale + offset``."""

    properties: Mapping[str, Any]
    scale: float
    offset: float
    id: str = "{day}"
    raster: Mapping[str, float] | None = None  # in raster:bands


@dataclass(frozen=True)
class Provider:
    """How items of a collection look."""

    collection: str
    assets: Mapping[str, str]  # key -> common name
    scenes: Sequence[Scene]
    quality: str
    level: str = "BOA"
    names: Mapping[str, str] = field(default_factory=dict)  # key -> name in eo:bands, where it is another
    has_bands: bool = True
    band: Mapping[str, Any] = field(default_factory=dict)  # further fields in eo:bands
    dtype: str = "uint16"
    nodata: float = 0
    media_type: str = "image/tiff; application=geotiff; profile=cloud-optimized"
    stac_version: str = "1.0.0"
    modern: bool = False  # STAC 1.1: bands, fields of the asset
    width: float | None = None  # of the wavelength, where what is stated is wrong


def keys(*names: str) -> dict[str, str]:
    return dict(zip(names, ROLES, strict=True))


B = keys("B02", "B03", "B04", "B08", "B11", "B12")
SENTINEL_2 = {"platform": "sentinel-2b", "constellation": "sentinel-2", "instruments": ["msi"]}
MPC = {"platform": "Sentinel-2B", "constellation": "Sentinel 2", "instruments": ["msi"], "s2:product_type": "S2MSI2A"}
LANDSAT = {"view:sun_elevation": 43.4, "view:sun_azimuth": 130.5, "landsat:correction": "L2SP"}
USGS = {**LANDSAT, "platform": "LANDSAT_8", "instruments": ["OLI", "TIRS"]}


def _earth_search(baseline: str, applied: bool, declared: float, true: float) -> Scene:
    said = {**SENTINEL_2, "s2:processing_baseline": baseline, "earthsearch:boa_offset_applied": applied}
    said |= {"view:sun_elevation": 50.1, "view:sun_azimuth": 160.2, "eo:cloud_cover": 35.0}
    return Scene(said, 1e-4, true, "S2B_33TWL_{day}_0_L2A", {"scale": 1e-4, "offset": declared})


def _mpc(baseline: str, true: float) -> Scene:
    said = {**MPC, "s2:processing_baseline": baseline, "s2:mean_solar_zenith": 40.0, "s2:mean_solar_azimuth": 160.0}
    return Scene(said, 1e-4, true, "S2B_MSIL2A_{day}T100031_R122_T33TWL_{day}T150000")


def _v0(product: str, true: float, **said: Any) -> Scene:
    product = f"S2B_MSIL2A_{{day}}T100031_N{product}_R122_T33TWL_{{day}}T150000"
    return Scene({**SENTINEL_2, "sentinel:product_id": product, **said}, 1e-4, true, "S2B_33TWL_{day}_0_L2A")


PROVIDERS = {
    "earth-search-v0": Provider(
        "sentinel-s2-l2a-cogs", B,
        [
            _v0("0214", 0.0),
            _v0("0400", 0.0, **{"sentinel:processing_baseline": "04.00", "sentinel:boa_offset_applied": True}),
            _v0("0400", -0.1, **{"sentinel:processing_baseline": "04.00", "sentinel:boa_offset_applied": False}),
        ],
        "SCL", has_bands=False, stac_version="1.0.0-beta.2",
    ),
    "earth-search-v1": Provider(
        "sentinel-2-l2a", keys(*ROLES),
        [
            _earth_search("02.14", False, 0, 0.0),
            _earth_search("05.09", True, -0.1, 0.0),
            _earth_search("04.00", False, -0.1, -0.1),
        ],
        "scl",
    ),
    "earth-search-c1": Provider(
        "sentinel-2-c1-l2a", keys(*ROLES),
        [
            Scene(
                {**SENTINEL_2, "s2:processing_baseline": "05.00", "s2:product_type": "S2MSI2A"},
                1e-4, -0.1, "S2B_T33TWL_{day}T100559_L2A", {"scale": 1e-4, "offset": -0.1},
            )
        ] * 2,
        "scl",
    ),
    "planetary-computer": Provider("sentinel-2-l2a", B, [_mpc("02.12", 0.0), _mpc("05.09", -0.1)], "SCL"),
    "copernicus": Provider(
        "sentinel-2-l2a", {f"{key}_{20 if key > 'B10' else 10}m": common for key, common in B.items()},
        [
            Scene(
                {
                    **SENTINEL_2, "processing:level": "L2", "processing:version": version, "product:type": "S2MSI2A",
                    "view:sun_elevation": 44.2, "view:sun_azimuth": 161.1,
                },
                1e-4, offset, f"S2B_MSIL2A_{{day}}T100051_N{version.replace('.', '')}_R122_T33TWL_{{day}}T145914",
                {"scale": 1e-4, "offset": offset},
            )
            for version, offset in (("05.11", -0.1), ("02.14", 0.0))
        ],
        "SCL_20m", names={f"{key}_{20 if key > 'B10' else 10}m": key for key in B}, stac_version="1.1.0", modern=True,
        width=0.53,
    ),
    "brazil-data-cube": Provider(
        "S2_L2A-1", B,
        [Scene({}, 1e-4, -0.1, "S2B_MSIL2A_{day}T134211_N0509_R124_T22KHV_{day}T180000")] * 2, "SCL",
        band={"min": 0.0, "max": 10000.0, "nodata": 0.0, "scale": 1e-4, "scale_add": None, "data_type": "uint16"},
    ),
    "amazonia": Provider(
        "AMZ1-WFI-L4-SR-1", dict(zip(("BAND1", "BAND2", "BAND3", "BAND4"), ROLES, strict=False)),
        [Scene({}, 1e-4, 0.0, "AMAZONIA_1_WFI_{day}_036_018_L4")] * 2, "CMASK", dtype="int16", nodata=-9999,
        band={"min": 0.0, "max": 10000.0, "nodata": -9999.0, "scale": 1e-4, "scale_add": None, "data_type": "int16"},
    ),
    "landsat-mpc": Provider(
        "landsat-c2-l2", keys("blue", "green", "red", "nir08", "swir16", "swir22"),
        [
            Scene(
                {**LANDSAT, "platform": platform, "instruments": ["oli", "tirs"]}, 2.75e-5, -0.2,
                f"LC0{platform[-1]}_L2SP_193028_{{day}}_02_T1", {"scale": 2.75e-5, "offset": -0.2},
            )
            for platform in ("landsat-8", "landsat-9")
        ],
        "qa_pixel", names={"blue": "OLI_B2", "nir08": "OLI_B5"},
    ),
    "landsat-usgs": Provider(
        "landsat-c2l2-sr", keys("blue", "green", "red", "nir08", "swir16", "swir22"),
        [Scene(USGS, 2.75e-5, -0.2, "LC08_L2SP_193028_{day}_{day}_02_T1_SR")] * 2, "qa_pixel",
        media_type="image/vnd.stac.geotiff; cloud-optimized=true", names={"blue": "B2", "nir08": "B5"},
    ),
    "landsat-level-1": Provider(
        "landsat-c2l1", keys("blue", "green", "red", "nir08", "swir16", "swir22"),
        [
            Scene(
                {**USGS, "landsat:correction": "L1TP", "view:sun_elevation": elevation},
                2e-5 / np.sin(np.radians(elevation)), -0.1 / np.sin(np.radians(elevation)),
                "LC08_L1TP_193028_{day}_{day}_02_T1",
            )
            for elevation in (30.0, 60.0)
        ],
        "qa_pixel", level="TOA",
    ),
    "hls-s30": Provider(
        "HLSS30_2.0", keys("B02", "B03", "B04", "B8A", "B11", "B12"),
        [Scene({"eo:cloud_cover": 12}, 1e-4, 0.0, "HLS.S30.T33TWL.{day}T100031.v2.0")] * 2, "Fmask",
        has_bands=False, dtype="int16", nodata=-9999,
    ),
    "hls-l30": Provider(
        "hls2-l30", keys("B02", "B03", "B04", "B05", "B06", "B07"),
        [Scene({"platform": "landsat-8"}, 1e-4, 0.0, "HLS.L30.T33TWL.{day}T100031.v2.0", {"scale": 1e-4})] * 2, "Fmask",
        dtype="int16", nodata=-9999,
    ),
}  # fmt: skip


@functools.cache
def reflectance(seed: int) -> np.ndarray:
    """Return simulated reflectance ``(band, y, x)`` in the order of `ROLES`, NaN beyond the edge of the swath."""
    cube = simulate.scene(sensor="sentinel-2", bands=list(B), size=(SIDE, SIDE), cover=0.3 + 0.1 * seed, seed=seed)
    values = cube[list(B)].cloudmask.reflectance().to_array().values
    values = np.clip(values, 0.01, 0.9)
    values[:, : SIDE // 8, : SIDE // 8] = np.nan
    return values


def items(
    folder: Path,
    name: str,
    times: Sequence[str] = (),
    scenes: Sequence[Scene] | None = None,
    columns: Sequence[slice] = (),
    root: str | None = None,
) -> list[dict[str, Any]]:
    """Write the files of a provider's scenes, and return their items as JSON has them.

    Parameters
    ----------
    times : sequence of str, optional
        When each was acquired; by default five days apart.
    scenes : sequence of Scene, optional
        Others than the provider's own.
    columns : sequence of slice, optional
        Which part of the simulated scene each has; by default all.
    root : str, optional
        Address of `folder`.
    """
    provider = PROVIDERS[name]
    scenes = provider.scenes if scenes is None else scenes
    times = times or [f"2022-08-{1 + 5 * i:02d}T10:05:{i:02d}.024000Z" for i in range(len(scenes))]
    columns = columns or [slice(0, SIDE)] * len(scenes)
    return [
        _item(folder, root or str(folder), provider, scene, time, part, i)
        for i, (scene, time, part) in enumerate(zip(scenes, times, columns, strict=True))
    ]


def _item(
    folder: Path, root: str, provider: Provider, scene: Scene, time: str, part: slice, index: int
) -> dict[str, Any]:
    day = time[:10].replace("-", "")
    said = {key: value.format(day=day) if isinstance(value, str) else value for key, value in scene.properties.items()}
    identity = scene.id.format(day=day) + ("" if part == slice(0, SIDE) else f"_{part.start}")
    west = WEST + PIXEL * part.start
    transform = Affine(PIXEL, 0, west, 0, -PIXEL, NORTH)
    values = reflectance(index % 4)[:, :, part]
    assets = {}
    for key, common in provider.assets.items():
        file = f"{identity}_{key}.tif"
        _write(folder / file, _numbers(values[ROLES.index(common)], provider, scene), provider, transform)
        assets[key] = _asset(f"{root}/{file}", key, common, provider, scene, transform, values.shape[1:])
    quality = f"{identity}_{provider.quality}.tif"
    _write(folder / quality, np.full(values.shape[1:], 4, provider.dtype), provider, transform)
    assets[provider.quality] = _asset(f"{root}/{quality}", None, None, provider, scene, transform, values.shape[1:])
    bbox = transform_bounds(EPSG, 4326, west, NORTH - PIXEL * SIDE, west + PIXEL * values.shape[2], NORTH)
    ring = [[bbox[i], bbox[j]] for i, j in ((0, 1), (2, 1), (2, 3), (0, 3), (0, 1))]
    code = {"proj:code": f"EPSG:{EPSG}"} if provider.modern else {"proj:epsg": EPSG}
    return {
        "type": "Feature", "stac_version": provider.stac_version, "stac_extensions": EXTENSIONS, "id": identity,
        "collection": provider.collection, "geometry": {"type": "Polygon", "coordinates": [ring]}, "bbox": list(bbox),
        "properties": {"datetime": time, **code, **said}, "assets": assets,
        "links": [],
    }  # fmt: skip


def _numbers(values: np.ndarray, provider: Provider, scene: Scene) -> np.ndarray:
    numbers = np.round((values - scene.offset) / scene.scale)
    return np.where(np.isnan(values), provider.nodata, numbers).astype(provider.dtype)


def _write(path: Path, numbers: np.ndarray, provider: Provider, transform: Affine) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = numbers.shape
    profile = {"driver": "GTiff", "count": 1, "dtype": provider.dtype, "nodata": provider.nodata, "crs": EPSG}
    with rasterio.open(path, "w", height=height, width=width, transform=transform, **profile) as file:
        file.write(numbers, 1)


def _asset(
    href: str,
    key: str | None,
    common: str | None,
    provider: Provider,
    scene: Scene,
    transform: Affine,
    shape: tuple[int, ...],
) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "href": href, "type": provider.media_type, "roles": ["data"], "proj:shape": list(shape),
        "proj:transform": list(transform)[:6],
    }  # fmt: skip
    kind = {"data_type": provider.dtype, "nodata": provider.nodata}
    if key is None or common is None:
        return fields | ({"raster:bands": [kind]} if scene.raster is not None and not provider.modern else {})
    prefix = "eo:" if provider.modern else ""
    centre, width = CENTRES[common], WIDTHS[common] if provider.width is None else provider.width * CENTRES[common]
    spectrum = {"common_name": common, "center_wavelength": centre, "full_width_half_max": width}
    band = {"name": provider.names.get(key, key), **{f"{prefix}{name}": value for name, value in spectrum.items()}}
    if provider.modern:
        factors = {f"raster:{name}": value for name, value in (scene.raster or {}).items()}
        return fields | {"bands": [band], **kind, **factors, "proj:code": f"EPSG:{EPSG}"}
    if provider.has_bands:
        fields["eo:bands"] = [band | dict(provider.band)]
    if scene.raster is not None:
        fields["raster:bands"] = [kind | dict(scene.raster)]
    return fields


def saying(scene: Scene, **changes: Any) -> Scene:
    """Return a scene with other properties, or with other numbers."""
    return replace(scene, **changes)
