"""Masks corrected by their series: plain Python on every pixel, scenes with known answers, laziness."""

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from xr_cloudmask import BandError, CloudMaskError, Refinement
from xr_cloudmask.masks.schemes import SCHEMES, flag_attrs

SHAPE = (3, 4)
CLEAR, THICK, THIN, SHADOW, NO_DATA = 0, 1, 2, 3, 255
BANDS = {
    "four": ("blue", "green", "red", "nir"),
    "six": ("blue", "red", "nir", "swir16", "swir22"),
    "visible": ("green", "red"),
    "two": ("red", "nir08"),
}
# (clear, clouds, cloud that is written, shadow that is written)
WRITTEN = {"cloudsen12": (0, (1, 2), 1, 3), "binary": (0, (1,), 1, None), "validity": (0, (1,), 1, 1)}


def times_of(rng, dates):
    return rng.permutation(
        np.datetime64("2024-01-03", "ns") + np.cumsum(rng.integers(1, 40, dates)) * 86_400_000_000_000
    )


def series(seed, dates, bands, scheme="cloudsen12"):
    """Return reflectance on a coarse scale, so that spikes, and dates that look alike, are common; and a mask."""
    rng = np.random.default_rng(seed)
    ground = rng.choice([0.05, 0.3, 0.5], (len(bands), 1, *SHAPE))
    steps = rng.choice([-0.2, -0.05, 0, 0, 0, 0, 0.03, 0.06, 0.2], (1, dates, *SHAPE))
    values = ground + steps + rng.uniform(-0.01, 0.01, (len(bands), dates, *SHAPE))
    values[rng.random(values.shape) < 0.03] = np.nan
    coords = {"time": times_of(rng, dates), "y": np.arange(SHAPE[0]) * -10.0, "x": np.arange(SHAPE[1]) * 10.0}
    dims = ("time", "y", "x")
    cube = xr.Dataset(
        {band: (dims, layer.astype("float32"), {"units": "1"}) for band, layer in zip(bands, values, strict=True)},
        coords,
    )
    codes = [entry.code for entry in SCHEMES[scheme].classes]
    share = rng.choice([0.2, 0.7, 1.0], SHAPE)
    cloudy = rng.random((dates, *SHAPE)) < share
    labels = np.where(cloudy, rng.choice([1, codes[-1], 1], cloudy.shape), rng.choice([0, 0, 0, 0, 255], cloudy.shape))
    mask = xr.DataArray(labels.astype("uint8"), coords, dims, "cloud_mask", flag_attrs(SCHEMES[scheme]))
    return cube, mask


# What the rule is, pixel by pixel.


def reference(cube, mask, bands, scheme, limits):
    when = np.argsort(cube.time.values, kind="stable")
    days = (cube.time.values[when] - cube.time.values.min()) / np.timedelta64(1, "D")
    first = bands[0]  # blue where there is one
    used = [first, *[band for band in ("red", "nir", "nir08", "swir16") if band in bands and band != first]]
    values = np.stack([cube[band].values[when] for band in used])
    out = mask.values[when].copy()
    for y, x in np.ndindex(*SHAPE):
        seen = {band: values[i, :, y, x] for i, band in enumerate(used)}
        valid = np.isfinite(values[:, :, y, x]).all(axis=0) & (out[:, y, x] != NO_DATA)
        if valid.sum() >= limits.dates:
            out[:, y, x] = corrected(out[:, y, x].copy(), seen, valid, days, first, scheme, limits)
    return out[np.argsort(when)]


def corrected(labels, seen, valid, days, first, scheme, limits):
    clear, clouds, cloud, shadow = WRITTEN[scheme]
    bare = valid & (labels == clear)
    ground = lower_quantile(seen, bare, 50) if bare.sum() >= 3 else lower_quantile(seen, valid, 25)
    covered = valid & np.isin(labels, clouds)
    if covered.sum() >= limits.persistent * valid.sum():
        like = covered & np.all([abs(seen[band] - ground[band]) <= limits.difference for band in seen], axis=0)
        if like.sum() >= max(3, limits.alike * covered.sum()):
            labels[like] = clear
    now = valid & (labels == clear)
    if bare.sum() < 3 and now.any():
        ground = lower_quantile(seen, now, 50)
    infrared = [band for band in ("nir", "nir08", "swir16") if band in seen and band != first]
    despike(labels, valid, clear, cloud, lambda *at: bright(seen, days, ground, first, limits.difference, *at))
    if shadow is not None and infrared:
        despike(labels, valid, clear, shadow, lambda *at: dark(seen, ground, infrared, limits.difference, *at))
    return labels


def lower_quantile(seen, dates, percent):
    return {band: np.percentile(layer[dates], percent, method="lower") for band, layer in seen.items()}


def despike(labels, valid, clear, code, excess):
    while True:
        at = list(np.flatnonzero(valid & (labels == clear)))
        found = {date: excess(at, place) for place, date in enumerate(at)} if len(at) > 1 else {}
        worst = max(found, key=found.get, default=None)
        if worst is None or found[worst] <= 0:
            return
        labels[worst] = code


def bright(seen, days, ground, first, difference, at, place):
    date = at[place]
    if "swir16" in seen and seen["swir16"][date] < ground["swir16"] - difference:
        return 0
    near = [at[i] for i in (place - 1, place + 1) if 0 <= i < len(at)]
    limit = difference
    if len(near) == 1:
        rise = {band: layer[date] - layer[near[0]] for band, layer in seen.items()}
        if first != "red" and "red" in seen and rise["red"] > 1.5 * rise[first]:
            return 0
        limit *= 1 + abs(days[date] - days[near[0]]) / 30
    above = seen[first][date] - ground[first] - difference
    return min(above, seen[first][date] - max(seen[first][near]) - limit)


def dark(seen, ground, infrared, difference, at, place):
    if place in (0, len(at) - 1):
        return 0
    near = [at[place - 1], at[place + 1]]
    return min(min(*seen[b][near], ground[b]) - seen[b][at[place]] - difference for b in infrared)


FORMS = {
    "dataset": lambda cube: cube,
    "array": lambda cube: cube.to_dataarray("band").assign_attrs(units="1").transpose("time", "y", "band", "x"),
}


@settings(max_examples=25)
@given(
    seed=st.integers(0, 10_000),
    dates=st.integers(3, 12),
    bands=st.sampled_from(sorted(BANDS)),
    scheme=st.sampled_from(sorted(WRITTEN)),
    form=st.sampled_from(sorted(FORMS)),
    limits=st.sampled_from([Refinement(dates=3), Refinement(0.05, 0.5, 0.5, 3), Refinement(0.035, 1.0, 0.2, 3)]),
    chunks=st.none() | st.fixed_dictionaries({dim: st.integers(1, 4) for dim in ("time", "y", "x")}),
)
def test_it_is_its_definition_for_every_chunking(seed, dates, bands, scheme, form, limits, chunks):
    cube, mask = series(seed, dates, BANDS[bands], scheme)
    data, given_mask = FORMS[form](cube), mask
    if chunks:
        data, given_mask = data.chunk(chunks), mask.chunk(time=chunks["x"], y=chunks["time"])
    out = data.cloudmask.refine(given_mask, limits)
    assert (out["cloud_mask"].chunks is not None) == bool(chunks)
    np.testing.assert_array_equal(out["cloud_mask"], reference(cube, mask, BANDS[bands], scheme, limits))
    np.testing.assert_array_equal(out["cloud_mask"] == NO_DATA, mask == NO_DATA)


# Scenes with known answers: one pixel each, in the order of the dates.


def pixels(blue, codes, nir=None, red=None, swir16=None, scheme="cloudsen12"):
    """Return a cube of one pixel, every ten days, and its mask; infrared bands are constant unless given."""
    blue = np.asarray(blue, "float32")
    layers = {"blue": blue, "red": blue if red is None else red, "nir": np.full(blue.size, 0.3) if nir is None else nir}
    layers |= {} if swir16 is None else {"swir16": swir16}
    coords = {"time": np.datetime64("2024-01-01", "ns") + np.arange(blue.size) * np.timedelta64(10, "D")}
    shaped = {name: (("time", "y", "x"), np.reshape(np.float32(v), (-1, 1, 1))) for name, v in layers.items()}
    cube = xr.Dataset(shaped, coords, {"level": "TOA"})
    mask = xr.DataArray(np.uint8(codes).reshape(-1, 1, 1), coords, ("time", "y", "x"), "cloud_mask")
    return cube, mask.assign_attrs(flag_attrs(SCHEMES[scheme]))


def refined(*args, **layers):
    cube, mask = pixels(*args, **layers)
    return cube.cloudmask.refine(mask)["cloud_mask"].values.ravel().tolist()


@pytest.mark.parametrize("ground", [0.45, 0.25], ids=["roof", "sand"])
@pytest.mark.parametrize("code", [THICK, THIN])
def test_what_is_always_called_cloud_and_never_changes_is_freed(ground, code):
    blue = np.add(ground, [0.0, 0.01, -0.01, 0.0, 0.02, 0.25, 0.3, 0.0, 0.01])
    nir = blue + 0.05
    expected = [CLEAR] * 5 + [code] * 2 + [CLEAR] * 2  # two dates have clouds over it
    assert refined(blue, [code] * 9, nir) == expected


def test_clouds_that_stay_over_dark_ground_are_not_freed():
    blue = [0.05, 0.32, 0.45, 0.6, 0.28, 0.52, 0.38, 0.71, 0.23]
    codes = [CLEAR] + [THICK] * 8
    assert refined(blue, codes, nir=np.add(blue, 0.1)) == codes
    assert refined(blue[1:], codes[1:], nir=np.add(blue[1:], 0.1)) == codes[1:]


def test_a_cloud_that_the_mask_missed_on_one_date_is_caught():
    thin, thick = 0.06, 0.5
    blue = np.full(9, 0.05)
    blue[[2, 6]] += thin, thick
    assert refined(blue, [CLEAR] * 9) == [CLEAR, CLEAR, THICK, CLEAR, CLEAR, CLEAR, THICK, CLEAR, CLEAR]
    blue[[2, 3, 6]] = 0.35, 0.6, 0.05  # one beside the other: the thicker one first
    assert refined(blue, [CLEAR] * 9) == [CLEAR, CLEAR, THICK, THICK] + [CLEAR] * 5
    assert refined(blue, [CLEAR] * 9, scheme="validity") == [0, 0, 1, 1, 0, 0, 0, 0, 0]


def test_the_first_and_the_last_date_are_judged_by_one_neighbour():
    blue = [0.3, *[0.05] * 7, 0.12]
    assert refined(blue, [CLEAR] * 9) == [THICK] + [CLEAR] * 7 + [THICK]
    blue[-1] = 0.10  # less than 0.04 and a third of it for ten days
    assert refined(blue, [CLEAR] * 9)[-1] == CLEAR
    soil = [*[0.05] * 8, 0.14]
    assert refined(soil, [CLEAR] * 9, red=[*[0.04] * 8, 0.18])[-1] == CLEAR  # redder, by 1.56 times: a harvest
    assert refined(soil, [CLEAR] * 9, red=[*[0.04] * 8, 0.17])[-1] == THICK  # 1.44 times


def test_one_of_two_clear_dates_is_a_cloud():
    blue = [0.5, 0.05, 0.6, 0.45, 0.3, 0.7, 0.55]
    codes = [THICK, CLEAR, THICK, THICK, CLEAR, THICK, THICK]
    assert refined(blue, codes, nir=np.add(blue, 0.1)) == [THICK, CLEAR] + [THICK] * 5


def test_seasons_and_harvests_are_not_outliers():
    season = 0.1 + 0.06 * np.sin(np.linspace(0, 2 * np.pi, 24))
    assert set(refined(season, [CLEAR] * 24, nir=0.3 - 2 * (season - 0.1))) == {CLEAR}
    harvest = [0.04] * 8 + [0.13] * 8
    assert set(refined(harvest, [CLEAR] * 16, nir=[0.45] * 8 + [0.25] * 8)) == {CLEAR}
    snow = [0.05] * 5 + [0.6] * 4 + [0.05] * 5
    assert set(refined(snow, [CLEAR] * 14)) == {CLEAR}


def test_snow_of_one_date_is_told_by_the_shortwave_infrared():
    blue, swir16 = [0.05] * 9, np.full(9, 0.2)
    blue[4], swir16[4] = 0.6, 0.05
    assert refined(blue, [CLEAR] * 9, swir16=swir16) == [CLEAR] * 9
    assert refined(blue, [CLEAR] * 9)[4] == THICK


def test_a_shadow_that_the_mask_missed_on_one_date_is_caught():
    nir, swir16 = np.full(9, 0.3), np.full(9, 0.2)
    nir[3] = swir16[5] = 0.1  # in one band only: no shadow
    nir[7] = swir16[7] = 0.1
    assert refined([0.05] * 9, [CLEAR] * 9, nir=nir, swir16=swir16) == [CLEAR] * 7 + [SHADOW, CLEAR]
    assert refined([0.05] * 9, [CLEAR] * 9, nir=nir, swir16=swir16, scheme="binary") == [CLEAR] * 9
    nir[0] = swir16[0] = 0.1  # the first date: nobody knows
    assert refined([0.05] * 9, [CLEAR] * 9, nir=nir, swir16=swir16)[0] == CLEAR


def test_digital_numbers_and_reflectance_give_one_mask():
    cube, mask = series(5, 9, BANDS["six"])
    numbers = (cube.fillna(-0.1) * 1e4 + 1000).round().astype("uint16")
    for band in numbers.data_vars:
        numbers[band].attrs = {"scale_factor": 1e-4, "add_offset": -0.1, "_FillValue": 0}
    numbers = numbers.assign_attrs(level="TOA")
    expected = numbers.cloudmask.reflectance().cloudmask.refine(mask)
    assert (expected["cloud_mask"] != mask).any()
    xr.testing.assert_equal(numbers.cloudmask.refine(mask), expected)


def test_a_refined_mask_is_like_a_prediction():
    cube, mask = series(7, 9, BANDS["six"])
    cube = cube.assign(dem=(("y", "x"), np.ones(SHAPE))).assign_coords(spatial_ref=0)
    mask = mask.assign_attrs(model="kept").assign_coords(mask.cloudmask.coverage().data_vars)

    def refuse(*_, **__):
        raise AssertionError("computed")

    with dask.config.set(scheduler=refuse):
        out = cube.chunk(time=2, x=3).cloudmask.refine(mask.chunk(time=1))
    assert out["cloud_mask"].dtype == out["cloud_mask"].data._meta.dtype == np.uint8
    assert out["cloud_mask"].dims == ("time", "y", "x")
    assert out["cloud_mask"].attrs == mask.attrs | {"refined": f"{Refinement()} by blue red nir swir16"}
    assert list(out.data_vars) == ["cloud_mask"]
    assert "spatial_ref" in out.coords
    computed = out.compute()
    xr.testing.assert_identical(computed, cube.cloudmask.refine(mask))
    xr.testing.assert_equal(
        computed.reset_coords()[["cloud_fraction"]], computed["cloud_mask"].cloudmask.coverage()[["cloud_fraction"]]
    )
    assert (computed["cloud_fraction"] != mask["cloud_fraction"]).any()
    # A mask in the cube is found, and the result goes where a mask goes.
    xr.testing.assert_equal(cube.assign(cloud_mask=mask).cloudmask.refine(), computed)
    assert cube.cloudmask.composite(mask=out)["clear_count"].max() > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda cube, mask: (cube.isel(time=slice(5)), mask.isel(time=slice(5))), "at least 6"),
        (lambda cube, mask: (cube.isel(time=0), mask.isel(time=0)), "expand_dims"),
        (lambda cube, mask: (cube.drop_vars("time"), mask.drop_vars("time")), "without dates"),
        (lambda cube, mask: (cube[["nir"]], mask), "a visible one"),
        (lambda cube, mask: (cube, mask.cloudmask.to_scheme("4-4A")), "none of whose classes is clear"),
        (lambda cube, mask: (cube, mask.assign_attrs(flag_attrs(SCHEMES["sensei"]))), "to_scheme"),
    ],
)
def test_what_is_refused(change, message):
    cube, mask = change(*pixels([0.05] * 9, [CLEAR] * 9))
    with pytest.raises(CloudMaskError, match=message) as caught:
        cube.cloudmask.refine(mask)
    assert isinstance(caught.value, BandError) == (message == "a visible one")


@pytest.mark.parametrize("wrong", [{"difference": 0}, {"persistent": 0}, {"alike": 1.1}, {"dates": 2}])
def test_limits_that_make_no_sense_are_refused(wrong):
    with pytest.raises(CloudMaskError, match="above 0"):
        Refinement(**wrong)
