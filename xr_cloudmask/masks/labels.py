"""From class probabilities to labels, from one scheme to another, and which labels are clear."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import xarray as xr

from xr_cloudmask.errors import CloudMaskError
from xr_cloudmask.masks.quality import from_quality, is_quality
from xr_cloudmask.masks.schemes import SCHEMES, Scheme, clear_codes, flag_attrs, is_own, scheme_of
from xr_cloudmask.names import FORMER_MASK_NAME, MASK_NAME, MASK_VARIABLES

XarrayT = TypeVar("XarrayT", xr.Dataset, xr.DataArray, xr.Dataset | xr.DataArray)

DECISIONS = ("sum", "argmax")


def is_mask(obj: xr.Dataset | xr.DataArray) -> bool:
    """Whether an object is a mask and nothing else: predict's Dataset or its variable."""
    if isinstance(obj, xr.Dataset):
        obj = renamed(obj)
        return MASK_NAME in obj.data_vars and set(_of_pixels(obj)) <= set(MASK_VARIABLES)
    return "flag_values" in obj.attrs or obj.attrs.get("scheme") in SCHEMES


def _with_its_crs(obj: xr.Dataset | xr.DataArray) -> xr.DataArray:
    """Return the mask in an object; `xarray.open_dataset` makes a CRS a variable, which would stay behind."""
    mask = obj[MASK_NAME]
    mapping = mask.encoding.get("grid_mapping", mask.attrs.get("grid_mapping"))
    if isinstance(obj, xr.Dataset) and mapping in obj.data_vars:
        return obj.set_coords(mapping)[MASK_NAME]
    return mask


def _of_pixels(obj: xr.Dataset) -> list[Hashable]:
    """Return the variables on the mask's pixels; a CRS that a file keeps as a variable is on none."""
    dims = set(obj[MASK_NAME].dims)
    return [name for name, layer in obj.data_vars.items() if dims <= set(layer.dims)]


def carries_mask(obj: xr.Dataset | xr.DataArray) -> bool:
    """Whether a Dataset has a mask among its variables, or a DataArray among its coordinates."""
    return MASK_NAME in _layers(renamed(obj))


def renamed(obj: XarrayT) -> XarrayT:
    """Return an object whose mask has the name of today; version 0.1 had another one.

    Examples
    --------
    >>> former = xr.Dataset({"cloudmask": ("x", np.uint8([0, 1]), {"scheme": "binary"})})
    >>> list(renamed(former))
    ['cloud_mask']
    """
    layers = _layers(obj)
    former = layers.get(FORMER_MASK_NAME)
    if former is None or MASK_NAME in layers or not {"scheme", "flag_values"} & set(former.attrs):
        return obj
    return obj.rename({FORMER_MASK_NAME: MASK_NAME})


def _layers(obj: xr.Dataset | xr.DataArray) -> Mapping[Any, Any]:
    return obj.variables if isinstance(obj, xr.Dataset) else obj.coords


def mask_of(obj: xr.Dataset | xr.DataArray) -> xr.DataArray:
    """Return the mask in predict's Dataset, in a cube that carries one, or the mask itself."""
    if not isinstance(obj, xr.Dataset | xr.DataArray):
        raise CloudMaskError(
            f"a mask of type {type(obj).__name__}", "predict()'s Dataset or a mask DataArray", "mask=out"
        )
    if carries_mask(obj):
        return _with_its_crs(renamed(obj))
    if isinstance(obj, xr.DataArray) and is_own(obj):
        return obj
    if is_quality(obj):
        return from_quality(obj)[MASK_NAME]
    raise CloudMaskError(
        f"a {type(obj).__name__} without a {MASK_NAME!r} variable",
        f"predict()'s Dataset, a cube with a {MASK_NAME!r} variable, or a mask DataArray with flag attributes",
        "cube.cloudmask.predict(), or pass mask=",
    )


@dataclass(frozen=True)
class Labeller:
    """Turn a model's class probabilities into a scheme's labels; what travels in a dask graph.

    A class of the network's own for missing data counts only where the scheme tells apart whatever the network does.
    Elsewhere the engine alone says where data are missing.

    Attributes
    ----------
    names : tuple of str
        The scheme's classes that the model can tell.
    codes : tuple of int
        Their codes.
    members : tuple of tuple of int
        For each, the positions of the model's classes that it gathers.
    no_data : int
    winners : tuple of int or None
        For each of the model's classes, the code of a pixel where it is the most probable one; None where
        probabilities are summed first.
    """

    names: tuple[str, ...]
    codes: tuple[int, ...]
    members: tuple[tuple[int, ...], ...]
    no_data: int
    winners: tuple[int, ...] | None = None

    @classmethod
    def of(cls, scheme: Scheme, native_classes: Sequence[str], decision: str = "sum") -> Labeller:
        """Match a scheme with a model's classes; a class that fits none is an error.

        Parameters
        ----------
        scheme : Scheme
        native_classes : sequence of str
        decision : {'sum', 'argmax'}
            Whether the probabilities of all the native classes that a class gathers are summed before the most
            probable one wins, or the most probable native class is translated. There, the network's own class for
            missing data becomes the scheme's first class where the scheme has no place for it.
        """
        if decision not in DECISIONS:
            raise CloudMaskError(f"decision {decision!r}", f"one of {list(DECISIONS)}", "decision='sum'")
        homeless = [name for name in native_classes if not any(name in entry.gathers for entry in scheme.classes)]
        homeless = [name for name in homeless if name != "no_data"]
        if homeless:
            raise CloudMaskError(
                f"scheme {scheme.name!r} for a model that tells apart {list(native_classes)}",
                f"a scheme with room for {homeless}",
                "scheme='cloudsen12', 'binary', 'validity' or 'native'",
            )
        found = [
            (entry.name, entry.code, tuple(i for i, name in enumerate(native_classes) if name in entry.gathers))
            for entry in scheme.classes
        ]
        found = [entry for entry in found if entry[2]]
        missing = [i for i, name in enumerate(native_classes) if name == "no_data"]
        as_fine_as_the_model = all(len(members) == 1 for _, _, members in found)
        if as_fine_as_the_model:
            found += [("no_data", scheme.no_data, (i,)) for i in missing]
        names, codes, members = zip(*found, strict=True)
        if decision == "sum":
            return cls(names, codes, members, scheme.no_data)
        winners = {i: code for _, code, positions in found for i in positions}
        return cls(
            names,
            codes,
            members,
            scheme.no_data,
            tuple(winners.get(i, codes[0]) for i in range(len(native_classes))),
        )

    def gather(self, probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Sum native probabilities ``(class, y, x)`` into the scheme's classes."""
        if self.members == tuple((i,) for i in range(len(probabilities))):
            return probabilities
        return np.stack([probabilities[list(members)].sum(axis=0) for members in self.members])

    def label(self, probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
        """Return a code for each pixel of native probabilities ``(class, y, x)``; the first class wins a tie."""
        codes = self.codes if self.winners is None else self.winners
        ranked = self.gather(probabilities) if self.winners is None else probabilities
        labels: npt.NDArray[np.uint8] = np.asarray(codes, dtype="uint8")[ranked.argmax(axis=0)]
        return labels

    def agreeing(
        self, codes: npt.NDArray[np.uint8], votes: npt.NDArray[np.uint8], judged: Sequence[Sequence[int]]
    ) -> npt.NDArray[np.uint8]:
        """Return how many networks say what each label stands for.

        Parameters
        ----------
        codes : ndarray
            Labels ``(y, x)``.
        votes : ndarray
            uint8 ``(judged, y, x)``: how many networks say each of
        judged : sequence of sequence of int
            what is judged, as positions of the native classes.
        """
        out = np.zeros_like(codes)
        for code, members in zip(self.codes, self.members, strict=True):
            meant = [i for i, positions in enumerate(judged) if set(positions) & set(members)]
            np.copyto(out, votes[meant].sum(axis=0, dtype="uint8"), where=codes == code)
        return out


def codes_of(scheme: Scheme, native_classes: Sequence[str]) -> npt.NDArray[np.uint8]:
    """Return the code of each of a model's classes by its position, and that of no data everywhere else; ``(256,)``.

    Examples
    --------
    >>> codes_of(SCHEMES["binary"], ["clear", "thick_cloud", "cloud_shadow"])[[0, 1, 2, 255]]
    array([  0,   1,   0, 255], dtype=uint8)
    """
    table = np.full(256, scheme.no_data, dtype="uint8")
    table[: len(native_classes)] = Labeller.of(scheme, native_classes, "argmax").winners
    return table


def recoded(codes: Any, table: npt.NDArray[np.uint8]) -> Any:
    """Look every code of an array up in a table ``(256,)``; lazy where the array is."""
    if isinstance(codes, np.ndarray):
        return table.take(codes)
    return codes.map_blocks(table.take, dtype="uint8", meta=np.empty((0,) * codes.ndim, "uint8"))


def to_scheme(mask: xr.DataArray, name: str) -> xr.DataArray:
    """Translate a mask into another scheme; lazy where the mask is.

    Parameters
    ----------
    mask : DataArray
        uint8, any dims, with flag attributes.
    name : {'cloudsen12', 'sensei', 'binary', 'validity', '4-4A'}

    Returns
    -------
    DataArray
        uint8, same dims and coords.

    Raises
    ------
    CloudMaskError
        The target tells apart what the mask does not.

    Examples
    --------
    >>> mask = xr.DataArray(np.uint8([[0, 1, 3, 255]]), dims=("y", "x"), attrs=flag_attrs(SCHEMES["cloudsen12"]))
    >>> to_scheme(mask, "validity").values
    array([[  0,   1,   1, 255]], dtype=uint8)
    """
    if name not in SCHEMES:
        raise CloudMaskError(f"scheme {name!r}", f"one of {list(SCHEMES)}", "to_scheme('cloudsen12')")
    source, target = scheme_of(mask), SCHEMES[name]
    if source == target:
        return mask
    table = np.full(256, target.no_data, dtype="uint8")
    for entry in source.classes:
        homes = [home.code for home in target.classes if set(entry.gathers) <= set(home.gathers)]
        if not homes:
            raise CloudMaskError(
                f"a mask in scheme {source.name!r}, whose class {entry.name!r} stands for {list(entry.gathers)}",
                f"a mask that tells apart the classes of {target.name!r}: {[home.name for home in target.classes]}",
                f"predict(..., scheme={target.name!r}) with a model that tells them apart",
            )
        table[entry.code] = homes[0]
    kept = {key: value for key, value in mask.attrs.items() if key not in flag_attrs(source)}
    out = mask.copy(deep=False, data=recoded(mask.data if mask.chunks else mask.values, table))
    out.attrs = {**kept, **flag_attrs(target)}
    return out


def clear(mask: xr.DataArray, keep: str | Sequence[str] = "clear") -> xr.DataArray:
    """Return where a mask is clear, as booleans; lazy where the mask is.

    No data is never clear.

    Parameters
    ----------
    mask : DataArray
        uint8 with flag attributes.
    keep : str or sequence of str, default 'clear'
        Class names to keep. ``'clear'`` means every class that is neither cloud nor shadow, in any scheme.

    Returns
    -------
    DataArray
        bool, same dims.

    Examples
    --------
    >>> mask = xr.DataArray(np.uint8([0, 1, 3, 255]), dims="x", attrs=flag_attrs(SCHEMES["cloudsen12"]))
    >>> clear(mask).values
    array([ True, False, False, False])
    >>> clear(mask, keep=["clear", "cloud_shadow"]).values
    array([ True, False,  True, False])
    """
    scheme = scheme_of(mask)
    names = [keep] if isinstance(keep, str) else list(keep)
    codes = [code for name in names for code in _codes(scheme, name)]
    out: xr.DataArray = mask.isin(codes)
    out.attrs = {"long_name": f"{' or '.join(names)} according to {mask.name or MASK_NAME}"}
    return out


def _codes(scheme: Scheme, name: str) -> tuple[int, ...]:
    return clear_codes(scheme) if name == "clear" else (scheme.code(name),)
