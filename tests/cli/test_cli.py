"""The command line: what it writes and prints, its exit codes, and that input errors come without a traceback."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys

import numpy as np
import pytest
import rasterio
import rioxarray  # noqa: F401 - registers .rio
from products import make_landsat, make_safe

import xr_cloudmask
from xr_cloudmask import demo, export, predict, simulate
from xr_cloudmask.cli import main
from xr_cloudmask.cli.spelling import in_shell
from xr_cloudmask.errors import ModelError

BANDS = ["B02", "B03", "B04", "B08"]
# Keywords that options of a command stand for.
TAKEN = (
    *("bands", "sensor", "level", "scale", "offset", "nodata", "model", "scheme", "resolution", "window", "halo"),
    *("weights", "device", "probabilities", "bbox", "max_cloud"),
)
OPTIONS = ["--sensor", "sentinel-2", "--level", "TOA", "--resolution", "native"]


@pytest.fixture(scope="module")
def scenes():
    return simulate.series(bands=BANDS, dates=2, size=(96, 128), seed=3).drop_vars("truth")


@pytest.fixture(scope="module")
def expected(scenes):
    return predict(scenes, sensor="sentinel-2", level="TOA", resolution="native")["cloud_mask"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, scenes):
    """Inputs of every kind of the same scenes."""
    path = tmp_path_factory.mktemp("inputs")
    scenes.to_netcdf(path / "series.nc")
    scene = scenes.isel(time=0, drop=True)
    scene.rio.to_raster(path / "scene.tif", tiled=True, blockxsize=64, blockysize=64)
    for name, band in scene.items():
        band.rio.to_raster(path / f"T23KPR_20240601_{name}.tif")
    return path


def run(*arguments):
    return main([str(argument) for argument in arguments])


@pytest.mark.parametrize("suffix", [".tif", ".nc", ".zarr"])
def test_predict_a_multi_band_raster(folder, tmp_path, capsys, expected, suffix):
    out = tmp_path / f"mask{suffix}"
    assert run("predict", folder / "scene.tif", "-o", out, *OPTIONS) == 0
    printed = capsys.readouterr()
    np.testing.assert_array_equal(export.open_mask(out)["cloud_mask"], expected[0])
    assert str(out) in printed.out
    assert f"{float(expected[0]['cloud_fraction']):.3f}" in printed.out
    assert printed.err == ""


def test_predict_a_file_per_band(folder, tmp_path, expected):
    out = tmp_path / "mask.nc"
    assert run("predict", *sorted(folder.glob("T23KPR*.tif")), "-o", out, *OPTIONS) == 0
    np.testing.assert_array_equal(export.open_mask(out)["cloud_mask"], expected[0])


def test_predict_writes_every_date(folder, tmp_path, capsys, expected):
    assert run("predict", folder / "series.nc", "-o", tmp_path / "mask.tif", *OPTIONS) == 0
    printed = capsys.readouterr().out
    for i, day in enumerate(expected["time"].dt.strftime("%Y-%m-%d").values):
        path = tmp_path / f"mask_{day.replace('-', '')}.tif"
        assert f"{day}T" in printed
        assert str(path) in printed
        np.testing.assert_array_equal(export.open_mask(path)["cloud_mask"], expected[i])


def test_predict_options_reach_the_prediction(folder, tmp_path, capsys):
    out = tmp_path / "mask.zarr"
    arguments = ("--scheme", "binary", "--probabilities", "--window", 64, "--halo", 8, "--quiet", "--model", "csmask")
    assert run("predict", folder / "series.nc", "-o", out, *OPTIONS, *arguments) == 0
    assert capsys.readouterr() == ("", "")
    mask = export.open_mask(out)
    assert mask["cloud_mask"].attrs["scheme"] == "binary"
    assert mask["cloud_mask"].attrs["window"] == "64 x 64"
    assert mask["probability"].dtype == "float32"


def test_predict_with_a_scale_of_the_users(folder, tmp_path, scenes, expected):
    path, out = tmp_path / "bare.tif", tmp_path / "mask.nc"
    with rasterio.open(folder / "scene.tif") as source, rasterio.open(path, "w", **source.profile) as file:
        file.write(source.read())
    names = ("--bands", "blue,green,red,nir", "--level", "TOA", "--resolution", "native", "--nodata", 0)
    assert run("predict", path, "-o", out, *names, "--scale", 1e-4, "--offset", -0.1) == 0
    np.testing.assert_array_equal(export.open_mask(out)["cloud_mask"], expected[0])


@pytest.mark.parametrize(
    ("make", "level"), [(make_safe, "L1C"), (make_safe, "L2A"), (make_landsat, "L1"), (make_landsat, "L2")]
)
def test_predict_a_product_folder_without_any_option(tmp_path, capsys, make, level):
    out = tmp_path / "mask.tif"
    assert run("predict", make(tmp_path, level), "-o", out) == 0
    mask = export.open_mask(out)
    assert mask["cloud_mask"].attrs["level"] == {"1": "TOA", "2": "BOA"}[level[1]]
    assert len(mask["cloud_mask"].attrs["bands"].split()) == 4
    assert mask.rio.crs.to_epsg() == 32632
    assert str(mask["time"].values)[:10] in capsys.readouterr().out


def truncated(folder, tmp_path):
    """A raster whose header is whole and whose pixels are not."""
    content = (folder / "scene.tif").read_bytes()
    path = tmp_path / "truncated.tif"
    path.write_bytes(content[: len(content) * 3 // 5])
    return path


BAD = {
    "missing": (lambda f, t: [t / "none.tif", "-o", t / "mask.tif"], "no file or folder"),
    "no raster": (lambda f, t: [__file__, "-o", t / "mask.tif"], "GDAL cannot read"),
    "truncated": (lambda f, t: [truncated(f, t), "-o", t / "mask.tif"], "truncated.tif"),
    "unknown suffix": (lambda f, t: [f / "scene.tif", "-o", t / "mask.png"], "ends in .tif"),
    "unknown model": (lambda f, t: [f / "scene.tif", "-o", t / "mask.tif", "--model", "csmsk"], "csmsk"),
    "unknown scheme": (lambda f, t: [f / "scene.tif", "-o", t / "mask.tif", "--scheme", "colours"], "colours"),
    "probabilities": (lambda f, t: [f / "scene.tif", "-o", t / "mask.tif", "--probabilities"], "probability"),
    "over the input": (lambda f, t: [f / "series.nc", "-o", f / "series.nc"], "which is an input"),
    "missing bands": (lambda f, t: [f / "series.nc", "-o", t / "mask.nc", "--bands", "B08"], "visible"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_a_message_and_exit_code_1(folder, tmp_path, capsys, case):
    arguments, words = BAD[case]
    assert run("predict", *arguments(folder, tmp_path), *OPTIONS) == 1
    message = capsys.readouterr().err
    assert words in message
    assert message.startswith("found: ")
    assert "\nexpected: " in message
    assert "\ntry: " in message
    assert "Traceback" not in message
    assert not [path for path in tmp_path.iterdir() if path.name != "truncated.tif"]


@pytest.mark.parametrize(
    ("remedy", "typed"),
    [
        ("sensor='hls-s30'", "--sensor hls-s30"),
        ("bands=[...]", "--bands BANDS"),
        ("name them in order: bands=['blue', 'near infrared']", "name them in order: --bands 'blue,near infrared'"),
        ("predict(level='BOA') or predict(level='TOA')", "--level BOA or --level TOA"),
        ("predict(window=64, halo=16)", "--window 64 --halo 16"),
        ("predict(window=...)", "--window WINDOW"),
        ("predict(..., scheme='binary') with a model", "--scheme binary with a model"),
        ("'m.nc'; or predict(probabilities=False)", "'m.nc'; or no --probabilities"),
        ("scale=1e-4, offset=-0.1 or sensor='x'; scale=1.", "--scale 0.0001 --offset -0.1 or --sensor x; --scale 1."),
        ("files with sensor=, level=, scale= and offset=", "files with --sensor, --level, --scale and --offset"),
        ("leave weights= out", "leave --weights out"),
        ("weights=('a.pt', 'b.pt')", f"--weights {shlex.quote(os.pathsep.join(('a.pt', 'b.pt')))}"),
        ("predict('universal', weights='run/a.pt')", "--model universal --weights run/a.pt"),
        ("bbox=(-53.2, -19.5, -45.9, -12.4)", "--bbox -53.2,-19.5,-45.9,-12.4"),
        ("max_cloud=0.01 for one percent", "--max-cloud 0.01 for one percent"),
        ("cube.rename({'a': 'blue'}), sensor='x'", "cube.rename({'a': 'blue'}), --sensor x"),
        ("cube.rio.write_crs(32723), or resolution='native'", "cube.rio.write_crs(32723), or --resolution native"),
        ("resolution=30.00", "--resolution 30.0"),
        (
            "load(items, dtype='uint16', nodata=0); or scale=1 if",
            "load(items, dtype='uint16', nodata=0); or --scale 1 if",
        ),
        *[
            (same, same)
            for same in ("mask.assign_attrs(scheme='binary')", "scale={'B1': ...}", "max_scale=1", "keep='a'")
        ],
        *[(same, same) for same in ("predict(batch_size=4)", "cube.cloudmask.predict()", "check the path")],
    ],
)
def test_remedies_are_spelled_as_options(remedy, typed):
    assert in_shell(remedy, TAKEN) == typed


def test_only_options_of_the_command_are_spelled():
    assert in_shell("sensor='landsat-8', or bbox=(1, 2, 3, 4)", ["bbox"]) == "sensor='landsat-8', or --bbox 1,2,3,4"


def test_a_message_says_which_option_to_type(folder, tmp_path, capsys):
    assert run("predict", folder / "series.nc", "-o", tmp_path / "mask.nc", "--sensor", "sentinel") == 1
    assert "\ntry: --sensor sentinel-2" in capsys.readouterr().err
    assert run("predict", folder / "series.nc", "-o", tmp_path / "mask.tif", *OPTIONS, "--probabilities") == 1
    assert "or no --probabilities" in capsys.readouterr().err


def test_dates_without_a_coordinate_are_listed(tmp_path, capsys, scenes):
    scenes.drop_vars("time").to_netcdf(tmp_path / "series.nc")
    for suffix in (".nc", ".tif"):
        assert run("predict", tmp_path / "series.nc", "-o", tmp_path / f"mask{suffix}", *OPTIONS) == 0
        assert len(capsys.readouterr().out.splitlines()) == 3


def test_debug_shows_where_an_error_comes_from(folder, tmp_path):
    with pytest.raises(ModelError):
        run("predict", folder / "scene.tif", "-o", tmp_path / "mask.tif", "--model", "none", "--debug")


@pytest.mark.parametrize(
    "arguments",
    [[], ["predict"], ["predict", "a.tif"], ["mask"], ["predict", "a.tif", "-o", "b.tif", "--resolution", "fine"]],
)
def test_what_cannot_be_understood_is_exit_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as raised:
        main(arguments)
    assert raised.value.code == 2
    assert "usage: xr-cloudmask" in capsys.readouterr().err


def test_interrupt_is_exit_code_130(folder, tmp_path, capsys, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(export, "to_file", interrupt)
    assert run("predict", folder / "scene.tif", "-o", tmp_path / "mask.tif", *OPTIONS) == 130
    assert "interrupted" in capsys.readouterr().err


def test_a_bar_is_shown_on_a_terminal_only(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert run("predict", folder / "scene.tif", "-o", tmp_path / "mask.tif", *OPTIONS) == 0
    assert "Completed" in capsys.readouterr().err


def test_models_are_listed(capsys):
    assert main(["models"]) == 0
    printed = capsys.readouterr().out
    assert "csmask" in printed
    assert "Apache-2.0" in printed


def test_demo_shows_and_writes_everything(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(demo, "SIZE", (300, 300))
    assert run("demo", "-o", tmp_path / "out") == 0
    printed = capsys.readouterr().out
    assert "kappa" in printed
    written = sorted(path.name for path in (tmp_path / "out").iterdir() if path.suffix != ".xml")
    cogs = [name for name in written if name.startswith("mask_")]
    assert len(cogs) == 6
    assert sorted(written) == sorted(["composite.tif", "masks.nc", "overview.png", *cogs])
    assert all(str(tmp_path / "out" / name) in printed for name in written)
    with rasterio.open(tmp_path / "out" / "composite.tif") as file:
        assert file.descriptions == tuple(BANDS)
        assert 0 < np.nanmedian(file.read()) < 1


def test_demo_into_a_file_is_one_error(folder, capsys):
    assert run("demo", "-o", folder / "scene.tif") == 1
    assert "try: -o demo" in capsys.readouterr().err


def test_warnings_are_one_line(tmp_path):
    small = simulate.series(bands=BANDS, dates=1, size=(64, 64), gsd=10).isel(time=0, drop=True)
    small.drop_vars("truth").rio.to_raster(tmp_path / "small.tif")
    command = [sys.executable, "-m", "xr_cloudmask", "predict", tmp_path / "small.tif", "-o", tmp_path / "mask.nc"]
    done = subprocess.run([*command, *OPTIONS[:-1], "auto"], check=True, capture_output=True, text=True)
    assert done.stderr.startswith("warning: model 'csmask' sees pixels of")
    assert done.stderr.count("\n") == 1


def test_it_says_its_version(capsys):
    with pytest.raises(SystemExit, match="0"):
        run("--version")
    assert capsys.readouterr().out == f"xr-cloudmask {xr_cloudmask.__version__}\n"


def test_it_runs_as_a_module():
    done = subprocess.run([sys.executable, "-m", "xr_cloudmask", "models"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "csmask" in done.stdout
    assert done.stderr == ""


def shell(command, **options):
    exe = f"{shlex.quote(sys.executable)} -m xr_cloudmask"
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {exe} {command}"], capture_output=True, text=True, check=False, **options
    )


@pytest.mark.parametrize("command", ["models | head -1", "models | true", "models >&-", "weights list | true"])
def test_a_closed_pipe_is_no_traceback(command):
    done = shell(command)
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


def test_a_closed_pipe_is_exit_code_141():
    assert shell("models | true").returncode in (0, 141)  # 0 where all was printed before the pipe was closed


@pytest.mark.parametrize("output", ["a-file", "no/such/folder/a-file/x"])
def test_a_folder_that_cannot_be_made_is_a_message(tmp_path, capsys, output):
    (tmp_path / "a-file").touch()
    (tmp_path / "no").touch()
    assert run("demo", "-o", tmp_path / output) == 1
    assert "found: " in capsys.readouterr().err


@pytest.mark.parametrize("name", [".", "", "/", "mask", "mask.png"])
def test_an_output_without_a_name_is_a_message(folder, capsys, monkeypatch, tmp_path, name):
    monkeypatch.chdir(tmp_path)
    assert run("predict", folder / "scene.tif", "-o", name, *OPTIONS) == 1
    assert ".tif" in capsys.readouterr().err
