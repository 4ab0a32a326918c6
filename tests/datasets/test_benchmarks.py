"""Public sets in miniature: what their codes become, and that a run goes on where it ended."""

import numpy as np
import pytest
from products import write_raster

from xr_cloudmask.datasets import SETS, scenes
from xr_cloudmask.errors import CloudMaskError, FileError
from xr_cloudmask.evaluation import benchmark, benchmarks

SIDE = 32


def image(count, dtype="uint16", low=6000, high=20000):
    return np.random.default_rng(0).integers(low, high, (count, SIDE, SIDE)).astype(dtype)


def labels(*codes):
    return np.resize(np.array(codes, "uint8"), (1, SIDE, SIDE))


@pytest.fixture
def biome(tmp_path):
    for number in (1, 2):
        folder, name = tmp_path / f"barren/LC8{number}", f"LC8{number}"
        write_raster(folder / f"{name}.TIF", image(11), 30.0)
        write_raster(folder / f"{name}_fixedmask.TIF", labels(0, 64, 128, 192, 255), 30.0)
        (folder / f"{name}_MTL.txt").write_text("GROUP = IMAGE_ATTRIBUTES\n  SUN_ELEVATION = 40.0\nEND_GROUP = X\n")
    return tmp_path


def test_codes_of_l8_biome(biome):
    one, _ = scenes("l8biome", biome)
    words = ["/".join(one.meanings[place][0]) if place < 255 else "" for place in one.truth[0, :5]]
    assert words == ["", "cloud_shadow", "clear/land/water/snow", "thin_cloud", "thick_cloud"]
    assert one.cube["view:sun_elevation"] == 40


def test_a_run_goes_on_where_it_ended(biome, tmp_path):
    seen = []
    asked = {"output": tmp_path / "out", "progress": lambda *said: seen.append(said)}
    first = benchmark("l8biome", biome, ["universal"], limit=1, **asked)
    whole = benchmark("l8biome", biome, ["universal"], workers=2, **asked)
    assert sorted(kept for _, _, kept in seen) == [False, False, True]
    assert whole.scores["universal"].counts.sum() == 2 * first.scores["universal"].counts.sum()
    assert (tmp_path / "out.json").exists()
    assert "published: Cloud-Adapter" in (tmp_path / "out.md").read_text()


def test_what_is_told_otherwise_is_scored_anew(biome, tmp_path):
    seen = []
    asked = {"output": tmp_path / "out", "limit": 1, "progress": lambda *said: seen.append(said[2])}
    for keywords in ({}, {"resolution": 60}, {"scale": 1e-5, "offset": 0.0}, {"threshold": 0.4}, {}):
        benchmark("l8biome", biome, ["universal"], **asked, **keywords)
    assert seen == [False, False, False, False, True]


def test_a_damaged_scene_ends_a_run_before_all_are_read(biome, tmp_path, monkeypatch):
    opened = []
    whole = list(scenes("l8biome", biome))

    def many(*_):
        for number in range(20):
            opened.append(number)
            yield whole[0]

    def broken(*_, **__):
        raise FileError("a damaged file", "a whole one", "another")

    monkeypatch.setattr(benchmarks, "scenes", many)
    monkeypatch.setattr(benchmarks, "predicted", broken)
    with pytest.raises(FileError, match="damaged"):
        benchmark("l8biome", biome, ["universal"], workers=2)
    assert len(opened) <= 3


def test_pictures_and_arrays(tmp_path):
    write_raster(tmp_path / "img_dir/test/a.png", image(3, "uint8", 20, 200), driver="PNG")
    write_raster(tmp_path / "ann_dir/test/a.png", labels(0, 1), driver="PNG")
    (one,) = scenes("whu", tmp_path)
    assert one.truth[0, :2].tolist() == [0, 1]
    (tmp_path / "subscenes").mkdir()
    (tmp_path / "masks").mkdir()
    np.save(tmp_path / "subscenes/b.npy", np.full((SIDE, SIDE, 13), 0.2, "float32"))
    np.save(tmp_path / "masks/b.npy", np.eye(3, dtype=bool)[np.resize([0, 1, 2], (SIDE, SIDE))])
    (one,) = scenes("iris", tmp_path)
    assert one.truth[0, :3].tolist() == [0, 1, 2]
    np.save(tmp_path / "subscenes/b.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(FileError, match=r"b\.npy"):
        list(scenes("iris", tmp_path))


def test_on_cloud_n_38_cloud_and_cloudsen12plus(tmp_path):
    for band in SETS["oncloudn"].bands:
        write_raster(tmp_path / f"a/train_features/c/{band}.tif", image(1))
    write_raster(tmp_path / "a/train_labels/c.tif", labels(0, 1))
    for band in SETS["38cloud"].bands:
        write_raster(tmp_path / f"b/train_{band}/{band}_patch_1.TIF", image(1))
    write_raster(tmp_path / "b/train_gt/gt_patch_1.TIF", labels(0, 255))
    write_raster(tmp_path / "c/x_image_l1c.tif", image(13))
    write_raster(tmp_path / "c/x_label.tif", labels(0, 1, 2, 3, 99))
    for folder, name, codes in (
        ("a", "oncloudn", [0, 1]),
        ("b", "38cloud", [0, 1]),
        ("c", "cloudsen12plus", [0, 1, 2, 3, 255]),
    ):
        (one,) = scenes(name, tmp_path / folder)
        assert one.truth[0, : len(codes)].tolist() == codes


@pytest.mark.parametrize("name", list(SETS))
def test_an_empty_folder_is_one_error(tmp_path, name):
    with pytest.raises(CloudMaskError):
        list(scenes(name, tmp_path))
