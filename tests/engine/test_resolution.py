"""How many pixels of a cube make one of a model's, and where its shadows fall in them."""

import math
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from xr_cloudmask import CloudMaskError, predict
from xr_cloudmask.cube.ground import Ground
from xr_cloudmask.cube.sun import Sun, SunPosition
from xr_cloudmask.engine.resolution import COARSEST, FEWEST, Resolution, resolution_for, suns_for
from xr_cloudmask.models.universal import SPEC

UNKNOWN = Ground(None, "no coordinates")


def squares(size, width=None):
    return Ground(((-size, 0.0), (0.0, width or size)), "made up")


@pytest.mark.parametrize(
    ("ground", "factor"),
    [
        (squares(10.0), 3), (squares(20.0), 1), (squares(30.0), 1), (squares(15.0), 2), (squares(8.0), 3),
        (squares(64.0), 1), (squares(1.0), 30), (UNKNOWN, 1),
        # A map is stretched by a few in ten thousand, and pixels of 10 m are still three to 30 m.
        (squares(10.004), 3), (squares(1.0004), 30), (squares(30.01), 1),
        # The longer side must not become coarser than the model's pixels.
        (squares(10.0, 5.0), 3), (squares(33.4, 16.7), 1), (squares(5.0, 10.0), 3),
    ],
)  # fmt: skip
def test_the_coarsest_that_the_model_knows(ground, factor):
    assert resolution_for(ground, (1000, 1200), SPEC) == Resolution(factor)
    assert resolution_for(ground, (1000, 1200), SPEC, "native") == Resolution(1)


@given(st.floats(0.01, 29), st.integers(1, 3000), st.integers(1, 3000))
def test_a_model_keeps_enough_pixels_or_says_so(size, height, width):
    found = resolution_for(squares(size), (height, width), SPEC)
    wanted = resolution_for(squares(size), (10**6, 10**6), SPEC).factor
    assert found.factor == 1 or min(height, width) / found.factor >= FEWEST
    assert (found.note is None) == (found.factor == wanted)
    if found.factor < wanted:  # and no coarser factor would do
        assert min(height, width) / (found.factor + 1) < FEWEST


def test_what_is_said_of_few_pixels():
    note = resolution_for(squares(0.05), (512, 800), SPEC).note
    assert note == (
        "model 'universal' sees pixels of 0.8 m where it was trained at 30 m: "
        "512 x 800 pixels of 0.05 m would leave fewer than 32 of those along a side"
    )


@pytest.mark.parametrize(("size", "told"), [(90.0, False), (90.2, False), (64.0, False), (92.0, True), (500.0, True)])
def test_a_cube_coarser_than_the_model_knows_is_said(size, told):
    found = resolution_for(squares(size), (400, 400), SPEC)
    assert found.factor == 1
    assert (found.note is not None) == told
    assert resolution_for(squares(size), (400, 400), replace(SPEC, gsd=size / COARSEST)).note is None
    for asked in ("native", size):  # the caller's choice
        assert resolution_for(squares(size), (400, 400), SPEC, asked).note is None


@pytest.mark.parametrize(("asked", "factor"), [(30, 3), (30.0, 3), (np.float32(10), 1), (60.5, 6), (640, 64)])
def test_metres_are_the_callers_choice(asked, factor):
    assert resolution_for(squares(10.0), (64, 64), SPEC, asked) == Resolution(factor)
    assert resolution_for(squares(10.0, 7.0), (64, 64), SPEC, asked) == Resolution(factor)


@pytest.mark.parametrize(
    ("ground", "asked", "message"),
    [
        (squares(10.0), 25.0, "whole multiple"),
        (squares(10.0), 5.0, "whole multiple"),
        (squares(10.0), 1000, "one pixel of the model along a side"),
        (squares(10.0), True, "'native'"),
        (squares(10.0), "30", "'native'"),
        (squares(10.0), math.inf, "'native'"),
        (squares(10.0), math.nan, "'native'"),
        (squares(10.0), 0, "'native'"),
        (squares(10.0), [30], "'native'"),
        (squares(10.0), None, "'native'"),
        (UNKNOWN, 30, "pixel size is unknown"),
    ],
)
def test_what_is_refused(ground, asked, message):
    with pytest.raises(CloudMaskError, match=message):
        resolution_for(ground, (64, 64), SPEC, asked)


@pytest.mark.parametrize("size", [0.0123, 0.61, 9.987, 463.3127])
@pytest.mark.parametrize("asked", [1.5, 2.4])
def test_what_the_message_says_to_type_works(size, asked):
    with pytest.raises(CloudMaskError, match="whole multiple") as caught:
        resolution_for(squares(size), (500, 500), SPEC, asked * size)
    metres = float(caught.value.remedy.removeprefix("resolution="))
    assert resolution_for(squares(size), (500, 500), SPEC, metres).factor == round(asked)


def test_shadows_in_model_pixels():
    positions = (SunPosition(90.0, 45.0), None)
    first, second = suns_for(squares(10.0, 5.0), positions, SPEC, 3, (50.0, math.inf))
    assert first.shift == pytest.approx((0, -1 / 15))
    assert first.pixel == second.pixel == (30.0, 15.0)
    assert second == Sun(None, (30.0, 15.0), (50.0, math.inf))
    assert suns_for(UNKNOWN, positions, SPEC, 3, (50.0, 50.0)) == (Sun(None, (30.0, 30.0), (50.0, 50.0)),) * 2


def cube_of(size, gsd):
    rng = np.random.default_rng(0)
    steps = np.arange(size) * gsd
    coords = {"y": ("y", -steps, {"units": "m"}), "x": ("x", steps, {"units": "m"})}
    bands = {name: (("y", "x"), rng.uniform(0.05, 0.4, (size, size))) for name in ("blue", "green", "red", "nir")}
    return xr.Dataset(bands, coords, {"level": "TOA"})


@pytest.mark.parametrize(("size", "gsd", "resolution"), [(64, 10.0, "20 m"), (64, 500.0, "500 m")])
def test_predict_warns_and_the_mask_remembers(size, gsd, resolution):
    with pytest.warns(UserWarning, match="was trained at") as caught:
        mask = predict(cube_of(size, gsd), "csmask")["cloud_mask"]
    assert mask.attrs["resolution_note"] == str(caught[0].message)
    assert mask.attrs["resolution"] == resolution
    silent = predict(cube_of(size, gsd), "csmask", resolution="native")["cloud_mask"]
    assert "resolution_note" not in silent.attrs
