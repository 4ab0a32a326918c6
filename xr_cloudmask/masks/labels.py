"""Class schemes of a mask, their CF flag attributes and colours, and the way from one scheme to another.

A scheme's class gathers what models can tell apart (`VOCABULARY`). That alone decides every mapping: a class can
become another scheme's class only if all it gathers is gathered there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xr_cloudmask.errors import CloudMaskError
from xr_cloudmask.names import MASK_NAME, MASK_VARIABLES

SURFACES = ("clear", "land", "water", "snow")
CLOUDS = ("thick_cloud", "thin_cloud")
VOCABULARY = (*SURFACES, *CLOUDS, "cloud_shadow", "no_data")

CLEAR_OR_NO_DATA = "clear_or_no_data"


@dataclass(frozen=True)
class MaskClass:
    """One class of a scheme.

    Attributes
    ----------
    code : int
        Value in the mask.
    name : str
        CF flag meaning: no spaces.
    color : str
        ``#rrggbb``.
    gathers : tuple of str
        Names of `VOCABULARY` that this class stands for.
    """

    code: int
    name: str
    color: str
    gathers: tuple[str, ...]


@dataclass(frozen=True)
class Scheme:
    """A set of classes and their codes.

    Attributes
    ----------
    name : str
    classes : tuple of MaskClass
        Without no data, by code.
    no_data : int
        Code of pixels without data.
    """

    name: str
    classes: tuple[MaskClass, ...]
    no_data: int = 255

    @property
    def tells_no_data(self) -> bool:
        """Whether pixels without data have a code of their own."""
        return self.no_data not in {entry.code for entry in self.classes}

    def code(self, name: str) -> int:
        """Return the code of a class by its name."""
        for entry in self.classes:
            if entry.name == name:
                return entry.code
        names = [entry.name for entry in self.classes]
        raise CloudMaskError(f"class {name!r}", f"a class of scheme {self.name!r}: {names}", f"keep={names[0]!r}")


GREEN, WHITE, BLUE, VIOLET, BLACK = "#5f9e6e", "#f5f5f0", "#8fc1e3", "#4a3f6b", "#000000"

SCHEMES: Mapping[str, Scheme] = {
    scheme.name: scheme
    for scheme in (
        Scheme(  # CloudSEN12, https://doi.org/10.1038/s41597-022-01878-2
            "cloudsen12",
            (
                MaskClass(0, "clear", GREEN, SURFACES),
                MaskClass(1, "thick_cloud", WHITE, ("thick_cloud",)),
                MaskClass(2, "thin_cloud", BLUE, ("thin_cloud",)),
                MaskClass(3, "cloud_shadow", VIOLET, ("cloud_shadow",)),
            ),
        ),
        Scheme(  # SEnSeIv2, https://doi.org/10.1109/TGRS.2024.3391625
            "sensei",
            (
                MaskClass(0, "land", GREEN, ("land",)),
                MaskClass(1, "water", "#2f6f9f", ("water",)),
                MaskClass(2, "snow", "#d6ecfa", ("snow",)),
                MaskClass(3, "thin_cloud", BLUE, ("thin_cloud",)),
                MaskClass(4, "thick_cloud", WHITE, ("thick_cloud",)),
                MaskClass(5, "cloud_shadow", VIOLET, ("cloud_shadow",)),
            ),
            no_data=6,
        ),
        Scheme(
            "binary",
            (
                MaskClass(0, "clear", GREEN, (*SURFACES, "cloud_shadow")),
                MaskClass(1, "cloud", WHITE, CLOUDS),
            ),
        ),
        Scheme(
            "validity",
            (
                MaskClass(0, "valid", GREEN, SURFACES),
                MaskClass(1, "invalid", "#c8553d", (*CLOUDS, "cloud_shadow")),
            ),
        ),
        Scheme(  # the codes of the 4-4A notebook, whose files have the same 0 for clear and for no data
            "4-4A",
            (
                MaskClass(0, CLEAR_OR_NO_DATA, GREEN, (*SURFACES, "no_data")),
                MaskClass(100, "cloud_shadow", VIOLET, ("cloud_shadow",)),
                MaskClass(200, "cloud", WHITE, CLOUDS),
            ),
            no_data=0,
        ),
    )
}
SCHEME_NAMES = (*SCHEMES, "native")
# Of a layer beside the mask, not of a mask: a cloud over water can be both.
WATER = Scheme("water", (MaskClass(0, "no_water", GREEN, ()), MaskClass(1, "water", "#2f6f9f", ("water",))))
NATIVE_COLORS = {entry.name: entry.color for scheme in ("sensei", "cloudsen12") for entry in SCHEMES[scheme].classes}


def scheme_for(name: str, native_classes: Sequence[str]) -> Scheme:
    """Return a scheme by name; ``"native"`` is the model's own classes in its own order."""
    if name == "native":
        codes = {entry: code for code, entry in enumerate(native_classes)}
        no_data = codes.pop("no_data", 255)
        return _scheme_of_names("native", list(codes), list(codes.values()), no_data)
    if name not in SCHEMES:
        raise CloudMaskError(f"scheme {name!r}", f"one of {list(SCHEME_NAMES)}", "scheme='cloudsen12'")
    return SCHEMES[name]


def _scheme_of_names(name: str, class_names: Sequence[str], codes: Sequence[int], no_data: int = 255) -> Scheme:
    gathers = {entry.name: entry.gathers for scheme in SCHEMES.values() for entry in scheme.classes}
    classes = [
        MaskClass(
            code,
            entry,
            NATIVE_COLORS.get(entry, "#808080"),
            gathers.get(entry, (entry,)) if name != "native" else (entry,),
        )
        for entry, code in zip(class_names, codes, strict=True)
    ]
    return Scheme(name, tuple(classes), no_data)


def flag_attrs(scheme: Scheme) -> dict[str, Any]:
    """Return the CF attributes that make a mask explain itself.

    Source: CF conventions 1.11, section 3.5 (flags). ``flag_colors`` is the GDAL, xcube and THREDDS habit.

    Examples
    --------
    >>> flag_attrs(SCHEMES["binary"])["flag_meanings"]
    'clear cloud no_data'
    """
    flags = list(scheme.classes)
    if scheme.tells_no_data:
        flags.append(MaskClass(scheme.no_data, "no_data", BLACK, ()))
    return {
        "standard_name": "status_flag",
        "long_name": "cloud mask",
        "flag_values": np.array([entry.code for entry in flags], dtype="uint8"),
        "flag_meanings": " ".join(entry.name for entry in flags),
        "flag_colors": " ".join(entry.color for entry in flags),
        "nodata": scheme.no_data,  # for rioxarray; xarray does not decode it
        "scheme": scheme.name,
    }


def scheme_of(mask: xr.DataArray) -> Scheme:
    """Return the scheme of a mask, from its ``scheme`` attribute or from its CF flags."""
    if mask.dtype != "uint8":
        # Attributes survive comparisons and arithmetic: a boolean would be taken for codes 0 and 1.
        raise CloudMaskError(
            f"a mask of dtype {mask.dtype}",
            "uint8 codes, as predict() gives them",
            "mask.fillna(255).astype('uint8') for codes that became floats; cube.where(condition) for booleans",
        )
    if mask.attrs.get("scheme") in SCHEMES:
        return SCHEMES[mask.attrs["scheme"]]
    if "flag_values" not in mask.attrs or "flag_meanings" not in mask.attrs:
        raise CloudMaskError(
            f"a DataArray {str(mask.name)!r} without flag attributes",
            "a mask: flag_values and flag_meanings in attrs, as predict() writes them",
            "pass predict()'s result; where attrs were dropped: mask.assign_attrs(scheme='cloudsen12')",
        )
    codes = [int(code) for code in np.atleast_1d(mask.attrs["flag_values"])]
    flags = dict(zip(str(mask.attrs["flag_meanings"]).split(), codes, strict=True))
    no_data = flags.pop("no_data", flags.get(CLEAR_OR_NO_DATA, 255))
    return _scheme_of_names(str(mask.attrs.get("scheme", "native")), list(flags), list(flags.values()), no_data)


def is_mask(obj: xr.Dataset | xr.DataArray) -> bool:
    """Whether an object is a mask and nothing else: predict's Dataset or its variable."""
    if isinstance(obj, xr.Dataset):
        return MASK_NAME in obj and set(obj.data_vars) <= set(MASK_VARIABLES)
    return "flag_values" in obj.attrs or obj.attrs.get("scheme") in SCHEMES


def mask_of(obj: xr.Dataset | xr.DataArray) -> xr.DataArray:
    """Return the mask in predict's Dataset, in a cube that carries one, or the mask itself."""
    if not isinstance(obj, xr.Dataset | xr.DataArray):
        raise CloudMaskError(
            f"a mask of type {type(obj).__name__}", "predict()'s Dataset or a mask DataArray", "mask=out"
        )
    if MASK_NAME in obj.coords or (isinstance(obj, xr.Dataset) and MASK_NAME in obj):
        return obj[MASK_NAME]
    if isinstance(obj, xr.DataArray) and is_mask(obj):
        return obj
    raise CloudMaskError(
        f"a {type(obj).__name__} without a {MASK_NAME!r} variable",
        f"predict()'s Dataset, a cube with a {MASK_NAME!r} variable, or a mask DataArray with flag attributes",
        "cube.cloudmask.predict(), or pass mask=",
    )


DECISIONS = ("sum", "argmax")


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
    out = mask.copy(data=recoded(mask.data if mask.chunks else mask.values, table))
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


def clear_codes(scheme: Scheme) -> tuple[int, ...]:
    """Return the codes of every class that is neither cloud nor shadow.

    Raises
    ------
    CloudMaskError
        There is none, or it is no data too.
    """
    # By meaning: land, water and snow are clear too; binary's "clear", which hides shadows, is the best it has.
    surfaces = [c for c in scheme.classes if c.gathers and set(c.gathers) <= set(SURFACES)]
    found = tuple(c.code for c in scheme.classes if c.name == "clear" or c in surfaces)
    if not found or scheme.name == WATER.name:
        raise CloudMaskError(
            f"a mask in scheme {scheme.name!r}, none of whose classes is clear alone: "
            f"{[c.name for c in scheme.classes]}",
            "a mask that tells what is clear",
            "predict(scheme='cloudsen12')",
        )
    return found
