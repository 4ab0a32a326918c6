"""CBERS-4A WPM scenes as the Brazil Data Cube has them: simulated 10 bit digital numbers, XML, STAC items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import rasterio
import xarray as xr
from affine import Affine
from products import cbers_xml
from rasterio.warp import transform_bounds

from xr_cloudmask import parse_cbers_metadata, simulate
from xr_cloudmask.cube.described import DescribedCube

if TYPE_CHECKING:
    from pathlib import Path

COLLECTION = "CB4A-WPM-L4-DN-1"
BANDS = {1: ("blue", 0.485, 0.07), 2: ("green", 0.555, 0.07), 3: ("red", 0.66, 0.06), 4: ("nir", 0.83, 0.12)}
COEFFICIENTS = {0: 0.184471, 1: 0.29107, 2: 0.297832, 3: 0.232504, 4: 0.178993}
SATURATED = 1023
# Inside the area and the month of the public 4-4A notebook.
WEST, NORTH, APART = 600_000.0, 7_900_000.0, 10_000.0  # metres, UTM 22 S; the second, third … scene are further east
DAYS = 28


@dataclass(frozen=True)
class Scene:
    """An item as JSON has it, its digital numbers and the true mask, dims ``(y, x)``."""

    item: dict
    numbers: xr.Dataset
    truth: xr.DataArray


def make_wpm(
    folder: Path,
    root: str,
    index: int = 0,
    *,
    size: tuple[int, int] = (96, 96),
    cover: float = 0.35,
    coefficients: dict[int, float] | None = None,
    cloud_cover: float | None = 12.0,
    overviews: bool = False,
) -> Scene:
    """Write scene number `index` below `folder`, which `root` is the address of.

    Files are striped as INPE's are, or cloud-optimised with overviews. `coefficients` of ``{}`` leaves the block out of
    the XML, as in files of 2020.
    """
    day = np.datetime64("2025-01-01") + np.timedelta64(index % DAYS, "D")
    name = f"CBERS_4A_WPM_{str(day).replace('-', '')}_2{index:02d}_128_L4"
    stated = COEFFICIENTS if coefficients is None else dict.fromkeys(COEFFICIENTS)
    xml = cbers_xml(stated, instrument="WPM", day=str(day))
    simulated = simulate.scene(
        sensor="cbers-4a-wpm", bands=[f"BAND{band}" for band in BANDS], size=size, cover=cover, seed=index
    )
    numbers = _numbers(simulated, xml)
    transform = Affine(8, 0, WEST + APART * index, 0, -8, NORTH)
    (folder / name).mkdir(parents=True)
    for band in BANDS:
        file = folder / name / f"{name}_BAND{band}"
        _write(file.with_suffix(".tif"), numbers[f"BAND{band}"].values, transform, overviews)
        file.with_suffix(".xml").write_bytes(xml)
    item = _item(name, f"{root}/{name}/{name}", day, transform, size, cloud_cover)
    return Scene(item, numbers, simulated["truth"])


def _numbers(simulated: xr.Dataset, xml: bytes) -> xr.Dataset:
    """Return the digital numbers whose reflectance at the top of the atmosphere is the simulated one."""
    names = [f"BAND{band}" for band in BANDS]
    reflectance = simulated[names].cloudmask.reflectance().drop_vars("time")
    raw = parse_cbers_metadata(xml).attach(xr.zeros_like(reflectance, dtype="uint16"))
    rules = DescribedCube.of(raw).calibrations
    found = {
        name: (reflectance[name] / rule.scale[0]).round().clip(1, SATURATED).fillna(0).astype("uint16").drop_attrs()
        for name, rule in zip(names, rules, strict=True)
    }
    return xr.Dataset(found)


def _write(path: Path, numbers: np.ndarray, transform: Affine, overviews: bool) -> None:
    rows, columns = numbers.shape
    cloud_optimised = {"driver": "COG", "blocksize": 128, "overview_resampling": "average", "compress": "none"}
    with rasterio.open(
        path, "w", count=1, height=rows, width=columns, dtype="uint16", crs="EPSG:32722", transform=transform, nodata=0,
        **(cloud_optimised if overviews else {"driver": "GTiff"}),
    ) as file:  # fmt: skip
        file.write(numbers, 1)


def _item(
    name: str, href: str, day: np.datetime64, transform: Affine, size: tuple[int, int], cloud_cover: float | None
) -> dict:
    """Return an item: the eo extension, neither projection nor raster."""
    west, north = transform.c, transform.f
    bbox = transform_bounds("EPSG:32722", "EPSG:4326", west, north - 8 * size[0], west + 8 * size[1], north)
    ring = [[bbox[i], bbox[j]] for i, j in ((0, 1), (2, 1), (2, 3), (0, 3), (0, 1))]
    moment = f"{day}T13:26:08.000000Z"
    return {
        "type": "Feature", "stac_version": "1.0.0", "id": name, "collection": COLLECTION,
        "stac_extensions": ["https://stac-extensions.github.io/eo/v1.0.0/schema.json"],
        "geometry": {"type": "Polygon", "coordinates": [ring]}, "bbox": list(bbox), "links": [],
        "properties": {
            "datetime": moment, "start_datetime": moment, "end_datetime": moment, "created": moment, "updated": moment,
            "path": 215, "row": 128, "eo:cloud_cover": cloud_cover,
        },
        "assets": {key: asset for band in BANDS for key, asset in _assets(band, href).items()}
        | {"thumbnail": {"href": f"{href}.png", "type": "image/png", "roles": ["thumbnail"]}},
    }  # fmt: skip


def _assets(band: int, href: str) -> dict[str, dict]:
    common, centre, width = BANDS[band]
    described = {
        "name": f"BAND{band}", "common_name": common, "min": 0.0, "max": 1023.0, "nodata": 0.0, "scale": 1.0,
        "scale_add": None, "data_type": "int16", "center_wavelength": centre, "full_width_half_max": width,
    }  # fmt: skip
    image = {"type": "image/tiff; application=geotiff", "roles": ["data"], "eo:bands": [described]}
    return {
        f"BAND{band}": {"href": f"{href}_BAND{band}.tif", **image},
        f"BAND{band}_xml": {"href": f"{href}_BAND{band}.xml", "type": "application/xml", "roles": ["metadata"]},
    }
