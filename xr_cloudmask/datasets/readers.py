"""Readers of public sets: the files of each become labelled scenes, one after the other."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xr_cloudmask.datasets import opening
from xr_cloudmask.datasets.labelled import Labelled, coded, cube_of, require_shape
from xr_cloudmask.errors import FileError, refusing
from xr_cloudmask.extras import has
from xr_cloudmask.files.raster import CHUNK

if TYPE_CHECKING:
    from xr_cloudmask.datasets.table import PublicSet

SIDE = 512  # pixels of a patch of CloudSEN12
SCRIBBLE = (4, 5, 6)  # codes that only scribbles have
DTYPES = {"image": "<i2", "label": "i1"}


def labelled(one: PublicSet, name: str, cube: Any, codes: Any, files: tuple[Path, ...]) -> Labelled:
    """Put a scene together; its labels have the size of its image."""
    truth, meanings = coded(codes, one.codes)
    require_shape(files[-1], truth.shape, (cube.sizes["y"], cube.sizes["x"]))
    return Labelled(name, cube, truth, meanings, dict(one.told), files)


def cloudsen12plus(one: PublicSet, root: Path) -> Iterator[Labelled]:
    """Read TACO files, else ``*_image_l1c.tif`` with ``*_label.tif``."""
    parts = sorted(root.rglob("*.taco"))
    if parts:
        yield from _taco(one, parts)
        return
    for image in opening.found(root, "*_image_l1c.tif", one.layout):
        label = image.with_name(image.name.replace("_image_l1c.tif", "_label.tif"))
        codes = opening.labels(label, one.layout)
        if np.isin(codes, SCRIBBLE).any():
            raise FileError(
                f"scribbles in {str(label)!r}", "labels of type 'high'", "move the patches with scribbles elsewhere"
            )
        yield labelled(one, image.stem, opening.cube([image], one.bands, one.layout), codes, (image, label))


def _taco(one: PublicSet, parts: list[Path]) -> Iterator[Labelled]:
    if not has("tacoreader"):
        raise FileError(
            f"{len(parts)} TACO files in {str(parts[0].parent)!r}, and no package 'tacoreader'",
            "the package that reads them, or the set as GeoTIFF files",
            "pip install 'tacoreader<2'",
        )
    import tacoreader  # type: ignore[import-not-found, unused-ignore]

    with refusing(FileError, f"{str(parts[0])!r}, which cannot be read", "TACO files of CloudSEN12+", opening.AGAIN):
        table = tacoreader.load([str(part) for part in parts])
        kept = (table["label_type"] == "high") & (table["tortilla:data_split"] == "test")
        rows = table[kept & (table["real_proj_shape"] == 509)].reset_index(drop=True)
        for i in range(len(rows)):
            sample = rows.read(i)
            image, codes = (opening.raster_of(sample.read(part)) for part in (0, 1))
            cube = cube_of(image, one.bands, one.pixel)
            yield labelled(one, str(rows["tortilla:id"].iloc[i]), cube, codes[0], tuple(parts))


def cloudsen12(one: PublicSet, root: Path) -> Iterator[Labelled]:
    """Read memory maps of the test patches: ``test/L1C_B*.dat`` and ``test/LABEL_manual_hq.dat``."""
    folder = root / "test" if (root / "test").is_dir() else root
    label = folder / "LABEL_manual_hq.dat"
    paths = {band: folder / f"L1C_{band}.dat" for band in one.bands}
    codes = _memory_map(label, DTYPES["label"], one.layout)
    bands = [_memory_map(path, DTYPES["image"], one.layout) for path in paths.values()]
    for path, band in zip(paths.values(), bands, strict=True):
        require_shape(path, band.shape, codes.shape)
    for i in range(len(codes)):
        cube = cube_of(np.stack([band[i] for band in bands]), one.bands, one.pixel)
        yield labelled(one, f"{folder.name}/{i}", cube, codes[i], (*paths.values(), label))


def _memory_map(path: Path, dtype: str, layout: str) -> Any:
    if not path.is_file():
        raise opening.missing(path, layout)
    size, patch = path.stat().st_size, SIDE**2 * np.dtype(dtype).itemsize
    if not size or size % patch:
        raise FileError(f"{size} bytes in {str(path)!r}", f"patches of {SIDE} × {SIDE} {dtype}", opening.AGAIN)
    return np.memmap(path, dtype, "r").reshape(-1, SIDE, SIDE)


def kappaset(one: PublicSet, root: Path) -> Iterator[Labelled]:
    """Read ``*.nc`` with variables ``B01`` … ``B12`` and ``Label``."""
    from xr_cloudmask.files.stores import open_store

    for path in opening.found(root, "*.nc", one.layout):
        store = open_store(path, CHUNK)
        absent = [name for name in (*one.bands, "Label") if name not in store]
        if absent:
            raise FileError(f"no variables {absent} in {str(path)!r}", f"the layout {one.layout}", f"ncdump -h {path}")
        codes = store["Label"].values.squeeze()
        with refusing(FileError, f"{str(path)!r}, whose bands have other sizes", one.layout, f"ncdump -h {path}"):
            image = np.stack([store[name].values.squeeze() for name in one.bands])
        scene = labelled(one, path.stem, cube_of(image, one.bands, one.pixel), codes, (path,))
        # Files of the older set hold numbers over 65535.
        factor = {"scale": 6.5535, "offset": 0.0} if image.dtype.kind == "f" else {}
        yield Labelled(scene.name, scene.cube, scene.truth, scene.meanings, {**scene.told, **factor}, scene.files)


def cloud38(one: PublicSet, root: Path) -> Iterator[Labelled]:
    """Read patches in a folder a band: ``train_red/red_patch_1_1_by_1_LC08….TIF``, ``train_gt/gt_patch_….TIF``."""
    for label in opening.found(root, "gt_*.TIF", one.layout):
        folder = label.parent.name.removesuffix("gt")
        if not folder.endswith("_"):
            continue
        names = {band: label.parent.with_name(folder + band) / f"{band}{label.name[2:]}" for band in one.bands}
        cube = opening.cube(list(names.values()), one.bands, one.layout)
        codes = opening.labels(label, one.layout)
        yield labelled(one, label.stem, _measured(cube, one), codes, (*names.values(), label))


def _measured(cube: Any, one: PublicSet) -> Any:
    """Return a cube with pixels of a size: patches of some sets have lost their places."""
    height, width = cube.sizes["y"], cube.sizes["x"]
    axes = {"y": -one.pixel * np.arange(height), "x": one.pixel * np.arange(width)}
    bare = cube.drop_vars([*cube.coords])
    return bare.assign_coords({dim: (dim, values, {"units": "m"}) for dim, values in axes.items()})


def on_cloud_n(one: PublicSet, root: Path) -> Iterator[Labelled]:
    """Read ``train_features/<chip>/B0*.tif`` with ``train_labels/<chip>.tif``."""
    for label in opening.found(root, "train_labels/*.tif", one.layout):
        chip = label.parent.with_name("train_features") / label.stem
        paths = [chip / f"{band}.tif" for band in one.bands]
        codes = opening.labels(label, one.layout)
        yield labelled(one, label.stem, opening.cube(paths, one.bands, one.layout), codes, (*paths, label))


def iris(one: PublicSet, root: Path) -> Iterator[Labelled]:
    """Read ``subscenes/*.npy`` (y, x, band) with ``masks/*.npy`` (y, x, class), one of which is true."""
    for image in opening.found(root, "subscenes/*.npy", one.layout):
        label = image.parent.with_name("masks") / image.name
        if not label.is_file():
            raise opening.missing(label, one.layout)
        values, chosen = opening.array(image), opening.array(label)
        if values.shape[2:] != (len(one.bands),) or chosen.shape[2:] != (len(one.codes),):
            raise FileError(
                f"arrays of {values.shape} and {chosen.shape} of {image.stem!r}",
                f"(y, x, {len(one.bands)}) and (y, x, {len(one.codes)})",
                opening.AGAIN,
            )
        codes = np.where(chosen.sum(axis=2) == 1, chosen.argmax(axis=2), -1)
        cube = cube_of(np.moveaxis(values, 2, 0), one.bands, one.pixel)
        yield labelled(one, image.stem, cube, codes, (image, label))


def pictures(one: PublicSet, root: Path) -> Iterator[Labelled]:
    """Read ``img_dir/test/*.png`` with ``ann_dir/test/*.png``."""
    for image in opening.found(root, "img_dir/test/*.png", one.layout):
        label = image.parents[2] / "ann_dir/test" / image.name
        picture = opening.raster(image, one.layout)
        if len(picture) != len(one.bands):
            raise FileError(f"{len(picture)} bands in {str(image)!r}", f"{', '.join(one.bands)}", opening.AGAIN)
        cube = cube_of(picture, one.bands, one.pixel)
        yield labelled(one, image.stem, cube, opening.labels(label, one.layout), (image, label))


def alcd(one: PublicSet, root: Path) -> Iterator[Labelled]:
    """Read ``<scene>/Classification/classification_map.tif`` of 60 m; its L1C product lies anywhere below the root."""
    from xr_cloudmask.files import open_cube

    products = {_tile_and_day(path.name): path for path in sorted(root.rglob("*MSIL1C*.SAFE"))}
    pattern = f"{one.folder}/*/Classification/classification_map.tif"
    for label in opening.found(root, pattern, one.layout):
        scene = label.parents[1].name
        product = products.get(_tile_and_day(scene))
        if product is None:
            raise FileError(
                f"no L1C product of {scene!r} below {str(root)!r}",
                "the .SAFE folder of that tile and day, which the set does not bring",
                f"mv S2?_MSIL1C_….SAFE {root}",
            )
        cube = open_cube(product)
        codes = opening.labels(label, one.layout)
        times = cube.sizes["y"] // codes.shape[0]
        # A label of 60 m counts for all the pixels of 10 m in it.
        repeated = codes.repeat(times, axis=0).repeat(times, axis=1)
        yield labelled(one, scene, cube, repeated, (product / "MTD_MSIL1C.xml", label))


def _tile_and_day(name: str) -> tuple[str, ...]:
    """Return the tile and the day in the name of a product."""
    found: Mapping[str, Any] = {
        "tile": re.search(r"T?(\d{2}[A-Z]{3})(?![A-Z0-9])", name),
        "day": re.search(r"(20\d{6})(?:T|_|$)", name),
    }
    return tuple(match[1] if match else name for match in found.values())
