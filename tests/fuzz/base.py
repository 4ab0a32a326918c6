"""What readers have in common: how files are changed, and what is asked of a cube."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import products
import rioxarray  # noqa: F401 - registers .rio
import xarray as xr

from fuzz.mutations import mutate_bytes, mutate_json
from xr_cloudmask.errors import FileError

COUNTER = count()
CUBE = xr.Dataset({name: (("y", "x"), np.full((16, 16), 0.2, "float32")) for name in ("blue", "green", "red", "nir")})
Try = Callable[[Random], Any]  # makes an input and reads it


@dataclass(frozen=True)
class Target:
    """A reader.

    Attributes
    ----------
    name : str
    share : int
        Of the inputs: cheap readers get more.
    prepare : callable
        Makes what is mutated in a folder, and returns what makes an input and reads it.
    """

    name: str
    share: int
    prepare: Callable[[Path], Try]


def described(cube: xr.Dataset | xr.DataArray) -> None:
    """Ask a cube everything that its metadata answer, and for one pixel."""
    repr(cube.cloudmask.describe())
    one_pixel(cube)


def one_pixel(cube: xr.Dataset | xr.DataArray) -> None:
    """Read a pixel as masks are written: what its reader raises late is told as one error there."""
    try:
        cube.isel({dim: slice(1) for dim in cube.dims}).load()
    except (OSError, RuntimeError) as error:
        raise FileError("pixels that cannot be read", "intact files", "copy them again") from error


def changing(
    paths: Sequence[Path], read: Callable[[], Any], mutate: Callable[[Random, bytes], bytes] = mutate_bytes
) -> Try:
    """Change one of some files for the time in which it is read."""
    originals = {path: path.read_bytes() for path in paths}

    def attempt(random: Random) -> None:
        path = random.choice(sorted(originals))
        try:
            path.write_bytes(mutate(random, originals[path]))
            read()
        finally:
            path.write_bytes(originals[path])

    return attempt


@contextmanager
def anew(path: Path, content: bytes) -> Iterator[Path]:
    """Write a file of another name: HDF5 knows those that are still open somewhere."""
    place = path.with_name(f"{next(COUNTER)}{path.suffix}")
    place.write_bytes(content)
    try:
        yield place
    finally:
        place.unlink()


def as_json(random: Random, content: bytes) -> bytes:
    """Change JSON as a tree, or as bytes now and then."""
    if random.random() < 0.3:
        return mutate_bytes(random, content)
    return json.dumps(mutate_json(random, json.loads(content))).encode("utf-8", "surrogatepass")


def small_cube() -> xr.Dataset:
    attrs = {"scale_factor": 1e-4, "add_offset": -0.1, "_FillValue": 0, "long_name": "red", "units": "1"}
    names = ("B02", "B03", "B04", "B08")
    bands = {
        name: (("time", "y", "x"), products.numbers(16, i)[None], attrs | {"wavelength": 0.5 + i / 10})
        for i, name in enumerate(names)
    }
    coords = {
        "time": np.array(["2022-08-11T10:15:59"], "datetime64[ns]"),
        "y": 5e6 - 10.0 * np.arange(16),
        "x": 6e5 + 10.0 * np.arange(16),
        "platform": ("time", ["sentinel-2a"]),
        "view:sun_elevation": ("time", [45.0]),
    }
    cube = xr.Dataset(bands, coords, {"processing:level": "L1C", "s2:processing_baseline": "04.00"})
    return cube.rio.write_crs("EPSG:32632")
