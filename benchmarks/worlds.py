"""Models on simulated worlds that are kept aside: agreement with the truth, thin clouds, cloudless surfaces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import reduce
from itertools import pairwise
from operator import add
from typing import Any

import numpy as np
import xarray as xr

from benchmarks.common import ROLES, row
from xr_cloudmask import BandDescriptor, predict
from xr_cloudmask.evaluation import most_probable
from xr_cloudmask.masks.agreement import Agreement
from xr_cloudmask.simulate.worlds import SIX, Pool, Sample, bands_of, sample
from xr_cloudmask.training.validation import PLACE_OF_CODE

MODELS = {6: ("csmask", "physical", "universal"), 4: ("csmask", "physical", "universal"), 3: ("universal",)}
SEED, SURFACES, SKIES = 1000, 140, 80  # of no training run, nor of its validation
CLOUDY, CLEAR = 120, 6  # scenes with clouds, and without any for each landscape
OVERCAST = 0.9  # of a scene
THICKNESSES = (0.1, 0.3, 1.0, 3.0, 10.0, np.inf)


def worlds() -> None:
    """csmask and universal on simulated worlds, by optical thickness and by surface."""
    for name, figure in report():
        row(name, figure)


def report() -> Iterator[tuple[str, str]]:
    """Yield what was measured, and the figure."""
    pool = Pool.prepare(SEED, SURFACES, SKIES, held_out=True)
    cloudy = _scenes(pool, CLOUDY)
    shut, open_sky = [], []
    for scene in cloudy:
        (shut if (_truth(scene) == 1).mean() >= OVERCAST else open_sky).append(scene)
    clear = {name: _scenes(_cloudless(pool, name), CLEAR) for name in sorted(set(pool.landscapes))}
    for count, models in MODELS.items():
        for model in models:
            title = f"simulated worlds, {count} bands, {model}"
            found = [_found(scene, model, count) for scene in open_sky]
            pairs = zip(open_sky, found, strict=True)
            yield title, scores(reduce(add, [Agreement.of(_truth(scene), one) for scene, one in pairs]))
            yield f"{title}: cloud found in overcast scenes, least and mean", _in_overcast(shut, model, count)
            yield f"{title}: cloud found, by optical thickness", _by_thickness(open_sky, found)
            yield f"{title}: false cloud in cloudless scenes", _by_landscape(clear, model, count)


def scores(agreement: Agreement) -> str:
    """Return kappa and the intersection over union of cloud and shadow, in words."""
    iou = agreement.table()["IoU"]
    return f"kappa {agreement.kappa:.3f}, IoU cloud {iou['cloud']:.3f}, shadow {iou['cloud_shadow']:.3f}"


def _scenes(pool: Pool, number: int) -> list[Sample]:
    bands = bands_of("sentinel-2", SIX)
    return [sample(pool, np.random.default_rng([SEED, i]), bands=bands, level="TOA") for i in range(number)]


def _cloudless(pool: Pool, landscape: str) -> Pool:
    """Return the surfaces of one landscape under skies without a cloud."""
    places = [place for place, name in enumerate(pool.landscapes) if name == landscape]
    surfaces = {name: getattr(pool, name)[places] for name in ("share", "texture", "slope")}
    skies = tuple({**sky, "names": (), "layers": []} for sky in pool.skies)
    return replace(pool, landscapes=(landscape,) * len(places), skies=skies, **surfaces)


def _truth(scene: Sample) -> np.ndarray:
    return PLACE_OF_CODE[scene.truth]


def _found(scene: Sample, model: str, count: int) -> np.ndarray:
    """Return places among clear, cloud and cloud shadow."""
    bands = list(zip(ROLES, scene.values, scene.wavelengths, strict=True))[:count]
    cube = xr.Dataset({role: (("y", "x"), values) for role, values, _ in bands})
    descriptors = [BandDescriptor(role, role, float(low), float(high)) for role, _, (low, high) in bands]
    options: dict[str, Any] = {"level": "TOA", "scale": 1.0, "scheme": "native", "resolution": "native"}
    mask = predict(cube, model, descriptors=descriptors, probabilities=True, **options)
    return most_probable(mask["probability"])


def _in_overcast(scenes: Sequence[Sample], model: str, count: int) -> str:
    shares = [(_found(scene, model, count)[_truth(scene) == 1] == 1).mean() for scene in scenes]
    return f"{min(shares):.3f}, {np.mean(shares):.3f} of {len(shares)} scenes"


def _by_thickness(scenes: Sequence[Sample], found: Sequence[np.ndarray]) -> str:
    tau = np.concatenate([scene.tau[scene.truth != 255] for scene in scenes])
    cloud = np.concatenate([one[scene.truth != 255] for scene, one in zip(scenes, found, strict=True)]) == 1
    shares = {(low, high): cloud[(tau >= low) & (tau < high)].mean() for low, high in pairwise(THICKNESSES)}
    return ", ".join(f"{low:g}–{high:g} {share:.0%}" for (low, high), share in shares.items())


def _by_landscape(scenes: dict[str, list[Sample]], model: str, count: int) -> str:
    shares = {
        name: np.concatenate([_found(scene, model, count)[scene.truth != 255] == 1 for scene in some]).mean()
        for name, some in scenes.items()
    }
    return ", ".join(f"{name} {share:.1%}" for name, share in shares.items())
