"""Products whose metadata are nearly right, and files that are none: one FileError each, and no waiting."""

from __future__ import annotations

import json
import os
import re
import warnings

import numpy as np
import pytest
import zarr
from products import cbers_xml, landsat_groups, make_cbers, make_landsat, make_safe

from xr_cloudmask import FileError, files, parse_cbers_metadata, simulate
from xr_cloudmask.bounded import LARGEST, read_small, read_text
from xr_cloudmask.cube.xml import parse_xml

ROOT = "LANDSAT_METADATA_FILE"


@pytest.fixture(scope="module")
def landsat(tmp_path_factory):
    return make_landsat(tmp_path_factory.mktemp("landsat"), "L2", kinds=("json",))


@pytest.fixture(scope="module")
def safe(tmp_path_factory):
    return make_safe(tmp_path_factory.mktemp("safe"), "L1C")


@pytest.fixture
def changed():
    """Change a file until the test ends."""
    before = {}

    def change(path, content):
        before.setdefault(path, path.read_bytes())
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    yield change
    for path, content in before.items():
        path.write_bytes(content)


def metadata_of(folder):
    (path,) = folder.glob("*_MTL.*")
    return path


ODD_JSON = {
    "null": "null", "list": "[]", "number": "5", "deep": "[" * 200_000, "empty": "", "no text": b"\xff\xfe\x00{",
    "root is a list": {ROOT: []}, "root is null": {ROOT: None}, "group is null": {ROOT: {"PRODUCT_CONTENTS": None}},
    "group is a list": {ROOT: {"PRODUCT_CONTENTS": ["PROCESSING_LEVEL"]}},
    "level is a number": {ROOT: {"PRODUCT_CONTENTS": {"PROCESSING_LEVEL": 5}}},
    "number without end": f'{{"{ROOT}": {"9" * 10_000}}}',
}  # fmt: skip


@pytest.mark.parametrize("content", ODD_JSON.values(), ids=ODD_JSON)
def test_landsat_json_of_another_shape(landsat, changed, content):
    changed(metadata_of(landsat), json.dumps(content) if isinstance(content, dict) else content)
    with pytest.raises(FileError, match=r"MTL|metadata"):
        files.open_cube(landsat)


ODD_NUMBERS = ("", "nan", "NaN", "1e999", "-inf", "abc", "1,5", "9" * 400, "0x10", None, [1, 2], {"a": 1}, True)


@pytest.mark.parametrize("number", ODD_NUMBERS, ids=repr)
@pytest.mark.parametrize(
    ("group", "field"),
    [
        ("LEVEL2_SURFACE_REFLECTANCE_PARAMETERS", "REFLECTANCE_MULT_BAND_2"),
        ("LEVEL2_SURFACE_REFLECTANCE_PARAMETERS", "REFLECTANCE_ADD_BAND_4"),
        ("IMAGE_ATTRIBUTES", "SUN_ELEVATION"),
    ],
)
def test_landsat_numbers_that_are_none_name_their_field(landsat, changed, group, field, number):
    groups = landsat_groups("L2", landsat.name)
    groups[group] = groups[group] | {field: number}
    changed(metadata_of(landsat), json.dumps({ROOT: groups}))
    with pytest.raises(FileError, match=field):
        files.open_cube(landsat)


@pytest.mark.parametrize("value", ["", "yesterday", "2022-13-45", "NaT"])
def test_landsat_dates_that_are_none(landsat, changed, value):
    groups = landsat_groups("L2", landsat.name)
    groups["IMAGE_ATTRIBUTES"]["DATE_ACQUIRED"] = value
    changed(metadata_of(landsat), json.dumps({ROOT: groups}))
    with pytest.raises(FileError, match="time"):
        files.open_cube(landsat)


@pytest.mark.parametrize("number", ["nan", "1e999", "abc", "0", "-5", "9" * 400])
def test_a_quantification_that_is_none(safe, changed, number):
    path = safe / "MTD_MSIL1C.xml"
    changed(path, re.sub(r"(<QUANTIFICATION_VALUE[^>]*>)10000", rf"\g<1>{number}", path.read_text()))
    with pytest.raises(FileError, match="QUANTIFICATION_VALUE"):
        files.open_cube(safe)


@pytest.mark.parametrize(
    ("tag", "text"),
    [
        ("PROCESSING_BASELINE", "new"), ("PROCESSING_BASELINE", ""), ("PRODUCT_START_TIME", "then"),
        ("SPECIAL_VALUE_INDEX", "none"), ("RADIO_ADD_OFFSET", "-1000 or so"), ("RADIO_ADD_OFFSET", "inf"),
    ],
)  # fmt: skip
def test_safe_texts_that_are_none_name_their_place(safe, changed, tag, text):
    path = safe / "MTD_MSIL1C.xml"
    changed(path, re.sub(rf"(<{tag}[^>]*>)[^<]*", rf"\g<1>{text}", path.read_text()))
    with pytest.raises(FileError, match=rf"{tag}|time"):
        files.open_cube(safe)


def test_sun_angles_that_are_none(safe, changed):
    (path,) = safe.glob("GRANULE/*/MTD_TL.xml")
    changed(path, path.read_text().replace("33.5", "high"))
    with pytest.raises(FileError, match="ZENITH_ANGLE"):
        files.open_cube(safe)


@pytest.mark.parametrize("number", ["high", "nan", "1e999", "", "9" * 400])
def test_cbers_numbers_that_are_none(number):
    with pytest.raises(FileError, match="elevation"):
        parse_cbers_metadata(cbers_xml().replace(b"47.8578", number.encode()))


# Files that are none --------------------------------------------------------------------------------------------------

BOMB = b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "cc"><!ENTITY c "&b;&b;">]><a>&c;</a>'
NO_XML = {
    "empty": b"", "cut": b"<a><b>", "deep": b"<a>" * 100_000, "entities": BOMB, "zeros": bytes(1000),
    "encoding": b'<?xml version="1.0" encoding="klingon"?><a/>', "utf-16": "<a>".encode("utf-16"),
}  # fmt: skip


@pytest.mark.parametrize("content", NO_XML.values(), ids=NO_XML)
def test_no_xml(tmp_path, content):
    (tmp_path / "a.xml").write_bytes(content)
    for source in (content, tmp_path / "a.xml"):
        with pytest.raises(FileError):
            parse_xml(source)


def of_kind(folder, kind):
    """Make what is no small file."""
    path = folder / "metadata.xml"
    if kind == "large":
        with path.open("wb") as file:
            file.truncate(4 << 30)  # sparse: it takes no room
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "loop":
        path.symlink_to(path)
    return path


@pytest.mark.timeout(30)
@pytest.mark.parametrize("kind", ["large", "device", "pipe", "folder", "loop"])
def test_metadata_that_are_no_small_file(tmp_path, kind):
    path = of_kind(tmp_path, kind)
    for read in (read_small, read_text, parse_xml, parse_cbers_metadata):
        with pytest.raises(FileError, match=r"metadata\.xml"):
            read(path)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("kind", ["large", "device", "pipe", "loop"])
def test_products_whose_metadata_are_no_small_file(tmp_path, kind):
    product = tmp_path / "product"
    product.mkdir()
    of_kind(tmp_path, kind).rename(product / "LC09_MTL.txt")
    with pytest.raises(FileError):
        files.open_cube(product)


def test_a_small_file_is_read_whole(tmp_path):
    path = tmp_path / "metadata.txt"
    path.write_bytes(b"\xef\xbb\xbf" + b"a" * (LARGEST - 3))
    assert len(read_small(path)) == LARGEST
    assert read_text(path) == "a" * (LARGEST - 3)
    with pytest.raises(FileNotFoundError):
        read_small(tmp_path / "none")


@pytest.mark.parametrize("name", ["x" * 300, "/".join(["x" * 200] * 30), "a\0b", "\ud800", ""])
def test_names_that_no_file_can_have(name):
    with pytest.raises(FileError):
        files.open_cube(name)


# Stores ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path):
    cube = simulate.series(dates=1, size=(8, 8)).drop_vars("truth")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # consolidated metadata are not in the specification
        cube.to_zarr(tmp_path / "cube.zarr")
    (tmp_path / "cube.zarr" / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group", "attributes": {}}')
    return tmp_path / "cube.zarr"


ODD_STORES = {
    "empty": lambda said: "", "text": lambda said: '"x"', "null": lambda said: "null",
    "deep": lambda said: "[" * 200_000,
    "no shape": lambda said: {**said, "shape": None}, "shape of text": lambda said: {**said, "shape": "abc"},
    "dtype": lambda said: {**said, "data_type": "complex9"}, "chunks": lambda said: {**said, "chunk_grid": []},
    "codecs": lambda said: {**said, "codecs": [{"name": "none"}]}, "attributes": lambda said: {**said, "attributes": 5},
    "dimensions": lambda said: {**said, "dimension_names": ["y"]},
    "negative": lambda said: {**said, "shape": [-1, 8, 8]},
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Failed to open Zarr store with consolidated metadata")
@pytest.mark.parametrize("change", ODD_STORES.values(), ids=ODD_STORES)
def test_zarr_metadata_of_another_shape(store, change):
    name = store / "B02"
    said = change(json.loads((name / "zarr.json").read_text()))
    (name / "zarr.json").write_text(said if isinstance(said, str) else json.dumps(said))
    with pytest.raises(FileError, match=r"cube\.zarr"):
        files.open_cube(store)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("shape", [(1_000_000_000, 1_000_000_000), (4, 10_000_000_000_000)])
def test_sizes_that_no_product_has_are_refused_before_work_begins(tmp_path, shape):
    group = zarr.open_group(tmp_path / "cube.zarr", mode="w")
    group.create_array("red", shape=shape, chunks=(4, 4), dtype="uint16", dimension_names=("y", "x"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # consolidated metadata are not in the specification
        zarr.consolidate_metadata(tmp_path / "cube.zarr")
    with pytest.raises(FileError, match="sizes"):
        files.open_cube(tmp_path / "cube.zarr")


def test_an_axis_that_no_product_has(tmp_path):
    group = zarr.open_group(tmp_path / "cube.zarr", mode="w")
    group.create_array("red", data=np.zeros((4, 4), "uint16"), dimension_names=("y", "x"))
    group.create_array("x", shape=(10**12,), chunks=(10**10,), dtype="float64", dimension_names=("x",))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(tmp_path / "cube.zarr")
    with pytest.raises(FileError, match="sizes"):
        files.open_cube(tmp_path / "cube.zarr")


@pytest.mark.parametrize("make", [make_safe, make_landsat, make_cbers], ids=["SAFE", "Landsat", "CBERS"])
def test_whatever_a_reader_raises_is_one_error(tmp_path, monkeypatch, make):
    product = make(tmp_path)
    for reader in (files.sentinel2, files.landsat, files.cbers):
        monkeypatch.setattr(reader, "open_bands", lambda *_: 1 / 0)
    with pytest.raises(FileError, match="ZeroDivisionError") as caught:
        files.open_cube(product)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
