"""Models on real labelled patches: mixed, clear and overcast tiles apart, with intervals of a block bootstrap."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr

from benchmarks.common import ROLES, SHARED, row, scene, seconds
from xr_cloudmask import BandDescriptor, ModelError, predict
from xr_cloudmask.evaluation import CODES, most_probable
from xr_cloudmask.masks.agreement import Agreement
from xr_cloudmask.masks.judging import JUDGED, NOT_JUDGED
from xr_cloudmask.models import ensemble, registry
from xr_cloudmask.models.registry import name_of
from xr_cloudmask.names import PROBABILITY_NAME

S2 = "sentinel-2"
REAL = SHARED / "data/real"
SENTINEL_2 = SHARED / "data/sentinel2_l1c_labelled.npz"
CLEAR, CLOUD, SHADOW = range(len(JUDGED))
PLACES = {0: CLEAR, 1: CLOUD, 2: CLOUD, 3: SHADOW}  # of the patches' codes: thick and thin cloud are both cloud
LIMITS = {"blue": (457, 523), "green": (542, 578), "red": (650, 681), "nir": (785, 900)}
LIMITS |= {"swir16": (1565, 1655), "swir22": (2100, 2280)}  # of Sentinel-2, nanometres
KINDS = {"clear": (0.0, 0.01), "mixed": (0.01, 0.95), "overcast": (0.95, 1.01)}  # by the share of cloud
THERMAL = "lwir"
FEWEST, SIDE = 4, 768
BLOCK, DRAWS, SEED = 64, 400, 0  # pixels of a block's side; blocks of a tile are drawn, with the tile

# Models, and how many of a patch's bands each sees: four, six, or all of up to eight, cirrus and thermal among them.
RUNS = {
    ("auto",): (4, 6),
    ("csmask",): (4, 6),
    ("universal",): (4, 6, 8),
    ("physical",): (4, 6, 8),
    ensemble.NAMES: (4, 6, 8),
    (*ensemble.NAMES, "physical"): (4, 6, 8),
}


@dataclass(frozen=True)
class Patch:
    """A labelled patch.

    Attributes
    ----------
    name : str
    cube : Dataset
    bands : tuple of BandDescriptor
    level : str
    truth : ndarray
        uint8: places in `JUDGED`, else `NOT_JUDGED`.
    """

    name: str
    cube: xr.Dataset
    bands: tuple[BandDescriptor, ...]
    level: str
    truth: np.ndarray

    @property
    def is_tile(self) -> bool:
        """Whether it is a tile of Landsat, whose clouds are labelled."""
        return self.level == "TOA" and self.name != S2

    @cached_property
    def kind(self) -> str:
        """Whether it is clear, mixed or overcast."""
        share = (self.truth[self.truth != NOT_JUDGED] == CLOUD).mean()
        return next(name for name, (low, high) in KINDS.items() if low <= share < high)

    def found(self, model: Sequence[str], count: int) -> np.ndarray | None:
        """Return what a model finds with so many bands, as places in `JUDGED`; None where it takes none of them."""
        bands = self.bands[:count]
        options: dict[str, Any] = {"descriptors": bands, "level": self.level, "resolution": "native"}
        cube = self.cube[[band.name for band in bands]]
        try:
            mask = predict(cube, model, scheme="native", probabilities=True, **options)
        except ModelError:
            return None
        return most_probable(mask[PROBABILITY_NAME])


def real_patches() -> Iterator[Patch]:
    """Yield the tiles and dates whose folder is beside the project."""
    for path in sorted(REAL.glob("*.npz")):
        facts = json.loads(path.with_suffix(".json").read_text())
        with np.load(path) as arrays:
            image, codes = arrays["img"], arrays["mask"]
        truth = np.full(codes.shape, NOT_JUDGED, "uint8")
        for code, place in PLACES.items():
            truth[codes == code] = place
        yield _patch(path.stem, image, tuple(map(_descriptor, facts["bands"])), facts["level"], truth)


def sentinel_2() -> Patch:
    """Return the labelled Sentinel-2 patch."""
    with np.load(SENTINEL_2) as arrays:
        image, codes = arrays["img"], arrays["msk"][..., 0]
    truth = np.full(codes.shape, CLEAR, "uint8")
    for code, name in CODES.items():
        truth[codes == code] = {"cloud": CLOUD, "cloud_shadow": SHADOW}.get(name, CLEAR)
    bands = tuple(BandDescriptor(role, role, *map(float, LIMITS[role])) for role in ROLES)
    return _patch(S2, image, bands, "TOA", truth)


def _descriptor(fact: dict[str, Any]) -> BandDescriptor:
    middle, half, role = fact["center_nm"], fact["fwhm_nm"] / 2, fact["common_name"]
    kind = "brightness_temperature" if role.startswith(THERMAL) else "reflectance"
    return BandDescriptor(fact["name"], role, middle - half, middle + half, kind)


def _patch(name: str, image: np.ndarray, bands: tuple[BandDescriptor, ...], level: str, truth: np.ndarray) -> Patch:
    variables = {band.name: (("y", "x"), image[..., i]) for i, band in enumerate(bands)}
    attrs = {"level": level, "reflectance_provenance": "reflectance, as the patch says"}
    return Patch(name, xr.Dataset(variables, attrs=attrs), bands, level, truth)


Pairs = list[tuple[np.ndarray, np.ndarray]]  # truth and what was found, of each patch
Score = Callable[[np.ndarray], float]  # of a confusion matrix over `JUDGED`


def cloud_kappa(counts: np.ndarray) -> float:
    """Return Cohen's kappa of cloud against all else."""
    both, truth, found = np.array([counts[CLOUD, CLOUD], counts[CLOUD].sum(), counts[:, CLOUD].sum()]) / counts.sum()
    chance = truth * found + (1 - truth) * (1 - found)
    return float((1 - truth - found + 2 * both - chance) / (1 - chance)) if chance < 1 else np.nan


SCORES: dict[str, Score] = {
    "called cloud": lambda counts: counts[CLEAR, CLOUD] / counts[CLEAR].sum(),
    "found": lambda counts: counts[CLOUD, CLOUD] / counts[CLOUD].sum(),
    "kappa": cloud_kappa,
    "kappa of three classes": lambda counts: Agreement(counts).kappa,
    "shadow IoU": lambda counts: (
        counts[SHADOW, SHADOW] / (counts[SHADOW].sum() + counts[:, SHADOW].sum() - counts[SHADOW, SHADOW])
    ),
}


# What is told of each model: of which patches, and which score.
FIGURES: dict[str, tuple[Callable[[Patch], bool], str]] = {
    "all tiles kappa": (lambda patch: patch.is_tile, "kappa"),
    "mixed kappa": (lambda patch: patch.is_tile and patch.kind == "mixed", "kappa"),
    "clear called cloud": (lambda patch: patch.is_tile and patch.kind == "clear", "called cloud"),
    "overcast found": (lambda patch: patch.is_tile and patch.kind == "overcast", "found"),
    "farmland shadow IoU": (lambda patch: patch.level == "BOA", "shadow IoU"),
    "Sentinel-2 patch kappa": (lambda patch: patch.name == S2, "kappa of three classes"),
}


def interval(pairs: Pairs, score: Score) -> str:
    """Return a score of some patches, and its 95 % interval: patches are drawn, and blocks of each."""
    blocks = [_blocks(truth, found) for truth, found in pairs]
    total = score(np.sum([one.sum(axis=0) for one in blocks], axis=0))
    rng = np.random.default_rng(SEED)
    with np.errstate(invalid="ignore"):
        drawn = [score(_drawn(blocks, rng)) for _ in range(DRAWS)]
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return f"{total:.3f} ({low:.2f}–{high:.2f})"


def _drawn(blocks: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    patches = [blocks[i] for i in rng.integers(len(blocks), size=len(blocks))]
    drawn = [one[rng.integers(len(one), size=len(one))].sum(axis=0) for one in patches]
    return np.asarray(np.sum(drawn, axis=0))


def _blocks(truth: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Return the confusion matrix of every block of a patch."""
    corners = [(y, x) for y in range(0, truth.shape[0], BLOCK) for x in range(0, truth.shape[1], BLOCK)]
    cuts = [(slice(y, y + BLOCK), slice(x, x + BLOCK)) for y, x in corners]
    return np.stack([Agreement.of(truth[cut], found[cut]).counts for cut in cuts])


def patches() -> None:
    """All models on the labelled patches that are beside the project, and what an ensemble costs."""
    tiles = list(real_patches())
    some = [*tiles, *([sentinel_2()] if SENTINEL_2.exists() else [])]
    if not tiles:
        row("real patches", f"not measured: {REAL} is absent")
    if len(some) == len(tiles):
        row("real Sentinel-2 patch", f"not measured: {SENTINEL_2} is absent")
    for model, count in [(model, count) for model, counts in RUNS.items() for count in counts]:
        figures = _figures(some, model, count)
        if figures:
            row(f"real patches, {name_of(model)}, {count} bands", ", ".join(figures))
    cost()


def _figures(some: Sequence[Patch], model: Sequence[str], count: int) -> list[str]:
    seen = [patch for patch in some if count == FEWEST or len(patch.bands) >= count]
    found = {patch.name: (patch.truth, patch.found(model, count)) for patch in seen}
    figures = []
    for title, (belongs, score) in FIGURES.items():
        pairs = [found[patch.name] for patch in seen if belongs(patch) and found[patch.name][1] is not None]
        if pairs:
            figures.append(f"{title} {interval(pairs, SCORES[score])}")
    return figures


def cost() -> None:
    """Speed of the ensemble beside its networks, on one window of six bands."""
    bands = [BandDescriptor(role, role, *map(float, limits)) for role, limits in LIMITS.items()]
    window = np.ascontiguousarray(scene(SIDE, len(bands)))[None]
    whole = registry.configured(registry.choose(ensemble.NAME, bands, "TOA"), None, "fp32")
    runs = {"ensemble": (whole, tuple(range(len(bands))))}
    runs |= {f"{one.spec.name} {one.spec.variant}": (one.spec, one.channels) for one in whole.members}
    for name, (spec, channels) in runs.items():
        model = registry.load(spec, "cpu")
        own, sees = np.ascontiguousarray(window[:, list(channels)]), [bands[i] for i in channels]
        model.probabilities(own, sees)
        speed = SIDE**2 / 1e6 / seconds(lambda: model.probabilities(own, sees), 5)  # noqa: B023 - called at once
        row(f"{name}, {len(channels)} × {SIDE}², float32", f"{speed:.2f} megapixels/s")
        time.sleep(1)  # threads that wait for work, as onnxruntime's do for a while, slow what runs after them
