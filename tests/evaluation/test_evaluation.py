"""Scores of models on labelled scenes: every kind of file, and what cannot be judged."""

import json

import numpy as np
import pytest
import xarray as xr
from paths import LABELLED

from xr_cloudmask import predict, simulate
from xr_cloudmask.cli import main
from xr_cloudmask.errors import CloudMaskError, FileError
from xr_cloudmask.evaluation import PatchLayout, evaluate, most_probable, read
from xr_cloudmask.masks.schemes import SCHEMES, flag_attrs

ROLES = ("blue", "green", "red", "nir")


@pytest.fixture(scope="module")
def scene():
    return simulate.series(bands=["B02", "B03", "B04", "B08"], dates=1, size=(64, 96), seed=3)


@pytest.fixture(scope="module")
def patch(tmp_path_factory, scene):
    """A patch with a layout of its own."""
    path = tmp_path_factory.mktemp("patch") / "patch.npz"
    image = scene.drop_vars("truth").cloudmask.reflectance().to_dataarray("band").isel(time=0)
    np.savez(path, image=image.transpose("y", "x", "band").values, truth=scene["truth"].values[0])
    return path


CODES = {0: "clear", 1: "thick_cloud", 2: "thin_cloud", 3: "cloud_shadow"}
LAYOUT = PatchLayout("image", "truth", ROLES, CODES)


def test_a_patch_and_a_cube_score_alike(tmp_path, patch, scene):
    scene.rename(truth="cloud_mask").to_netcdf(tmp_path / "scene.nc")
    of_patch = evaluate(read(patch, LAYOUT), level="TOA")
    of_cube = evaluate(read(tmp_path / "scene.nc"), resolution="native")
    np.testing.assert_array_equal(of_patch.counts, of_cube.counts)
    assert of_patch.counts.sum() == (scene["truth"] != 255).sum()


def test_only_the_bands_named_are_seen(patch):
    labelled = read(patch, LAYOUT)
    with pytest.raises(CloudMaskError, match="nir"):
        evaluate(labelled, "csmask", bands=["blue", "green", "red"], level="TOA")
    with pytest.raises(FileError, match="violet"):
        evaluate(labelled, bands=["violet"], level="TOA")


def test_the_class_judged_has_the_largest_sum():
    probability = xr.DataArray(
        np.float32([[[0.4]], [[0.3]], [[0.3]], [[0.0]]]),
        dims=("class", "y", "x"),
        coords={"class": ["clear", "thick_cloud", "thin_cloud", "cloud_shadow"]},
    )
    assert most_probable(probability).tolist() == [[1]]
    assert most_probable(probability.where(False)).tolist() == [[255]]


def test_a_patch_that_is_not_as_its_layout_says(patch):
    with pytest.raises(FileError, match="img"):
        read(patch)
    with pytest.raises(FileError, match="swir16"):
        read(patch, PatchLayout("image", "truth"))
    with pytest.raises(CloudMaskError, match="fog"):
        read(patch, PatchLayout("image", "truth", ROLES, {0: "fog"}))


def test_labels_that_hide_shadows_cannot_be_judged(tmp_path, scene):
    mask = xr.zeros_like(scene["truth"]).assign_attrs(flag_attrs(SCHEMES["binary"]))
    scene.drop_vars("truth").assign(cloud_mask=mask).to_netcdf(tmp_path / "binary.nc")
    with pytest.raises(CloudMaskError, match="binary"):
        read(tmp_path / "binary.nc")


def test_the_command_line_prints_a_table_or_json(tmp_path, patch, capsys):
    with np.load(patch) as arrays:
        np.savez(tmp_path / "p.npz", img=arrays["image"], msk=arrays["truth"][..., None])
    codes = ",".join(f"{code}={name}" for code, name in CODES.items())
    options = ["--layout", ",".join(ROLES), "--codes", codes, "--level", "TOA", "--model", "csmask"]
    assert main(["evaluate", str(tmp_path / "p.npz"), *options]) == 0
    printed = capsys.readouterr().out
    assert "kappa" in printed
    assert "cloud_shadow" in printed
    assert main(["evaluate", str(tmp_path / "p.npz"), *options, "--json"]) == 0
    (scores,) = json.loads(capsys.readouterr().out).values()
    expected = evaluate(read(patch, LAYOUT), "csmask", level="TOA")
    assert scores["kappa"] == pytest.approx(expected.kappa)
    assert scores["cloud"]["IoU"] == pytest.approx(expected.table().loc["cloud", "IoU"])


@pytest.mark.skipif(not LABELLED.exists(), reason="../shared/data/sentinel2_l1c_labelled.npz is absent")
def test_csmask_scores_on_the_real_patch_as_before():
    agreement = evaluate(read(LABELLED), "csmask", level="TOA")
    mask = predict(read(LABELLED).cube, "csmask", level="TOA", scheme="native")
    assert agreement.kappa == pytest.approx(0.81, abs=0.01)
    assert agreement.counts.sum(axis=0)[1] == (mask["cloud_mask"] == 1).sum()


def test_the_order_of_a_masks_dimensions_does_not_matter(tmp_path, scene):
    cube = scene.rename(truth="cloud_mask")
    cube.assign(cloud_mask=cube["cloud_mask"].transpose("x", "time", "y")).to_netcdf(tmp_path / "turned.nc")
    cube.to_netcdf(tmp_path / "as_it_is.nc")
    np.testing.assert_array_equal(*(read(tmp_path / f"{name}.nc").truth for name in ("turned", "as_it_is")))
    cube.assign(cloud_mask=cube["cloud_mask"].isel(time=0)).to_netcdf(tmp_path / "timeless.nc")
    with pytest.raises(CloudMaskError, match="a mask of"):
        read(tmp_path / "timeless.nc")


@pytest.mark.parametrize("labels", [np.zeros((64, 64), "uint8"), np.full((64, 96), "cloud")])
def test_labels_that_are_no_codes_of_the_image_are_refused(tmp_path, labels):
    np.savez(tmp_path / "p.npz", image=np.zeros((64, 96, 4), "float32"), truth=labels)
    with pytest.raises(FileError, match="labels of shape"):
        read(tmp_path / "p.npz", LAYOUT)


@pytest.mark.parametrize("kind", ["float32", "int64"])
def test_codes_that_the_layout_does_not_name_are_not_judged(tmp_path, kind):
    labels = np.full((64, 96), 300, kind)
    labels[0] = 3
    np.savez(tmp_path / "p.npz", image=np.zeros((64, 96, 4), "float32"), truth=labels)
    truth = read(tmp_path / "p.npz", LAYOUT).truth
    assert (truth[0] == 2).all()
    assert (truth[1:] == 255).all()


def test_a_damaged_patch_is_refused(tmp_path, patch):
    whole = patch.read_bytes()
    middle = len(whole) // 3
    for number, content in enumerate(
        [whole[:middle], whole[:middle] + bytes(64) + whole[middle + 64 :], b"", b"PK", b"text"]
    ):
        (tmp_path / f"{number}.npz").write_bytes(content)
        with pytest.raises(FileError, match="npz"):
            read(tmp_path / f"{number}.npz", LAYOUT)
    np.save(tmp_path / "one.npy", np.zeros(3))
    (tmp_path / "one.npy").rename(tmp_path / "one.npz")
    with pytest.raises(FileError, match="npz"):
        read(tmp_path / "one.npz", LAYOUT)


def test_json_has_null_where_there_is_nothing_to_count(tmp_path, capsys):
    np.savez(tmp_path / "p.npz", img=np.full((32, 32, 4), 0.1, "float32"), msk=np.full((32, 32), 9))
    options = ["--layout", ",".join(ROLES), "--level", "TOA", "--model", "csmask", "--json"]
    assert main(["evaluate", str(tmp_path / "p.npz"), *options]) == 0
    (scores,) = json.loads(capsys.readouterr().out, parse_constant=pytest.fail).values()
    assert scores["kappa"] is None
    assert scores["cloud"]["IoU"] is None
