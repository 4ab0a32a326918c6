"""The layers and statistics that index pipelines decide by, for people who tune thresholds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from operator import and_
from typing import Any

import numpy as np
import xarray as xr

from xr_cloudmask.cube import bands, calibration, layout
from xr_cloudmask.cube.bands import BandDescriptor
from xr_cloudmask.cube.calibration import Calibration, Factor
from xr_cloudmask.cube.layout import Cube, CubeView
from xr_cloudmask.engine import scenes, tile
from xr_cloudmask.errors import BandError, CloudMaskError
from xr_cloudmask.models.index import formulas
from xr_cloudmask.models.index import layers as scene_layers
from xr_cloudmask.models.index.scene import NAMES
from xr_cloudmask.predict import dated, is_lazy, scene_job, undated

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
    names: Sequence[str] = tuple(OWN),
    *,
    of: str = "scene",
    sensor: str | None = None,
    descriptors: Sequence[BandDescriptor] | None = None,
    nodata: float | None = None,
    scale: Factor | None = None,
    offset: Factor | None = None,
    level: str | None = None,
) -> xr.Dataset:
    """Return spectral indices as layers, and the statistics of each scene; lazy where the cube is.

    Parameters
    ----------
    cube : Dataset or DataArray
        A variable per band, or a band dimension; with or without time. Not modified.
    names : sequence of str
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
    view = layout.view(cube)
    described = bands.describe(view, sensor, descriptors)
    if of == "reflectance":
        values = _reflectance(view, _needed(described, names), {"sensor": sensor, "nodata": nodata, **radiometry})
        return xr.Dataset({name: _index(name, values) for name in names}, coords=view.coords)
    values, statistics = _stretched(view, described, nodata)
    inside = reduce(and_, (band > 0 for band in values.values()))
    values = {role: band.where(inside) for role, band in values.items()}
    layers = {name: _index(name, values) for name in names}
    out = xr.Dataset({**layers, "scene_statistics": statistics}, coords=view.coords)
    return out if is_lazy(view, described) else out.compute(scheduler="threads")


def _needed(described: Sequence[BandDescriptor], names: Sequence[str]) -> list[BandDescriptor]:
    """Return the reflectance bands of some indices, one of each role."""
    roles = {role for name in names for role in _roles(name)}
    roles |= {STANDS_IN[role] for role in roles & set(STANDS_IN)}
    by_role = {band.role: band for band in reversed(described) if band.kind == "reflectance"}
    return [band for role, band in by_role.items() if role in roles]


def _reflectance(
    view: CubeView, used: Sequence[BandDescriptor], radiometry: Mapping[str, Any]
) -> dict[str, xr.DataArray]:
    """Return reflectance by role, as models see it: NaN where there are no data."""
    if not used:
        return {}
    rules = calibration.calibrate(view, used, **radiometry).calibrations
    arrays = [dated(view, band.name) for band in used]
    if is_lazy(view, used):
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
    alone = [(i,) for i in range(len(blocks))]
    dates = [
        tile.model_pixels([block[i] for block in blocks], rules, 1, first + i, alone)[0] for i in range(len(blocks[0]))
    ]
    return np.stack([np.stack(of_date) for of_date in dates], axis=1)


def _stretched(
    view: CubeView, described: Sequence[BandDescriptor], nodata: float | None
) -> tuple[dict[str, xr.DataArray], xr.DataArray]:
    """Return the stretched bands by role, and the statistics of each scene."""
    layers = _examined(view, scene_layers.BANDS, described, nodata).layers
    values = {role: xr.DataArray(undated(view, layer), dims=view.dims) for role, layer in layers.items()}
    table = undated(view, _examined(view, scene_layers.STATISTICS, described, nodata).statistics)
    dated = view.dims[:-2]
    count = len(NAMES) * len(STATISTICS)
    shape = (*table.shape[:-1], len(NAMES), len(STATISTICS))
    statistics = xr.DataArray(
        table[..., :count].reshape(shape),
        dims=(*dated, "quantity", "statistic"),
        coords={"quantity": list(NAMES), "statistic": list(STATISTICS)},
        attrs={"long_name": "statistics of the scene's normalised bands and indices"},
    )
    return values, statistics


def _examined(
    view: CubeView, spec: Any, described: Sequence[BandDescriptor], nodata: float | None
) -> scenes.SceneResult:
    used = spec.inputs(described)
    if not used:
        raise BandError(
            f"no band for {', '.join(spec.missing(described))}",
            spec.needs,
            "indices(descriptors=[BandDescriptor(...)])",
        )
    return scenes.examine(*scene_job(view, spec, used, nodata))


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
        import spyndex

        given = dict(zip(roles, bands, strict=True))
        letters = {key: given[band.common_name] for key, band in spyndex.bands.items() if band.common_name in given}
        constants = {key: constant.default for key, constant in spyndex.constants.items()}
        needed = {key: {**constants, **letters}[key] for key in spyndex.indices[name].bands}
        return spyndex.computeIndex(name, needed)


def _roles(name: str) -> Sequence[str]:
    return VISIBLE_NIR if name in OWN else _roles_of_spyndex(name)


def _roles_of_spyndex(name: str) -> list[str]:
    """Return the roles of the bands of an index that spyndex defines."""
    import spyndex

    if name not in spyndex.indices:
        raise CloudMaskError(
            f"index {name!r}", f"one of {list(OWN)}, or a name that spyndex defines", "list(spyndex.indices)"
        )
    letters = [letter for letter in spyndex.indices[name].bands if letter not in spyndex.constants]
    return [spyndex.bands[letter].common_name if letter in spyndex.bands else letter for letter in letters]
