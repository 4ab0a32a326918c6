"""Cubes for the toy model, cut into chunks of any size."""

import numpy as np
import xarray as xr
from hypothesis import strategies as st
from scipy import ndimage

ROLES = ["blue", "green", "red", "nir"]
RNG = np.random.default_rng(7)
SCENE = ndimage.gaussian_filter(RNG.random((3, 4, 150, 203)), (0, 0, 3, 3)).astype("float32")
SCENE = (SCENE - SCENE.min()) / np.ptp(SCENE)
SCENE[1, :, 20:90, :60] = np.nan


def cube(values=SCENE, gsd=10.0):
    y, x = values.shape[-2:]
    coords = {"band": ROLES, "y": -gsd * np.arange(y), "x": gsd * np.arange(x)}
    units = {"units": "m"}
    out = xr.DataArray(values, dims=("time", "band", "y", "x"), coords=coords, attrs={"level": "TOA"})
    out.y.attrs, out.x.attrs = units, units
    return out.assign_attrs(reflectance_provenance="made for this test")


def chunked(draw, data):
    chunks = {}
    for dim, size in data.sizes.items():
        cuts = draw(st.lists(st.integers(1, size - 1), max_size=4, unique=True).map(sorted)) if size > 1 else []
        chunks[dim] = tuple(np.diff([0, *cuts, size]).tolist())
    return data.chunk(chunks)


def refuse(*args, **kwargs):
    raise AssertionError("something was computed")
