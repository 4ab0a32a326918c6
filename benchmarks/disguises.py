"""One scene in many disguises: what its mask has in common with the undisguised one's."""

from __future__ import annotations

import sys
import warnings

import numpy as np

from benchmarks.common import TESTS, row


def disguises() -> None:
    """Agreement outside of the gap, and whether no data lies where it belongs; or the one clear error."""
    sys.path.insert(0, str(TESTS))
    from disguises import DISGUISES, GAP, LEVEL, PATCH, SIZE, cube, scene

    from xr_cloudmask import CloudMaskError, predict

    values = scene()
    row("scene", "real Sentinel-2 patch" if PATCH.exists() else "simulated: ../shared is absent")
    plain = {
        gap: predict(cube(values, gap=fill), **LEVEL)["cloud_mask"].values for gap, fill in ((1, np.nan), (0, None))
    }
    inside = np.zeros((SIZE, SIZE), bool)
    inside[GAP] = True
    for disguise in DISGUISES:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                mask = predict(disguise.make(values), **disguise.told)["cloud_mask"]
            except CloudMaskError as error:
                row(f"disguise: {disguise.name}", f"error: {error.found[:90]}")
                continue
        spatial = sorted((dim for dim in mask.dims if dim != "time"), key=lambda dim: dim in ("x", "lon", "longitude"))
        found = mask.transpose(..., *spatial).values.reshape(-1, SIZE, SIZE)[0]
        gap = (found == 255)[inside].all() if disguise.gap else True
        beside = (found == 255)[~inside].sum()
        same = (found == plain[int(disguise.gap)])[~inside].mean()
        row(
            f"disguise: {disguise.name}",
            f"{same:.4f} alike; gap {'no data' if gap else 'WRONG'}, {beside} pixels beside",
        )
