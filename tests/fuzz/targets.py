"""Readers of this package, and how their input is made nearly right."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import products
import rioxarray  # noqa: F401 - registers .rio
import xarray as xr

import xr_cloudmask
from fuzz.mutations import VALUES, mutate_bytes, mutate_json, mutate_xml
from xr_cloudmask import export, files, stac
from xr_cloudmask.errors import FileError
from xr_cloudmask.models import registry, state_dicts, universal, weights
from xr_cloudmask.stac.items import as_items

COUNTER = count()
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
    pixels(cube.isel({dim: slice(1) for dim in cube.dims}))


def pixels(cube: xr.Dataset | xr.DataArray) -> None:
    """Read pixels as masks are written: what their readers raise late is told as one error there."""
    try:
        cube.load()
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


# Products -------------------------------------------------------------------------------------------------------------


def safe(folder: Path, level: str) -> Try:
    product = products.make_safe(folder, level)
    names = ["B02", "B05"]
    read = partial(files.open_cube, product, bands=names)
    return changing(sorted(product.rglob("MTD_*.xml")), lambda: described(read()), mutate_xml)


def landsat(folder: Path, kind: str, level: str) -> Try:
    product = products.make_landsat(folder, level, kinds=(kind,))
    names = ["B2", "B5"] if level == "L1" else ["SR_B2", "SR_B5"]
    (metadata,) = product.glob("*_MTL.*")
    mutate = {"json": as_json, "xml": mutate_xml, "txt": mutate_bytes}[kind]
    return changing([metadata], lambda: described(files.open_cube(product, bands=names)), mutate)


def cbers(folder: Path) -> Try:
    product = products.make_cbers(folder)
    last = sorted(product.glob("*.xml"))[-1]
    return changing([last], lambda: described(files.open_cube(product)), mutate_xml)


def cbers_bytes(folder: Path) -> Try:
    contents = [products.cbers_xml(), products.cbers_xml(suns=((40.0, 30.0), (41.0, 31.0)), instrument="WFI")]
    return lambda random: xr_cloudmask.parse_cbers_metadata(mutate_xml(random, random.choice(contents)))


# Rasters and stores ---------------------------------------------------------------------------------------------------


def small_cube() -> xr.Dataset:
    attrs = {"scale_factor": 1e-4, "add_offset": -0.1, "_FillValue": 0, "long_name": "red", "units": "1"}
    names = ("B02", "B03", "B04", "B08")
    bands = {
        name: (("time", "y", "x"), products.numbers(16, i)[None], attrs | {"wavelength": 0.5 + i / 10})
        for i, name in enumerate(names)
    }
    coords = {
        "time": np.array(["2022-08-11T10:15:59"], "datetime64[ns]"),
        "y": 5e6 - 10.0 * np.arange(16), "x": 6e5 + 10.0 * np.arange(16),
        "platform": ("time", ["sentinel-2a"]), "view:sun_elevation": ("time", [45.0]),
    }  # fmt: skip
    cube = xr.Dataset(bands, coords, {"processing:level": "L1C", "s2:processing_baseline": "04.00"})
    return cube.rio.write_crs("EPSG:32632")


def zarr(folder: Path, version: int) -> Try:
    store = folder / "cube.zarr"
    small_cube().to_zarr(store, zarr_format=version, consolidated=True)
    metadata = [
        path for path in store.rglob("*") if path.name in ("zarr.json", ".zattrs", ".zarray", ".zgroup", ".zmetadata")
    ]
    first = [path for path in metadata if path.parent == store] * len(metadata)  # of which all else is read
    return changing([*metadata], lambda: described(files.open_cube(store)), as_json) if version == 2 else changing(
        [*metadata, *first], lambda: described(files.open_cube(store)), as_json
    )  # fmt: skip


def netcdf(folder: Path, suffix: str) -> Try:
    path = folder / f"cube{suffix}"
    small_cube().to_netcdf(path, engine="netcdf4")
    original = path.read_bytes()

    def attempt(random: Random) -> None:
        with anew(path, mutate_bytes(random, original)) as odd:
            described(files.open_cube(odd))

    return attempt


def netcdf_attributes(folder: Path) -> Try:
    """Attributes of any type and place, as other writers leave them."""
    import netCDF4

    path = folder / "cube.nc"
    small_cube().to_netcdf(path, engine="netcdf4")
    original = path.read_bytes()
    values = (
        "",
        "abc",
        "NaN",
        b"\xff",
        5,
        -1,
        1e300,
        np.nan,
        np.array([1, 2]),
        np.float32(2),
        np.array([]),
        "days since x",
    )

    def attempt(random: Random) -> None:
        with anew(path, original) as odd:
            changed(random, odd)
            described(files.open_cube(odd))

    def changed(random: Random, odd: Path) -> None:
        with netCDF4.Dataset(odd, "a") as file:
            for _ in range(random.choice((1, 1, 3))):
                place = random.choice([file, *file.variables.values()])
                name = random.choice(
                    (*place.ncattrs(), "scale_factor", "add_offset", "units", "calendar", "coordinates", "grid_mapping",
                     "missing_value", "valid_range", "bounds", "axis", "standard_name", "flag_values", "dtype")
                )  # fmt: skip
                if name != "_FillValue":  # which netCDF itself guards
                    place.setncattr(name, random.choice(values))

    return attempt


def envi(folder: Path) -> Try:
    path = products.write_raster(
        folder / "cube.img", np.stack([products.numbers(16, i) for i in range(4)]), driver="ENVI"
    )
    header = path.with_suffix(".hdr")
    extra = "wavelength units = Micrometers\nwavelength = {0.49, 0.56, 0.66, 0.84}\nfwhm = {0.1, 0.1, 0.1, 0.1}\n"
    header.write_text(
        header.read_text() + extra + "bbl = {1, 1, 0, 1}\nreflectance scale factor = 10000\ndata ignore value = 0\n"
    )
    return changing([header], lambda: described(files.open_cube(path)))


def geotiff(folder: Path) -> Try:
    bands = np.stack([products.numbers(16, i) for i in range(4)])
    path = products.write_raster(folder / "cube.tif", bands, names=("blue", "green", "red", "nir"), nodata=0)
    return changing([path], lambda: described(files.open_cube(path)))


def vrt(folder: Path) -> Try:
    from rasterio.shutil import copy

    bands = np.stack([products.numbers(16, i) for i in range(4)])
    path = products.write_raster(folder / "cube.tif", bands, names=("blue", "green", "red", "nir"), nodata=0)
    copy(path, folder / "cube.vrt", driver="VRT")
    return changing([folder / "cube.vrt"], lambda: described(files.open_cube(folder / "cube.vrt")), mutate_xml)


def paths(folder: Path) -> Try:
    """Names and kinds of files that no name or file should have."""
    import os

    (folder / "loop").symlink_to(folder / "loop")
    (folder / "dead.tif").symlink_to(folder / "nothing")
    (folder / "empty.tif").touch()
    (folder / "empty.nc").touch()
    (folder / "folder.nc").mkdir()
    (folder / "a.SAFE").mkdir()
    (folder / "b.zarr").mkdir()
    (folder / "b.zarr" / "zarr.json").mkdir()
    (folder / "c").mkdir()
    (folder / "c" / "X_MTL.txt").mkdir()
    (folder / "d").mkdir()
    os.mkfifo(folder / "d" / "X_MTL.json")
    (folder / "e").mkdir()
    (folder / "e" / "MTD_MSIL1C.xml").symlink_to("/dev/zero")
    (folder / "f").mkdir()
    (folder / "f" / "CBERS_4A_WPM_20200730_209_139_L4_BAND2.xml").symlink_to("/dev/zero")
    names = [str(path) for path in folder.iterdir()]
    names += [
        "",
        ".",
        "/",
        "..",
        "~",
        "x" * 300,
        "/".join("x" * 2000),
        "a\0b",
        "\ud800",
        "/dev/null",
        "*.tif",
        "-o",
        "http://x/y.tif",
    ]
    mask = xr.DataArray(np.zeros((4, 4), "uint8"), dims=("y", "x"), attrs=FLAGS)

    def attempt(random: Random) -> None:
        name = random.choice(names) + random.choice(("", "", ".tif", ".nc", ".zarr", "/", "/x.tif"))
        read = random.choice((
            files.open_cube, export.open_mask, xr_cloudmask.parse_cbers_metadata, weights.WeightsFile.of, state_dicts.read_state,
            partial(weights.resolve, "sensei"), partial(export.to_file, mask), recipe_of, universal.facts_of,
        ))  # fmt: skip
        if read.__class__ is partial and read.func is export.to_file and not name.startswith(str(folder)):
            name = name if not Path(name.replace("\0", "")).suffix else f"{folder}/no/{name}"
        read(name)

    return attempt


# Masks ----------------------------------------------------------------------------------------------------------------

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
        used = random.choice((
            lambda: odd.cloudmask.coverage(), lambda: odd.cloudmask.to_scheme("binary"), lambda: odd.cloudmask.dilate(1),
            lambda: odd.cloudmask.clear(), lambda: repr(odd.cloudmask),
        ))  # fmt: skip
        used()

    return attempt


def mask_file(folder: Path, suffix: str) -> Try:
    path = folder / f"mask{suffix}"
    export.to_file(a_mask().isel(time=0), path)
    if suffix == ".zarr":
        return changing(sorted(path.rglob("zarr.json")), lambda: pixels(export.open_mask(path)), as_json)
    original = path.read_bytes()

    def attempt(random: Random) -> None:
        with anew(path, mutate_bytes(random, original)) as odd:
            pixels(export.open_mask(odd))

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
        pixels(export.open_mask(path))

    return attempt


# Items ----------------------------------------------------------------------------------------------------------------


def an_item(folder: Path) -> dict[str, Any]:
    bands = {"blue": 0.49, "green": 0.56, "red": 0.665, "nir": 0.842}
    assets = {}
    for i, (name, centre) in enumerate(bands.items()):
        path = products.write_raster(folder / f"{name}.tif", products.numbers(16, i)[None], nodata=0)
        assets[name] = {
            "href": str(path), "type": "image/tiff; application=geotiff", "roles": ["data"],
            "eo:bands": [{"name": name, "common_name": name, "center_wavelength": centre, "full_width_half_max": 0.1}],
            "raster:bands": [{"data_type": "uint16", "nodata": 0, "scale": 1e-4, "offset": -0.1, "spatial_resolution": 10}],
            "proj:shape": [16, 16], "proj:transform": [10.0, 0.0, products.WEST, 0.0, -10.0, products.NORTH],
        }  # fmt: skip
    ring = [[10.2, 45.1], [10.3, 45.1], [10.3, 45.2], [10.2, 45.2], [10.2, 45.1]]
    return {
        "type": "Feature", "stac_version": "1.0.0", "id": "S2A_32TQM_20220811_0_L2A", "collection": "sentinel-2-l2a",
        "stac_extensions": [], "geometry": {"type": "Polygon", "coordinates": [ring]}, "bbox": [10.2, 45.1, 10.3, 45.2],
        "properties": {
            "datetime": "2022-08-11T10:15:59Z", "platform": "sentinel-2a", "instruments": ["msi"], "proj:epsg": 32632,
            "view:sun_elevation": 45.0, "view:sun_azimuth": 150.0, "s2:processing_baseline": "04.00", "eo:cloud_cover": 12.0,
            "processing:level": "L2A", "gsd": 10,
        },
        "links": [], "assets": assets,
    }  # fmt: skip


def items(folder: Path, use: str) -> Try:
    """Items as JSON that is odd, and as objects whose fields became odd later."""
    from pystac import Item

    whole = an_item(folder)
    cube = stac.load([Item.from_dict(whole)])

    def used(item: Any) -> None:
        if use == "attach":
            described(stac.attach(cube.drop_vars(["platform", "id"]), item))
        elif use == "screen":
            stac.screen([item], model="physical", resolution=10)
        else:
            described(stac.load([item]))

    def attempt(random: Random) -> None:
        if random.random() < 0.5:
            odd = mutate_json(random, whole)
            used(odd if use == "attach" or random.random() < 0.1 else as_items(odd)[0])
            return
        item = Item.from_dict(whole)
        for place in random.sample([item, *item.assets.values()], random.choice((1, 1, 3))):
            name = random.choice(("properties", "assets", "id", "datetime", "bbox", "geometry", "collection_id", "extra_fields",
                                  "href", "roles", "links", "media_type", "stac_extensions"))  # fmt: skip
            if not hasattr(place, name):
                continue
            old = getattr(place, name)
            new = (
                mutate_json(random, old, VALUES)
                if isinstance(old, dict | list) and name != "assets"
                else random.choice(VALUES)
            )
            setattr(place, name, new)
        used(item)

    return attempt


def answers(folder: Path) -> Try:
    """Answers of a STAC API, on a server of this process."""
    from fuzz.server import Server

    server = Server()
    item = an_item(folder)

    def attempt(random: Random) -> None:
        server.root, server.found = server.plain_root(), {"type": "FeatureCollection", "features": [item], "links": []}
        if random.random() < 0.4:
            server.root = mutate_json(random, server.root)
        else:
            server.found = mutate_json(random, server.found)
        server.mutate = partial(mutate_bytes, random) if random.random() < 0.2 else None
        stac.search(server.url, "sentinel-2-l2a", limit=5)

    return attempt


# Networks -------------------------------------------------------------------------------------------------------------


def onnx(folder: Path) -> Try:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, n, "y", "x"])
        for name, n in (("bands", 3), ("logits", 2))
    ]
    kernel = numpy_helper.from_array(np.full((2, 3, 3, 3), 1 / 27, "float32"), "kernel")
    node = helper.make_node("Conv", ["bands", "kernel"], ["logits"], pads=[1, 1, 1, 1])
    model = helper.make_model(
        helper.make_graph([node], "g", ends[:1], ends[1:], [kernel]), opset_imports=[helper.make_opsetid("", 17)]
    )
    model.ir_version = 8
    original = model.SerializeToString()
    path = folder / "network.onnx"
    spec = xr_cloudmask.ModelSpec(
        name="odd", variant="rgb", version="1", bands=(("red",), ("green",), ("blue",)), level="TOA", window=16, halo=0,
        classes=("clear", "thick_cloud"), multiple=1, gsd=10.0, licence="", citation="",
    )  # fmt: skip
    cube = xr.Dataset({name: (("y", "x"), np.full((16, 16), 0.2, "float32")) for name in ("red", "green", "blue")})

    def changed(random: Random) -> bytes:
        if random.random() < 0.5:
            return mutate_bytes(random, original)
        odd = onnx.ModelProto.FromString(original)
        for _ in range(random.choice((1, 2))):
            change = random.choice((
                lambda: odd.graph.node[0].ClearField("input"), lambda: odd.graph.node[0].MergeFrom(onnx.NodeProto(op_type=random.choice(("Relu", "None", "")))),
                lambda: odd.graph.ClearField("initializer"), lambda: odd.graph.ClearField("output"), lambda: odd.graph.ClearField("input"),
                lambda: odd.graph.initializer[0].dims.append(random.choice((0, -1, 10**9))),
                lambda: setattr(odd.graph.input[0].type.tensor_type, "elem_type", random.randrange(20)),
                lambda: odd.graph.output[0].type.tensor_type.shape.ClearField("dim"), lambda: setattr(odd, "ir_version", random.randrange(200)),
                lambda: setattr(odd.opset_import[0], "version", random.choice((0, 1, 99, -5))), lambda: setattr(odd.graph.input[0], "name", "x"),
            ))  # fmt: skip
            try:
                change()
            except IndexError:
                pass
        return odd.SerializeToString()

    def attempt(random: Random) -> None:
        path.write_bytes(changed(random))
        registry._SPECS.pop("odd", None)
        registry._LOADED.clear()
        xr_cloudmask.register_model(spec, network=path)
        cube.cloudmask.predict("odd", level="TOA", resolution="native").compute(scheduler="synchronous")

    return attempt


def safetensors(folder: Path) -> Try:
    content = universal.packaged().read_bytes()
    length = int.from_bytes(content[:8], "little")
    header, numbers = json.loads(content[8 : 8 + length]), content[8 + length :]
    path = folder / "universal.safetensors"

    def attempt(random: Random) -> None:
        if random.random() < 0.3:
            path.write_bytes(mutate_bytes(random, content[: 8 + length]) + numbers)
        else:
            said = json.dumps(mutate_json(random, header)).encode("utf-8", "surrogatepass")
            path.write_bytes(len(said).to_bytes(8, "little") + said + numbers)
        universal.arrays_of(path, universal.architecture_of(path))
        state_dicts.read_state(path)

    return attempt


def checkpoint(folder: Path) -> Try:
    import torch

    path = folder / "weights.pt"
    torch.save({"a": torch.zeros(3), "b": {"c": torch.ones(2, 2)}}, path)
    torch.save({"a": torch.zeros(3)}, path)
    return changing([path], lambda: state_dicts.read_state(path))


def manifest(folder: Path) -> Try:
    path = folder / "weights.pt"
    path.write_bytes(b"weights")
    record = weights.Record("weights.pt", 7, weights.WeightsFile.of(path).sha256)
    weights.Manifest("a", "b/c", "d" * 40, "MIT", (record,)).write(folder)
    (folder / "config.yaml").write_text("CLASSES: 7\nBANDS: [1, 2, {a: 2020-01-01}]\nNAME: &a text\nOTHER: *a\n")

    def read() -> None:
        found = weights.Manifest.read(folder)
        weights.damaged(folder, found)
        weights.resolve("sensei", path)
        state_dicts.read_config(path)

    parts = changing([folder / weights.MANIFEST], read, as_json), changing([folder / weights.CONFIG], read)
    return lambda random: random.choice(parts)(random)


def recipe_of(path: str | Path) -> Any:
    from xr_cloudmask.training.recipe import Recipe

    return Recipe.read(path)


def recipe(folder: Path) -> Try:
    from importlib.resources import files as resources

    path = folder / "recipe.toml"
    path.write_text((resources("xr_cloudmask.training") / "recipe.toml").read_text())
    return changing([path], lambda: recipe_of(path))


def entry_points(folder: Path) -> Try:
    """Models of other packages: whatever these are, the list of all has the others."""
    spec = registry.variants("csmask")[0]

    class Entry:
        group, name, value = registry.ENTRY_POINTS, "odd", "odd:SPEC"

        def __init__(self, load: Callable[[], Any]) -> None:
            self.load = load

    def loaded(random: Random) -> Any:
        if random.random() < 0.3:
            raise random.choice(
                (
                    SystemExit(3),
                    ImportError("x"),
                    RuntimeError(),
                    ModuleNotFoundError("y"),
                    GeneratorExit(),
                    RecursionError(),
                )
            )
        if random.random() < 0.3:
            return random.choice(VALUES)
        names = random.sample([*spec.__dataclass_fields__], random.choice((1, 1, 3)))
        return replace(spec, **{"name": "odd", **{name: random.choice(VALUES) for name in names}})

    def attempt(random: Random) -> None:
        registry._SPECS.pop("odd", None)
        registry._discover.cache_clear()
        registry.entry_points = lambda group: [Entry(lambda: loaded(random))]
        table = registry.models()
        assert "csmask" in table.index
        repr(table)
        xr_cloudmask.predict(CUBE, random.choice(("csmask", "odd")), level="TOA", resolution="native")

    return attempt


def patches(folder: Path) -> Try:
    from xr_cloudmask import evaluation

    path = folder / "patch.npz"
    np.savez_compressed(path, img=np.zeros((8, 8, 6), "float32"), msk=np.zeros((8, 8), "uint8"))
    return changing([path], lambda: evaluation.read(path))


# Cubes ----------------------------------------------------------------------------------------------------------------

CUBE = xr.Dataset({name: (("y", "x"), np.full((16, 16), 0.2, "float32")) for name in ("blue", "green", "red", "nir")})
BAND_ATTRS = (
    "scale_factor", "add_offset", "_FillValue", "nodata", "missing_value", "valid_range", "valid_min", "units", "long_name",
    "standard_name", "wavelength", "wavelengths", "fwhm", "bandwidth", "wavelength_units", "center_wavelength", "common_name",
    "full_width_half_max", "bbl", "good_wavelengths", "eo:bands", "raster:bands", "bands", "grid_mapping", "scales", "offsets",
    "nodatavals", "level", "reflectance_scale_factor", "name", "min_wavelength", "max_wavelength", "calibration", "color",
)  # fmt: skip
CUBE_ATTRS = (
    *BAND_ATTRS, "platform", "constellation", "instruments", "processing:level", "s2:processing_baseline", "sensor", "epsg",
    "proj:epsg", "proj:code", "proj:transform", "proj:shape", "spatial:transform", "transform", "crs", "spatial_ref",
    "view:sun_elevation", "view:sun_azimuth", "sun_elevation", "id", "collection", "datetime", "stac_item", "stac_discovery",
    "other_metadata", "BOA_ADD_OFFSET", "earthsearch:boa_offset_applied", "product_id", "reflectance_provenance",
    "reflectance_of_zero", "radiance_notes", "calibration_coefficient:red", "scale_factor:red", "title", "reader", "res",
)  # fmt: skip
COORDS = ("crs_wkt", "grid_mapping_name", "spatial_ref", "GeoTransform", "units", "axis", "standard_name", "resolution")


def cubes(folder: Path) -> Try:
    """Cubes in memory whose attributes are of odd types."""
    cube = small_cube()
    plain = cube.assign({name: (cube[name] * 1e-4).astype("float32") for name in cube.data_vars})
    array = cube.to_dataarray("band")

    def attempt(random: Random) -> None:
        odd = random.choice((cube, plain, array, cube.chunk(), cube.isel(time=0))).copy()
        bands = [odd] if isinstance(odd, xr.DataArray) else list(odd.values())
        for _ in range(random.choice((1, 1, 2, 5))):
            how = random.random()
            if how < 0.4:
                random.choice(bands).attrs[random.choice(BAND_ATTRS)] = random.choice(VALUES)
            elif how < 0.7:
                odd.attrs[random.choice(CUBE_ATTRS)] = random.choice(VALUES)
            elif how < 0.8:
                random.choice(bands).encoding[random.choice(BAND_ATTRS)] = random.choice(VALUES)
            elif how < 0.9:
                odd[random.choice(("spatial_ref", "x", "y", "time"))].attrs[random.choice(COORDS)] = random.choice(
                    VALUES
                )
            else:
                odd = with_coordinate(random, odd)
                bands = [odd] if isinstance(odd, xr.DataArray) else list(odd.values())
        used = random.choice((
            lambda: described(odd), lambda: odd.cloudmask.predict("physical", resolution="native"), lambda: odd.cloudmask.predict(),
            lambda: odd.cloudmask.reflectance(), lambda: odd.cloudmask.descriptors(),
            lambda: odd.cloudmask.predict("universal"), lambda: odd.cloudmask.composite("median", mask=False),
        ))  # fmt: skip
        used()

    return attempt


def with_coordinate(random: Random, odd: Any) -> Any:
    """Return a cube with a coordinate of any kind, where xarray takes it."""
    name, value = random.choice(CUBE_ATTRS), random.choice(VALUES)
    try:
        if random.random() < 0.5 or "time" not in odd.dims:
            return odd.assign_coords({name: value})
        column = np.empty(odd.sizes["time"], object)
        column[:] = [value] * len(column)
        return odd.assign_coords({name: ("time", column)})
    except Exception:  # xarray itself refuses it
        return odd


def told(folder: Path) -> Try:
    """Keywords of the wrong type."""
    from inspect import signature

    cube = small_cube()
    keywords = [name for name in signature(xr_cloudmask.predict).parameters if name not in ("cube",)]

    def attempt(random: Random) -> None:
        given = {name: random.choice(VALUES) for name in random.sample(keywords, random.choice((1, 1, 2)))}
        given.pop("cache", None)
        cube.cloudmask.predict(**{"model": "physical", "resolution": "native"} | given)

    return attempt


def targets() -> Iterator[Target]:
    """Yield every reader."""
    for level in ("L1C", "L2A"):
        yield Target(f"SAFE {level}", 4, partial(safe, level=level))
    for kind, level in (("txt", "L2"), ("xml", "L1"), ("json", "L2"), ("json", "L1")):
        yield Target(f"Landsat {level} {kind}", 4, partial(landsat, kind=kind, level=level))
    yield Target("CBERS folder", 3, cbers)
    yield Target("CBERS XML", 20, cbers_bytes)
    for version in (2, 3):
        yield Target(f"Zarr {version}", 6, partial(zarr, version=version))
    yield Target("netCDF bytes", 4, partial(netcdf, suffix=".nc"))
    yield Target("netCDF attributes", 5, netcdf_attributes)
    yield Target("HDF bytes", 3, partial(netcdf, suffix=".h5"))
    yield Target("ENVI header", 6, envi)
    yield Target("GeoTIFF", 6, geotiff)
    yield Target("VRT", 5, vrt)
    yield Target("paths", 8, paths)
    yield Target("mask attributes", 8, mask_attributes)
    for suffix in (".tif", ".nc", ".zarr"):
        yield Target(f"mask {suffix}", 3, partial(mask_file, suffix=suffix))
    yield Target("mask tags", 3, mask_tags)
    for use, share in (("load", 8), ("attach", 10), ("screen", 2)):
        yield Target(f"items {use}", share, partial(items, use=use))
    yield Target("search answers", 5, answers)
    yield Target("ONNX", 6, onnx)
    yield Target("safetensors", 8, safetensors)
    yield Target("checkpoint", 6, checkpoint)
    yield Target("manifest", 12, manifest)
    yield Target("recipe", 12, recipe)
    yield Target("entry points", 6, entry_points)
    yield Target("labelled patches", 6, patches)
    yield Target("cubes", 16, cubes)
    yield Target("keywords", 8, told)


def prepared(target: Target, folder: Path) -> Try:
    """Make what a target mutates in an empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return target.prepare(folder)
