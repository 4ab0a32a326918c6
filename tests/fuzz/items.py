"""STAC items and answers of an API that are nearly right."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import products
import rioxarray  # noqa: F401 - registers .rio

from fuzz.base import Try, described
from fuzz.mutations import VALUES, mutate_bytes, mutate_json
from xr_cloudmask import stac
from xr_cloudmask.stac.items import as_items


def an_item(folder: Path) -> dict[str, Any]:
    bands = {"blue": 0.49, "green": 0.56, "red": 0.665, "nir": 0.842}
    assets = {}
    for i, (name, centre) in enumerate(bands.items()):
        path = products.write_raster(folder / f"{name}.tif", products.numbers(16, i)[None], nodata=0)
        assets[name] = {
            "href": str(path),
            "type": "image/tiff; application=geotiff",
            "roles": ["data"],
            "eo:bands": [{"name": name, "common_name": name, "center_wavelength": centre, "full_width_half_max": 0.1}],
            "raster:bands": [
                {"data_type": "uint16", "nodata": 0, "scale": 1e-4, "offset": -0.1, "spatial_resolution": 10}
            ],
            "proj:shape": [16, 16],
            "proj:transform": [10.0, 0.0, products.WEST, 0.0, -10.0, products.NORTH],
        }
    ring = [[10.2, 45.1], [10.3, 45.1], [10.3, 45.2], [10.2, 45.2], [10.2, 45.1]]
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": "S2A_32TQM_20220811_0_L2A",
        "collection": "sentinel-2-l2a",
        "stac_extensions": [],
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": [10.2, 45.1, 10.3, 45.2],
        "properties": {
            "datetime": "2022-08-11T10:15:59Z",
            "platform": "sentinel-2a",
            "instruments": ["msi"],
            "proj:epsg": 32632,
            "view:sun_elevation": 45.0,
            "view:sun_azimuth": 150.0,
            "s2:processing_baseline": "04.00",
            "eo:cloud_cover": 12.0,
            "processing:level": "L2A",
            "gsd": 10,
        },
        "links": [],
        "assets": assets,
    }


def items(folder: Path, use: str) -> Try:
    """Items as JSON that is odd, and as objects whose fields became odd later."""
    from pystac import Item

    whole = an_item(folder)
    cube = stac.load([Item.from_dict(whole)])

    def used(item: Any) -> None:
        if use == "attach":
            described(stac.attach(cube.drop_vars(["platform", "id"]), item))
        elif use == "screen":
            stac.screen([item], model="csmask", resolution=10)
        else:
            described(stac.load([item]))

    def attempt(random: Random) -> None:
        if random.random() < 0.5:
            odd = mutate_json(random, whole)
            used(odd if use == "attach" or random.random() < 0.1 else as_items(odd)[0])
            return
        item = Item.from_dict(whole)
        for place in random.sample([item, *item.assets.values()], random.choice((1, 1, 3))):
            name = random.choice(
                (
                    "properties",
                    "assets",
                    "id",
                    "datetime",
                    "bbox",
                    "geometry",
                    "collection_id",
                    "extra_fields",
                    "href",
                    "roles",
                    "links",
                    "media_type",
                    "stac_extensions",
                )
            )
            if not hasattr(place, name):
                continue
            old = getattr(place, name)
            new = (
                mutate_json(random, old, VALUES)
                if isinstance(old, dict | list) and name != "assets"
                else random.choice(VALUES)
            )
            setattr(place, name, new)
        used(item)

    return attempt


def answers(folder: Path) -> Try:
    """Answers of a STAC API, on a server of this process."""
    from fuzz.server import Server

    server = Server()
    item = an_item(folder)

    def attempt(random: Random) -> None:
        server.root, server.found = server.plain_root(), {"type": "FeatureCollection", "features": [item], "links": []}
        if random.random() < 0.4:
            server.root = mutate_json(random, server.root)
        else:
            server.found = mutate_json(random, server.found)
        server.mutate = partial(mutate_bytes, random) if random.random() < 0.2 else None
        stac.search(server.url, "sentinel-2-l2a", limit=5)

    return attempt
