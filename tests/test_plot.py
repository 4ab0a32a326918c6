"""Sheets of images and masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from xr_cloudmask import plot, simulate
from xr_cloudmask.errors import BandError, CloudMaskError
from xr_cloudmask.masks import schemes


@pytest.fixture(scope="module")
def cube() -> xr.Dataset:
    return simulate.series(bands=["blue", "green", "red", "nir"], dates=3, size=(96, 120), gsd=30)


@pytest.fixture(scope="module")
def mask(cube: xr.Dataset) -> xr.DataArray:
    return cube.truth.rename("cloud_mask")


def pixels(path: Path) -> np.ndarray:
    from matplotlib.image import imread

    return np.round(imread(path)[..., :3] * 255).astype(int)


def has_color(image: np.ndarray, color: str) -> bool:
    return bool((image == list(bytes.fromhex(color[1:]))).all(axis=-1).sum() > 20)


def test_sheet_is_written_with_the_colours_of_all_classes(cube: xr.Dataset, mask: xr.DataArray, tmp_path: Path) -> None:
    figure = plot.overview(cube, mask, cube.truth, path=tmp_path / "sheet.png")
    image = pixels(tmp_path / "sheet.png")
    width, height = figure.get_size_inches() * plot.DPI
    assert image.shape[:2] == (int(height), int(width))
    for entry in schemes.SCHEMES["cloudsen12"].classes:
        assert has_color(image, entry.color)
    assert [axes.get_ylabel() for axes in figure.axes[::3]] == ["true colour", "mask", "truth"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "clear", "thick cloud", "thin cloud", "cloud shadow", "no data",
    ]  # fmt: skip


def test_titles_have_date_and_cloud_fraction(cube: xr.Dataset, mask: xr.DataArray) -> None:
    titles = [axes.get_title() for axes in plot.overview(cube, mask).axes[:3]]
    valid = mask != 255
    shares = (mask.isin([1, 2]).sum(("y", "x")) / valid.sum(("y", "x"))).values
    assert titles == [
        f"{day}\n{share:.0%} cloud" for day, share in zip(cube.time.dt.strftime("%Y-%m-%d").values, shares, strict=True)
    ]


def clouds(figure: Figure) -> list[str]:
    return [axes.get_title().splitlines()[-1] for axes in figure.axes]


def test_titles_count_the_mask_that_is_given_and_all_of_it(mask: xr.DataArray) -> None:
    stale = mask.assign_coords(cloud_fraction=("time", [0.111, 0.222, np.nan]))
    cut = stale.isel(x=slice(0, 50))
    shares = (cut.isin([1, 2]).sum(("y", "x")) / (cut != 255).sum(("y", "x"))).values
    for max_pixels in (400, 10):
        assert clouds(plot.overview(None, cut, max_pixels=max_pixels)) == [f"{share:.0%} cloud" for share in shares]


def test_titles_of_a_thinned_lazy_mask_say_that_they_count_what_is_drawn(mask: xr.DataArray) -> None:
    lazy = mask.chunk({"time": 1}).assign_coords(cloud_fraction=("time", [0.111, 0.222, 0.333]))
    thinned = mask[:, ::12, ::12]
    shares = (thinned.isin([1, 2]).sum(("y", "x")) / (thinned != 255).sum(("y", "x"))).values
    assert clouds(plot.overview(None, lazy, max_pixels=10)) == [f"≈ {share:.0%} cloud" for share in shares]
    assert clouds(plot.overview(None, lazy)) == clouds(plot.overview(None, mask))


def test_a_mask_in_the_place_of_the_cube_is_drawn_alone(mask: xr.DataArray) -> None:
    predicted = mask.rename("cloud_mask").to_dataset()
    predicted["probability"] = mask.astype("float32").expand_dims({"class": ["clear"]}, axis=1)
    named = mask.copy()
    named.attrs = {"scheme": "cloudsen12"}
    for alone in (predicted, predicted[["cloud_mask"]], mask, named):
        figure = plot.overview(alone)
        assert [axes.get_ylabel() for axes in figure.axes] == ["mask", "", ""]
        np.testing.assert_array_equal(
            figure.axes[0].images[0].get_array(), plot.overview(None, mask).axes[0].images[0].get_array()
        )


def test_dates_of_other_calendars_and_numbers_are_titles(mask: xr.DataArray) -> None:
    other = mask.assign_coords(time=xr.date_range("2024-02-29", periods=3, calendar="360_day", use_cftime=True))
    days = [axes.get_title().splitlines()[0] for axes in plot.overview(None, other).axes]
    assert days == ["2024-02-29", "2024-02-30", "2024-03-01"]
    numbered = plot.overview(None, mask.assign_coords(time=[1, 2, 3]))
    assert [axes.get_title().splitlines()[0] for axes in numbered.axes] == ["1", "2", "3"]


def test_no_element_leaves_the_sheet(cube: xr.Dataset, mask: xr.DataArray) -> None:
    for figure in (plot.overview(cube, mask), plot.overview(cube.isel(time=0), mask.isel(time=0))):
        figure.canvas.draw()
        box = figure.bbox
        for artist in (*figure.axes, *figure.legends):
            extent = artist.get_tightbbox()
            assert extent.x0 >= box.x0
            assert extent.x1 <= box.x1
            assert extent.y0 >= box.y0
            assert extent.y1 <= box.y1


def test_image_shows_clouds_bright_and_shadows_dark(cube: xr.Dataset, mask: xr.DataArray) -> None:
    figure = plot.overview(cube, mask)
    pictures = np.stack([np.asarray(axes.images[0].get_array()) for axes in figure.axes[:3]])
    medians = {code: np.median(pictures[mask.values == code]) for code in (0, 1, 3)}
    assert medians[1] > 200 > medians[0] > medians[3]
    assert (pictures[mask.values == 255] == 0).all()


@pytest.mark.parametrize(
    ("names", "label"),
    [(["B04", "B03", "B02"], "true colour"), (["B08", "B04", "B03"], "near infrared")],
)
def test_the_best_composite_of_the_bands_is_drawn(
    cube: xr.Dataset, mask: xr.DataArray, names: list[str], label: str
) -> None:
    assert plot.overview(cube[names], mask).axes[0].get_ylabel() == label


def test_bands_along_a_dimension_draw_the_same_picture(cube: xr.Dataset, mask: xr.DataArray) -> None:
    names = ["B02", "B03", "B04"]
    array = cube[names].to_dataarray("band").assign_attrs(cube.attrs | {"scale_factor": 1e-4, "add_offset": -0.1})
    pictures = [plot.overview(each, mask).axes[0].images[0].get_array() for each in (cube[names], array)]
    np.testing.assert_array_equal(*pictures)


def test_a_cube_with_its_own_mask_needs_no_other(cube: xr.Dataset, mask: xr.DataArray) -> None:
    assert len(plot.overview(cube.assign(cloud_mask=mask)).axes) == 6


def test_a_mask_alone_and_without_time(mask: xr.DataArray) -> None:
    bare = mask.isel(time=1).drop_vars("time")
    figure = plot.overview(None, bare)
    assert len(figure.axes) == 1
    assert figure.axes[0].get_title().endswith("% cloud")


def test_north_is_up_and_west_is_left(mask: xr.DataArray) -> None:
    straight = plot.overview(None, mask).axes[1].images[0].get_array()
    turned = (
        plot.overview(None, mask.isel(y=slice(None, None, -1), x=slice(None, None, -1))).axes[1].images[0].get_array()
    )
    np.testing.assert_array_equal(straight, turned)


def test_large_lazy_scenes_are_thinned_before_they_are_computed(cube: xr.Dataset, mask: xr.DataArray) -> None:
    lazy = {"cube": cube.chunk({"time": 1}), "mask": mask.chunk({"time": 1})}
    figure = plot.overview(lazy["cube"], lazy["mask"], max_dates=2, max_pixels=60)
    assert len(figure.axes) == 4
    assert figure.axes[0].images[0].get_array().shape == (48, 60, 3)
    assert [axes.get_title()[:10] for axes in figure.axes[:2]] == ["2024-06-01", "2024-06-21"]


def test_dates_without_data_are_black(cube: xr.Dataset, mask: xr.DataArray) -> None:
    empty = cube.map(xr.zeros_like, keep_attrs=True)
    nothing = xr.full_like(mask, 255)
    figure = plot.overview(empty, nothing)
    assert all((axes.images[0].get_array() == 0).all() for axes in figure.axes)
    assert figure.axes[0].get_title().endswith("no data")


def test_notebooks_can_show_it(mask: xr.DataArray) -> None:
    assert plot.overview(None, mask)._repr_png_().startswith(b"\x89PNG")


def test_pyplot_stays_out_of_it(mask: xr.DataArray) -> None:
    import matplotlib.pyplot as plt

    before = plt.get_fignums()
    plot.overview(None, mask)
    assert plt.get_fignums() == before


def test_bad_input_says_what_to_type(cube: xr.Dataset, mask: xr.DataArray) -> None:
    with pytest.raises(CloudMaskError, match="neither a cube nor a mask"):
        plot.overview(None)
    with pytest.raises(CloudMaskError, match="same dates and pixels"):
        plot.overview(cube, mask.isel(time=[0]))
    with pytest.raises(BandError, match="red"):
        plot.overview(cube[["B04"]], mask)
    with pytest.raises(CloudMaskError, match="without flag attributes"):
        plot.overview(cube, mask, truth=xr.DataArray(mask.values, dims=mask.dims))
