"""Limits of cloud, shadow and gaps that scenes of a catalogue are chosen by."""

from __future__ import annotations

from xr_cloudmask.errors import CatalogError
from xr_cloudmask.names import CLOUD_FRACTION, CLOUD_SHADOW_FRACTION, VALID_FRACTION

# What `filter` compares: a column, and on which side of the limit scenes are kept.
FILTERS = {
    "max_cloud": (CLOUD_FRACTION, "<="),
    "max_shadow": (CLOUD_SHADOW_FRACTION, "<="),
    "min_valid": (VALID_FRACTION, ">="),
}


def as_fraction(name: str, limit: float) -> float:
    """Return a limit as a fraction: below 1 it is one, above it is percent.

    Raises
    ------
    CatalogError
        1, which could be either, and what is neither.

    Examples
    --------
    >>> as_fraction("max_cloud", 15), as_fraction("max_cloud", 0.15)
    (0.15, 0.15)
    """
    if 0 <= limit < 1:
        return float(limit)
    if 1 < limit <= 100:
        return limit / 100
    everything = "leave it out for all scenes" if name.startswith("max") else "100 for scenes without a gap"
    found = f"{name}={limit!r}" + ", which is 1 % or everything" * (limit == 1)
    raise CatalogError(found, "a fraction below 1, or percent above 1", f"{name}=0.01 for one percent; {everything}")
