"""The layers and statistics that index pipelines decide by, for people who tune thresholds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from operator import and_
from typing import Any

import numpy as np
import xarray as xr

from xr_cloudmask.cube.bands import BandDescriptor
from xr_cloudmask.cube.calibration import Calibration, Factor, Nodata
from xr_cloudmask.cube.described import DescribedCube, Told
from xr_cloudmask.cube.layout import Cube, dated, is_lazy, undated
from xr_cloudmask.cube.reflectance import measured
from xr_cloudmask.engine import scenes
from xr_cloudmask.errors import BandError, CloudMaskError
from xr_cloudmask.extras import require
from xr_cloudmask.masks.by_scenes import scene_job
from xr_cloudmask.models.index import formulas
from xr_cloudmask.models.index import layers as scene_layers
from xr_cloudmask.models.index.scene import NAMES
from xr_cloudmask.names import STATISTIC_NAME, STATISTICS_NAME

# Of blue, green, red and nir, as 4-4A has them; spyndex has everything else by name.
OWN: Mapping[str, Callable[..., Any]] = {
    "ndvi": lambda _blue, _green, red, nir: formulas.ndvi(red, nir),
    "whiteness": lambda blue, green, red, _nir: formulas.whiteness(blue, green, red, formulas.PAN),
    "hot": lambda blue, _green, red, _nir: formulas.hot(blue, red, slope=0.45),
    "cloud_index": formulas.cloud_index,
    "nscd": lambda blue, _green, red, nir: formulas.nscd(blue, red, nir),
}
VISIBLE_NIR = ("blue", "green", "red", "nir")
STANDS_IN = {"nir": "nir08", "nir08": "nir"}
STATISTICS = ("min", "max", "mean", "std", "q25", "median", "q75")
INPUTS = ("scene", "reflectance")


def indices(
    cube: Cube,
    names: str | Sequence[str] = tuple(OWN),
    *,
    of: str = "scene",
    sensor: str | None = None,
    descriptors: Sequence[BandDescriptor] | None = None,
    nodata: Nodata | None = None,
    scale: Factor | None = None,
    offset: Factor | None = None,
    level: str | None = None,
) -> xr.Dataset:
    """Return spectral indices as layers, and the statistics of each scene; lazy where the cube is.

    Parameters
    ----------
    cube : Dataset or DataArray
        A variable per band, or a band dimension; with or without time. Not modified.
    names : str or sequence of str
        ``'ndvi'``, ``'whiteness'``, ``'hot'``, ``'cloud_index'``, ``'nscd'``, which need blue, green, red and nir; and
        whatever spyndex defines, by its names, such as ``'NDWI'`` or ``'NDSI'``, for bands the cube has.
    of : {'scene', 'reflectance'}
        What they are computed of: the bands stretched from 0 to 1 over each scene, as ``model='4-4A'`` sees them, which
        needs no calibration; or reflectance, as ``model='physical'`` sees it.
    sensor, descriptors, nodata
        As for `predict`.
    scale, offset, level
        As for `predict`, for ``of='reflectance'``.

    Returns
    -------
    Dataset
        A variable per name, dims ``(time, y, x)`` or ``(y, x)``: float64 of stretched bands, float32 of reflectance;
        NaN outside the footprint. ``of='scene'`` adds ``scene_statistics`` float64 ``(time, quantity, statistic)`` of
        the five indices, green and nir: minimum, maximum, mean, standard deviation and quartiles of the values that
        are neither zero nor NaN, as 4-4A counts them, exact.

    Raises
    ------
    BandError, CloudMaskError
        A band is missing; a name or keyword is unknown.

    Examples
    --------
    >>> import xr_cloudmask
    >>> cube = xr_cloudmask.simulate.series(dates=1, size=(64, 64))
    >>> found = indices(cube, ["hot", "NDWI"])
    >>> list(found), found["hot"].dims
    (['hot', 'NDWI', 'scene_statistics'], ('time', 'y', 'x'))
    >>> float(found["scene_statistics"].sel(quantity="nir", statistic="max")[0])
    1.0
    """
    if of not in INPUTS:
        raise CloudMaskError(f"of={of!r}", f"one of {list(INPUTS)}", "indices(of='scene')")
    radiometry = {"scale": scale, "offset": offset, "level": level}
    given = [name for name, value in radiometry.items() if value is not None]
    if of == "scene" and given:
        raise CloudMaskError(f"{given} for of='scene'", "none: scenes are stretched as they are", "of='reflectance'")
    if not np.iterable(names):
        raise CloudMaskError(f"names={names!r}", "names of indices", f"names={list(OWN)}")
    names = [names] if isinstance(names, str) else list(names)
    described = DescribedCube.of(cube, Told(sensor, level, scale, offset, nodata, descriptors))
    if of == "reflectance":
        values = _reflectance(described, _needed(described.descriptors, names))
        return xr.Dataset({name: _index(name, values) for name in names}, coords=described.view.coords)
    values, statistics = _stretched(described)
    inside = reduce(and_, (band > 0 for band in values.values()))
    values = {role: band.where(inside) for role, band in values.items()}
    layers = {name: _index(name, values) for name in names}
    out = xr.Dataset({**layers, STATISTICS_NAME: statistics}, coords=described.view.coords)
    lazy = is_lazy(described.view, [band.name for band in described.descriptors])
    return out if lazy else out.compute(scheduler="threads")


def _needed(described: Sequence[BandDescriptor], names: Sequence[str]) -> list[BandDescriptor]:
    """Return the reflectance bands of some indices, one of each role."""
    roles = {role for name in names for role in _roles(name)}
    roles |= {STANDS_IN[role] for role in roles & set(STANDS_IN)}
    by_role = {band.role: band for band in reversed(described) if band.kind == "reflectance"}
    return [band for role, band in by_role.items() if role in roles]


def _reflectance(cube: DescribedCube, used: Sequence[BandDescriptor]) -> dict[str, xr.DataArray]:
    """Return reflectance by role, as models see it: NaN where there are no data."""
    if not used:
        return {}
    view, rules = cube.view, tuple(cube.calibrated(used).values())
    arrays = [dated(view, band.name) for band in used]
    if is_lazy(view, [band.name for band in used]):
        arrays = scenes.chunked(arrays)
        chunks = ((len(used),), *arrays[0].chunks)
        meta = np.empty((0,) * 4, "float32")
        stacked = arrays[0].map_blocks(_calibrated, *arrays[1:], rules=rules, new_axis=0, chunks=chunks, meta=meta)
    else:
        stacked = _calibrated(*arrays, rules=rules)
    stacked = stacked if view.time is not None else stacked[:, 0]
    return {str(band.role): xr.DataArray(values, dims=view.dims) for band, values in zip(used, stacked, strict=True)}


def _calibrated(*blocks: Any, rules: Sequence[Calibration], block_info: Any = None) -> Any:
    """Return the reflectance ``(band, date, y, x)`` of digital numbers ``(date, y, x)``."""
    first = block_info[0]["array-location"][0][0] if block_info else 0
    dates = [measured([block[i] for block in blocks], rules, first + i) for i in range(len(blocks[0]))]
    return np.stack([np.stack(of_date) for of_date in dates], axis=1)


def _stretched(cube: DescribedCube) -> tuple[dict[str, xr.DataArray], xr.DataArray]:
    """Return the stretched bands by role, and the statistics of each scene."""
    view = cube.view
    layers = _examined(cube, scene_layers.BANDS).layers
    values = {role: xr.DataArray(undated(view, layer), dims=view.dims) for role, layer in layers.items()}
    table = undated(view, _examined(cube, scene_layers.STATISTICS).statistics)
    count = len(NAMES) * len(STATISTICS)
    shape = (*table.shape[:-1], len(NAMES), len(STATISTICS))
    statistics = xr.DataArray(
        table[..., :count].reshape(shape),
        dims=(*view.dims[:-2], "quantity", STATISTIC_NAME),
        coords={"quantity": list(NAMES), STATISTIC_NAME: list(STATISTICS)},
        attrs={"long_name": "statistics of the scene's normalised bands and indices"},
    )
    return values, statistics


def _examined(cube: DescribedCube, spec: Any) -> scenes.SceneResult:
    used = spec.inputs(cube.descriptors)
    if not used:
        raise BandError(
            f"no band for {', '.join(spec.missing(cube.descriptors))}",
            spec.needs,
            "indices(descriptors=[BandDescriptor(...)])",
        )
    return scenes.examine(*scene_job(cube, spec, used))


def _index(name: str, values: Mapping[str, xr.DataArray]) -> xr.DataArray:
    """Compute an index of bands by role."""
    roles = _roles(name)
    found = {role: values.get(role, values.get(STANDS_IN.get(role, ""))) for role in roles}
    missing = [role for role, band in found.items() if band is None]
    if missing:
        raise BandError(
            f"no {', '.join(missing)} for index {name!r}", f"{', '.join(roles)}", "a cube, or of=, with these bands"
        )
    index: xr.DataArray = xr.apply_ufunc(
        _computed,
        *found.values(),
        kwargs={"name": name, "roles": tuple(roles)},
        dask="parallelized",
        output_dtypes=[next(iter(values.values())).dtype],
    )
    return index.assign_attrs(long_name=name)


def _computed(*bands: Any, name: str, roles: Sequence[str]) -> Any:
    with np.errstate(invalid="ignore", divide="ignore"):
        if name in OWN:
            return OWN[name](*bands)
        spyndex = _spyndex()
        given = dict(zip(roles, bands, strict=True))
        letters = {key: given[band.common_name] for key, band in spyndex.bands.items() if band.common_name in given}
        constants = {key: constant.default for key, constant in spyndex.constants.items()}
        needed = {key: {**constants, **letters}[key] for key in spyndex.indices[name].bands}
        return spyndex.computeIndex(name, needed)


def _spyndex() -> Any:
    return require("spyndex", "indices", f"indices other than {', '.join(OWN)}")


def _roles(name: str) -> Sequence[str]:
    return VISIBLE_NIR if name in OWN else _roles_of_spyndex(name)


def _roles_of_spyndex(name: str) -> list[str]:
    """Return the roles of the bands of an index that spyndex defines."""
    spyndex = _spyndex()
    if name not in spyndex.indices:
        raise CloudMaskError(
            f"index {name!r}", f"one of {list(OWN)}, or a name that spyndex defines", "list(spyndex.indices)"
        )
    letters = [letter for letter in spyndex.indices[name].bands if letter not in spyndex.constants]
    return [spyndex.bands[letter].common_name if letter in spyndex.bands else letter for letter in letters]
