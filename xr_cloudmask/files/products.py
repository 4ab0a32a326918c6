"""What product folders share: their metadata, their band files, their dates as one cube along time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from xr_cloudmask.cube.metadata import as_number
from xr_cloudmask.errors import FileError

CALIBRATION = ("scale_factor", "add_offset")
FIXED = ("time", "spatial_ref")  # scalar coordinates that are no metadata of a date


def stack(scenes: Sequence[xr.Dataset]) -> xr.Dataset:
    """Join scenes along time, oldest first; a single scene stays without a time dimension.

    Scenes say with scalar coordinates what differs from date to date (baseline, sun). Where their scales or offsets
    differ, a band can no longer carry one for all dates, and reflectance follows from those coordinates.

    Raises
    ------
    FileError
        The scenes lie on different grids or have different bands.
    """
    if len(scenes) == 1:
        return scenes[0]
    _require_same_bands(scenes)
    ordered = sorted(scenes, key=lambda scene: scene["time"].values)
    shared = set.intersection(*(set(scene.coords) for scene in ordered))
    dated = [name for name in shared.difference(FIXED) if ordered[0][name].ndim == 0]
    agreeing = [_agreeing(scene, ordered).drop_vars(set(scene.coords) - shared) for scene in ordered]
    try:
        return xr.concat(
            agreeing, "time", data_vars="all", coords=dated, compat="override", join="exact", combine_attrs="override"
        )
    except ValueError as error:
        raise FileError(
            f"scenes on different grids: {error}",
            "scenes of one tile, or cut to one grid",
            "predict them one by one, or load them onto one grid with odc.stac.load",
        ) from error


def _require_same_bands(scenes: Sequence[xr.Dataset]) -> None:
    names = {tuple(sorted(map(str, scene.data_vars))) for scene in scenes}
    if len(names) > 1:
        shared = [str(name) for name in scenes[0].data_vars if all(name in scene for scene in scenes)]
        choice = f", or choose the bands they share: bands={shared}" if shared else ""
        raise FileError(
            f"scenes with different bands: {sorted(names)}",
            "scenes of one sensor and level",
            f"predict them one by one{choice}",
        )


def _agreeing(scene: xr.Dataset, scenes: Sequence[xr.Dataset]) -> xr.Dataset:
    """Return a scene without the scales and offsets that differ among the scenes."""
    out = scene.copy()
    for name, band in out.items():
        if len({tuple(other[name].attrs.get(key) for key in CALIBRATION) for other in scenes}) > 1:
            band.attrs = {key: value for key, value in band.attrs.items() if key not in CALIBRATION}
    return out


def select(images: dict[str, Path], bands: Sequence[str] | None, folder: Path) -> dict[str, Path]:
    """Return the images asked for; one that is not listed, or whose file is missing, is an error."""
    unlisted = [name for name in bands or () if name not in images]
    if unlisted or not images:
        listed = [name for name in bands or () if name in images] or list(images)
        remedy = f"bands={listed}" if images else "the whole product folder"
        raise FileError(f"no bands {unlisted} in {folder.name}", f"bands of {list(images)}", remedy)
    chosen = {name: images[name] for name in bands} if bands else images
    missing = [name for name, path in chosen.items() if not path.is_file()]
    if missing:
        raise FileError(
            f"{folder.name} lists bands whose files are missing: {missing}",
            "a complete product folder",
            f"download them again, or open the others: bands={[name for name in chosen if name not in missing]}",
        )
    return chosen


def timestamp(value: str, folder: Path) -> np.datetime64:
    """Return a metadata time, always UTC, as nanoseconds."""
    try:
        time: np.datetime64 = np.datetime64(value.rstrip("Z"), "ns")
    except (ValueError, OverflowError) as error:
        raise _odd(f"the time {value[:80]!r}", folder) from error
    if np.isnat(time):
        raise _odd(f"the time {value[:80]!r}", folder)
    return time


def number_of(value: str, field: str, folder: Path) -> float:
    """Return a finite number that metadata state."""
    number = as_number(value)
    if number is None:
        raise _odd(f"{field} = {value[:80]!r}", folder)
    return number


def _odd(found: str, folder: Path) -> FileError:
    return FileError(
        f"{folder.name}, whose metadata say {found}", "metadata as they were delivered", "download the product again"
    )
