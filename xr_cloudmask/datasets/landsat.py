"""Readers of sets of Landsat scenes, whose calibration lies beside them in their ``MTL`` files.

Sources: Landsat 7 Science Data Users Handbook (solar illumination ESUN); Chander, Markham & Helder 2009,
doi:10.1016/j.rse.2009.01.007 (reflectance from radiance).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xr_cloudmask.cube.radiance import earth_sun_distance
from xr_cloudmask.datasets import opening
from xr_cloudmask.datasets.labelled import Labelled
from xr_cloudmask.datasets.readers import labelled
from xr_cloudmask.errors import FileError, refusing
from xr_cloudmask.files.landsat import read_odl

if TYPE_CHECKING:
    import xarray as xr

    from xr_cloudmask.datasets.table import PublicSet

ESUN = {"1": 1970.0, "2": 1842.0, "3": 1547.0, "4": 1044.0, "5": 225.7, "7": 82.06}  # W m⁻² µm⁻¹, of Landsat 7
ALL_OF_LANDSAT_8 = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B9", "B10", "B11")
OF_SPARCS = tuple(name for name in ALL_OF_LANDSAT_8 if name != "B8")
ALL_OF_LANDSAT_7 = ("B1", "B2", "B3", "B4", "B5", "B6_1", "B6_2", "B7", "B8")


def l8biome(one: PublicSet, root: Path) -> Iterator[Labelled]:
    """Read ``LC8….TIF`` of eleven bands, or ``LC8…_B*.TIF``, with ``LC8…_fixedmask.TIF`` or ``.img``."""
    masks = [path for path in sorted(root.rglob("LC8*_fixedmask.*")) if path.suffix.lower() in (".tif", ".img")]
    if not masks:
        raise opening.missing(root / "LC8*_fixedmask.TIF", one.layout)
    for label in masks:
        scene = label.name.partition("_fixedmask")[0]
        cube, files = bands_of(one, label.parent, scene, ALL_OF_LANDSAT_8, label.parent.glob(f"{scene}*_MTL.txt"))
        yield labelled(one, scene, cube, opening.labels(label, one.layout), (*files, label))


def l7irish(one: PublicSet, root: Path) -> Iterator[Labelled]:
    """Read ``L7*.TIF`` of nine bands, or a file a band, with ``L7_p*_r*_newmask2015.TIF``."""
    older = [path for path in sorted(root.rglob("*_mask*.TIF")) if "newmask" not in path.name]
    masks = sorted(root.rglob("*_newmask2015.TIF"))
    if older and not masks:
        raise FileError(
            f"{str(older[0])!r}, whose 0 is shadow in some masks and fill in others",
            "the masks of 2015, whose codes say one thing: L7_p*_r*_newmask2015.TIF",
            "L7_Irish_Cloud_Validation_Masks of the USGS",
        )
    if not masks:
        raise opening.missing(root / "*_newmask2015.TIF", one.layout)
    for label in masks:
        folder = label.parent
        stacks = [path for path in sorted(folder.glob("L7*.TIF")) if "_B" not in path.name and path != label]
        single = sorted(folder.glob("L7*_B10.TIF"))
        named = stacks or [path.with_name(path.name.replace("_B10", "")) for path in single]
        if not named:
            raise opening.missing(folder / "L7*.TIF", one.layout)
        scene = named[0].stem
        cube, files = bands_of(one, folder, scene, ALL_OF_LANDSAT_7, folder.glob("*_MTL.txt*"))
        yield labelled(one, f"{folder.name}/{scene}", cube, opening.labels(label, one.layout), (*files, label))


def sparcs(one: PublicSet, root: Path) -> Iterator[Labelled]:
    """Read ``*_data.tif`` of ten bands with ``*_mask.png`` of colours, or of numbers, and ``*_mtl.txt``."""
    for image in opening.found(root, "*_data.tif", one.layout):
        scene = image.name.removesuffix("_data.tif")
        label = image.with_name(f"{scene}_mask.png")
        mask = opening.raster(label, one.layout)
        whole = opening.raster(image, one.layout)
        names = {10: OF_SPARCS, 11: ALL_OF_LANDSAT_8}.get(len(whole))
        if names is None:
            raise FileError(
                f"{len(whole)} bands in {str(image)!r}", "10, without the panchromatic one, or 11", "gdalinfo"
            )
        cube = opening.cube([image], names, one.layout)[list(one.bands)]
        calibrated = with_sun(cube, _metadata(image.parent.glob(f"{scene}_mtl.txt")), image.parent)
        yield labelled(one, scene, calibrated, _palette(mask, label, one.colours), (image, label))


def _palette(mask: Any, path: Path, colours: Sequence[tuple[int, int, int]]) -> Any:
    """Return the position of each pixel's colour; -1 of others."""
    if len(mask) == 1:
        return mask[0].astype("int16")
    if len(mask) not in (3, 4):
        raise FileError(f"{len(mask)} bands in {str(path)!r}", "colours, or numbers of classes", opening.AGAIN)
    codes = np.full(mask.shape[1:], -1, "int16")
    for code, colour in enumerate(colours):
        codes[(mask[:3] == np.array(colour).reshape(3, 1, 1)).all(axis=0)] = code
    return codes


def bands_of(
    one: PublicSet, folder: Path, scene: str, whole: Sequence[str], metadata: Iterator[Path]
) -> tuple[xr.Dataset, tuple[Path, ...]]:
    """Return a scene's cube of one file of all bands, or of a file a band, and these files."""
    stack = folder / f"{scene}.TIF"
    if stack.is_file():
        cube = opening.cube([stack], whole, one.layout)[list(one.bands)]
        files: tuple[Path, ...] = (stack,)
    else:
        files = tuple(folder / f"{scene}_{one.suffixes.get(band, band)}.TIF" for band in one.bands)
        cube = opening.cube(files, one.bands, one.layout)
    return with_sun(cube, _metadata(metadata), folder), files


def with_sun(cube: xr.Dataset, fields: Mapping[str, str], folder: Path) -> xr.Dataset:
    """Return a cube with the sun and the factors of its metadata; without any, `predict` asks for them."""
    if not fields:
        return cube
    with refusing(FileError, f"metadata in {str(folder)!r}", "an intact MTL file of Landsat", opening.AGAIN):
        for name, band in cube.items():
            factors = _factors(fields, str(name)[1:])
            if factors is not None:
                band.attrs |= dict(zip(("scale_factor", "add_offset"), factors, strict=True))
            band.attrs["_FillValue"] = 0
        return cube.assign_coords({"view:sun_elevation": float(fields["SUN_ELEVATION"])})


def _metadata(paths: Iterator[Path]) -> dict[str, str]:
    groups = [read_odl(path) for path in sorted(paths)[:1]]
    return {key: value for group in groups for fields in group.values() for key, value in fields.items()}


def _factors(fields: Mapping[str, str], number: str) -> tuple[float, float] | None:
    """Return factor and offset of reflectance, to be divided by the sine of the sun elevation; None of Landsat 8."""
    if f"REFLECTANCE_MULT_BAND_{number}" in fields:
        return float(fields[f"REFLECTANCE_MULT_BAND_{number}"]), float(fields[f"REFLECTANCE_ADD_BAND_{number}"])
    limits = [
        next((fields[key] for key in keys if key in fields), None)
        for keys in (
            (f"RADIANCE_MAXIMUM_BAND_{number}", f"LMAX_BAND{number}"),
            (f"RADIANCE_MINIMUM_BAND_{number}", f"LMIN_BAND{number}"),
        )
    ]
    if number not in ESUN or None in limits:
        return None
    high, low = (float(str(limit)) for limit in limits)
    date = fields.get("DATE_ACQUIRED") or fields["ACQUISITION_DATE"]
    unit = math.pi * float(earth_sun_distance(np.array([date], "datetime64[ns]"))[0]) ** 2 / ESUN[number]
    gain = (high - low) / 254  # numbers 1 to 255
    return unit * gain, unit * (low - gain)
