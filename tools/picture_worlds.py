"""Draw simulated patches beside their truth: ``python tools/picture_worlds.py docs/images/worlds.jpg``."""

from __future__ import annotations

import sys

import numpy as np
from PIL import Image

from xr_cloudmask.simulate import worlds

# land, water, snow, thin cloud, thick cloud, cloud shadow, no data
COLOURS = np.array([(158, 130, 88), (60, 110, 220), (235, 245, 250), (255, 190, 180), (225, 70, 60), (20, 20, 25)])
NO_DATA = (90, 200, 90)
ROWS, COLUMNS, SIZE = 4, 4, 192
GAMMA, WHITE = 0.7, 0.5


def main(path: str) -> None:
    """Draw it."""
    pool = worlds.Pool.prepare(seed=7, surfaces=40, skies=40, size=SIZE)
    bands = worlds.bands_of("sentinel-2", worlds.SIX)
    colours = np.vstack([COLOURS, np.full((250, 3), NO_DATA)]).astype("uint8")
    tiles = []
    for number in range(ROWS * COLUMNS):
        sample = worlds.sample(pool, np.random.default_rng(number), SIZE, bands, "TOA")
        seen = np.clip(np.nan_to_num(sample.values[[2, 1, 0]]) / WHITE, 0, 1) ** GAMMA * 255
        tiles.append(np.concatenate([seen.astype("uint8").transpose(1, 2, 0), colours[sample.truth]], axis=1))
    rows = [np.concatenate(tiles[start : start + COLUMNS], axis=1) for start in range(0, len(tiles), COLUMNS)]
    Image.fromarray(np.concatenate(rows)).save(path, quality=85)


if __name__ == "__main__":
    main(*sys.argv[1:])
