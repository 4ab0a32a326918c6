"""How a network does, while it is trained, on worlds whose spectra and clouds it never sees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from xr_cloudmask.masks.agreement import Agreement
from xr_cloudmask.models.networks.universal import UniversalNetwork, entering
from xr_cloudmask.models.universal import CLASSES
from xr_cloudmask.simulate import worlds
from xr_cloudmask.training.recipe import Recipe
from xr_cloudmask.training.samples import Patch, prepared

JUDGED = "clear", "cloud", "cloud_shadow"
# What each of the network's classes is for the score.
OF_CLASS = np.array([0, 0, 0, 1, 1, 2])
JUDGED_CODE = np.full(256, 255, "uint8")
JUDGED_CODE[: len(CLASSES)] = OF_CLASS
# How many of blue, green, red, nir, swir16, swir22 are seen.
BAND_SETS: Mapping[str, int] = {"6": 6, "4": 4, "rgb": 3}
SENSORS = "sentinel-2", "landsat-8-9", "landsat-4-5"


@dataclass(frozen=True)
class Validation:
    """Scenes with six bands and their truth, the same for a whole run.

    Attributes
    ----------
    patches : tuple of Patch
        With `JUDGED` codes as truth.
    """

    patches: tuple[Patch, ...]

    @classmethod
    def prepare(cls, recipe: Recipe, folder: Path) -> Validation:
        """Render the scenes of a recipe, with the bands of several sensors in turn."""
        pool = worlds.Pool.load(prepared(recipe, folder, held_out=True))
        bands = [worlds.bands_of(sensor, worlds.SIX) for sensor in SENSORS]
        samples = [
            worlds.sample(pool, np.random.default_rng([pool.seed, i]), recipe.size, bands[i % len(bands)])
            for i in range(recipe.validation)
        ]
        return cls(tuple(Patch(s.values, s.wavelengths, JUDGED_CODE[s.truth]) for s in samples))

    def scores(self, network: UniversalNetwork) -> dict[str, float]:
        """Return kappa over clear, cloud and shadow, and the intersections over union, for every set of bands."""
        scores = {}
        for name, count in BAND_SETS.items():
            found = self.agreement(network, count)
            values = {"kappa": found.kappa, "cloud": found.iou("cloud"), "shadow": found.iou("cloud_shadow")}
            scores |= {f"{name} {key}": round(value, 4) for key, value in values.items()}
        return scores

    def agreement(self, network: UniversalNetwork, count: int) -> Agreement:
        """Compare with the truth what the network finds in the first `count` bands."""
        return reduce(add, (Agreement.of(patch.truth, judged(network, patch, count), JUDGED) for patch in self.patches))


@torch.inference_mode()
def judged(network: UniversalNetwork, patch: Patch, count: int) -> npt.NDArray[np.uint8]:
    """Return the places in `JUDGED` of the classes whose probabilities have the largest sum."""
    device = next(network.parameters()).device
    frozen = network.frozen(torch.from_numpy(patch.wavelengths[:count]).to(device))
    values = entering(torch.from_numpy(patch.values[None, :count]).to(device))
    chances = frozen(values.contiguous(memory_format=torch.channels_last))[0].softmax(dim=0).cpu().numpy()
    sums = np.stack([chances[OF_CLASS == place].sum(axis=0) for place in range(len(JUDGED))])
    codes: npt.NDArray[np.uint8] = sums.argmax(axis=0).astype("uint8")
    return codes
