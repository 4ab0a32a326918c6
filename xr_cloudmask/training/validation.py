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
from xr_cloudmask.masks.judging import JUDGED, NOT_JUDGED, place_of
from xr_cloudmask.models.networks.universal import UniversalNetwork, channels_last, entering
from xr_cloudmask.models.universal import CLASSES
from xr_cloudmask.simulate import worlds
from xr_cloudmask.training.recipe import Recipe
from xr_cloudmask.training.samples import Patch, prepared

# For each of the network's classes, its place among what is judged.
PLACES = np.array([place_of((name,), f"class {name!r}") for name in CLASSES], "uint8")
PLACE_OF_CODE = np.full(256, NOT_JUDGED, "uint8")
PLACE_OF_CODE[: len(CLASSES)] = PLACES
# How many of blue, green, red, nir, swir16, swir22 are seen.
BAND_SETS: Mapping[str, int] = {"6": 6, "4": 4, "rgb": 3}
SENSORS = "sentinel-2", "landsat-8-9", "landsat-4-5"


@dataclass(frozen=True)
class Validation:
    """Scenes with six bands and their truth, the same for a whole run.

    Attributes
    ----------
    patches : tuple of Patch
        With places in `masks.judging.JUDGED` as truth.
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
        return cls(tuple(Patch(s.values, s.wavelengths, PLACE_OF_CODE[s.truth]) for s in samples))

    def scores(self, network: UniversalNetwork) -> dict[str, float]:
        """Return kappa over clear, cloud and shadow, and the intersections over union, for every set of bands."""
        scores: dict[str, float] = {}
        for name, count in BAND_SETS.items():
            found = self.agreement(network, count)
            iou = found.table()["IoU"]
            values = {"kappa": found.kappa, "cloud": iou["cloud"], "shadow": iou["cloud_shadow"]}
            scores |= {f"{name} {key}": round(float(value), 4) for key, value in values.items()}
        return scores

    def agreement(self, network: UniversalNetwork, count: int) -> Agreement:
        """Compare with the truth what the network finds in the first `count` bands."""
        return reduce(add, (Agreement.of(patch.truth, most_probable(network, patch, count)) for patch in self.patches))


@torch.inference_mode()
def most_probable(network: UniversalNetwork, patch: Patch, count: int) -> npt.NDArray[np.uint8]:
    """Return the place in `JUDGED` that gathers the largest sum of probabilities, for every pixel."""
    device = next(network.parameters()).device
    frozen = network.frozen(torch.from_numpy(patch.wavelengths[:count]).to(device))
    values = entering(torch.from_numpy(patch.values[None, :count]).to(device))
    chances = frozen(channels_last(values))[0].softmax(dim=0).cpu().numpy()
    sums = np.stack([chances[place == PLACES].sum(axis=0) for place in range(len(JUDGED))])
    codes: npt.NDArray[np.uint8] = sums.argmax(axis=0).astype("uint8")
    return codes
