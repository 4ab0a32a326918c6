"""Masks that are nearly right, in memory and in files."""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import rioxarray  # noqa: F401 - registers .rio
import xarray as xr

import xr_cloudmask
from fuzz.base import Try, anew, as_json, changing, one_pixel
from fuzz.mutations import VALUES, mutate_binary, mutate_bytes, mutate_json
from xr_cloudmask import export

FLAGS = {
    "flag_values": np.uint8([0, 1, 2, 3, 255]),
    "flag_meanings": "clear thick_cloud thin_cloud cloud_shadow no_data",
}


def a_mask() -> xr.Dataset:
    cube = xr_cloudmask.simulate.series(dates=2, size=(16, 16)).drop_vars("truth")
    return cube.cloudmask.predict("physical", resolution="native").compute()


def mask_attributes(folder: Path) -> Try:
    mask = a_mask()

    def attempt(random: Random) -> None:
        odd = mask.copy()
        attrs = {
            key: getattr(value, "tolist", lambda value=value: value)()
            for key, value in mask["cloud_mask"].attrs.items()
        }
        changed = mutate_json(random, attrs, VALUES)
        odd["cloud_mask"].attrs = changed if isinstance(changed, dict) else {}
        used = random.choice(
            (
                odd.cloudmask.coverage,
                lambda: odd.cloudmask.to_scheme("binary"),
                lambda: odd.cloudmask.dilate(1),
                odd.cloudmask.clear,
                lambda: repr(odd.cloudmask),
            )
        )
        used()

    return attempt


def mask_file(folder: Path, suffix: str) -> Try:
    path = folder / f"mask{suffix}"
    export.to_file(a_mask().isel(time=0), path)
    if suffix == ".zarr":
        return changing(sorted(path.rglob("zarr.json")), lambda: one_pixel(export.open_mask(path)), as_json)
    original = path.read_bytes()

    def attempt(random: Random) -> None:
        with anew(path, mutate_binary(random, original)) as odd:
            one_pixel(export.open_mask(odd))

    return attempt


def mask_tags(folder: Path) -> Try:
    import rasterio

    path = folder / "mask.tif"
    export.to_file(a_mask().isel(time=0), path)
    original = path.read_bytes()

    def attempt(random: Random) -> None:
        path.write_bytes(original)
        with rasterio.open(path, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as file:
            tags = file.tags()
            name = random.choice(sorted(tags))
            odd = mutate_bytes(random, tags[name].encode(), 1)[:20_000].decode("latin-1").replace("\0", "")
            file.update_tags(**{name: odd})
        one_pixel(export.open_mask(path))

    return attempt
