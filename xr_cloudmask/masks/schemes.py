"""Class schemes of a mask, as data, with their colours and CF flags.

A scheme's class gathers what models can tell apart (`VOCABULARY`). That alone decides every mapping: a class can
become another scheme's class only if all it gathers is gathered there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from xr_cloudmask.errors import CloudMaskError, refusing

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
    named = mask.attrs.get("scheme")
    if isinstance(named, str) and named in SCHEMES:
        return SCHEMES[named]
    if "flag_values" not in mask.attrs or "flag_meanings" not in mask.attrs:
        raise CloudMaskError(
            f"a DataArray {str(mask.name)!r} without flag attributes",
            "a mask: flag_values and flag_meanings in attrs, as predict() writes them",
            "pass predict()'s result; where attrs were dropped: mask.assign_attrs(scheme='cloudsen12')",
        )
    if not is_own(mask):
        raise CloudMaskError(
            f"a DataArray {str(mask.name)!r} with flags {mask.attrs['flag_meanings']!r}",
            "a mask, or a quality band that was read as one",
            "cube.cloudmask.from_quality('SCL'), or mask= of a method, which reads it",
        )
    with refusing(
        CloudMaskError,
        f"flag_values {mask.attrs['flag_values']!s:.80} and flag_meanings {mask.attrs['flag_meanings']!s:.80}",
        "a whole number for each word of flag_meanings",
        "mask.assign_attrs(scheme='cloudsen12'), or the flags as predict() writes them",
    ):
        codes = [int(code) for code in np.atleast_1d(mask.attrs["flag_values"])]
        flags = dict(zip(str(mask.attrs["flag_meanings"]).split(), codes, strict=True))
    no_data = flags.pop("no_data", flags.get(CLEAR_OR_NO_DATA, 255))
    return _scheme_of_names(str(mask.attrs.get("scheme", "native")), list(flags), list(flags.values()), no_data)


def is_own(mask: xr.DataArray) -> bool:
    """Whether a mask names a scheme, or its flags are words of schemes: not of another's quality band.

    Examples
    --------
    >>> is_own(xr.DataArray(0, attrs={"flag_values": [0, 9], "flag_meanings": "clear cloud_high_probability"}))
    False
    """
    if "scheme" in mask.attrs:
        return True
    words = str(mask.attrs.get("flag_meanings", "")).split()
    own = {entry.name for scheme in SCHEMES.values() for entry in scheme.classes} | set(VOCABULARY)
    return "flag_values" in mask.attrs and bool(words) and set(words) <= own


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
