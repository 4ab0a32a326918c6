"""Walks through boosted trees, compiled; imported late."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from xr_cloudmask.compiled import compiled

PIXELS = 512  # that pass through a tree before the next one comes: they and the tree stay in the cache
SLOTS, LANES = np.uint64(16), 4  # pixels at once, so that one waits for memory while others go on
FEATURE, NODE = np.uint64(15), np.uint64(0x3FFF)
BELOW, ABOVE, LIMIT = np.uint64(4), np.uint64(18), np.uint64(32)
ROOT, ONE, TWO, THREE = np.uint64(0), np.uint64(16), np.uint64(32), np.uint64(48)


@compiled
def walk(
    slots: npt.NDArray[np.uint32],
    nodes: npt.NDArray[np.uint64],
    values: npt.NDArray[np.float64],
    odds: npt.NDArray[np.float64],
) -> None:
    """Add what every tree says of each pixel, 16 flat numbers each, to `odds`; see `models.boosted`."""
    trees, leaves = values.shape
    inner = np.uint64(nodes.shape[1] - leaves)
    for first in range(0, odds.size, PIXELS):
        last = min(odds.size, first + PIXELS)
        for tree in range(trees):
            node, value = nodes[tree], values[tree]
            for pixel in range(first, last - LANES + 1, LANES):
                at = np.uint64(pixel) * SLOTS
                a, b, c, d = ROOT, ROOT, ROOT, ROOT
                while True:
                    n = node[a]
                    a = (n >> (ABOVE if np.uint64(slots[at + (n & FEATURE)]) > (n >> LIMIT) else BELOW)) & NODE
                    n = node[b]
                    b = (n >> (ABOVE if np.uint64(slots[at + ONE + (n & FEATURE)]) > (n >> LIMIT) else BELOW)) & NODE
                    n = node[c]
                    c = (n >> (ABOVE if np.uint64(slots[at + TWO + (n & FEATURE)]) > (n >> LIMIT) else BELOW)) & NODE
                    n = node[d]
                    d = (n >> (ABOVE if np.uint64(slots[at + THREE + (n & FEATURE)]) > (n >> LIMIT) else BELOW)) & NODE
                    if min(a, b, c, d) >= inner:
                        break
                odds[pixel] += value[a - inner]
                odds[pixel + 1] += value[b - inner]
                odds[pixel + 2] += value[c - inner]
                odds[pixel + 3] += value[d - inner]
            for pixel in range(last - (last - first) % LANES, last):
                a = ROOT
                while a < inner:
                    n = node[a]
                    at = np.uint64(pixel) * SLOTS + (n & FEATURE)
                    a = (n >> (ABOVE if np.uint64(slots[at]) > (n >> LIMIT) else BELOW)) & NODE
                odds[pixel] += value[a - inner]
