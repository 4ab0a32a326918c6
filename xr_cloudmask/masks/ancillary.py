"""CF's ``ancillary_variables``: bands name the layers that say how good they are."""

from __future__ import annotations

from collections.abc import Iterable

import xarray as xr

from xr_cloudmask.names import MASK_VARIABLES

ATTRIBUTE = "ancillary_variables"


def named(values: xr.DataArray, layers: Iterable[str]) -> xr.DataArray:
    """Return a band that names some layers, besides those that it names already.

    Examples
    --------
    >>> band = xr.DataArray([1], dims="x", attrs={"ancillary_variables": "SCL"})
    >>> named(band, ["mask"]).attrs["ancillary_variables"]
    'SCL mask'
    """
    return _saying(values, dict.fromkeys([*_said(values), *layers]))


def unnamed(values: xr.DataArray, layers: Iterable[str] = MASK_VARIABLES) -> xr.DataArray:
    """Return a band that does not name some layers, which do not come with it."""
    said, absent = _said(values), set(layers)
    return _saying(values, [name for name in said if name not in absent]) if absent & set(said) else values


def _said(values: xr.DataArray) -> list[str]:
    """Return what a band names; xarray keeps that in the encoding of what it read with ``decode_coords='all'``."""
    return str(values.attrs.get(ATTRIBUTE, values.encoding.get(ATTRIBUTE, ""))).split()


def _saying(values: xr.DataArray, layers: Iterable[str]) -> xr.DataArray:
    out = values.copy(deep=False)
    out.encoding.pop(ATTRIBUTE, None)
    out.attrs.pop(ATTRIBUTE, None)
    text = " ".join(layers)
    return out.assign_attrs({ATTRIBUTE: text}) if text else out
