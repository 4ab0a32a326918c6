"""Limits of cloud, shadow and gaps that scenes of a catalogue are chosen by."""

from __future__ import annotations

from xr_cloudmask.names import CLOUD_FRACTION, CLOUD_SHADOW_FRACTION, VALID_FRACTION

# What `filter` compares: a column, and on which side of the limit scenes are kept.
FILTERS = {
    "max_cloud": (CLOUD_FRACTION, "<="),
    "max_shadow": (CLOUD_SHADOW_FRACTION, "<="),
    "min_valid": (VALID_FRACTION, ">="),
}
