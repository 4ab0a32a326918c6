"""Scene-wide normalisation and statistics of a set of quantities: the passes that a pipeline of indices makes.

`SceneStatistics` is the part of a `models.base.ScenePipeline` that measures; a pipeline adds the rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from xr_cloudmask.models.index import formulas, statistics
from xr_cloudmask.models.index.statistics import Block, Distribution, Extent, Floats, Order, Summary, Wanted

OF_QUANTILE = {0.25: "q25", 0.5: "median", 0.75: "q75"}


@dataclass(frozen=True)
class Counts:
    """Pixels with data in all bands, and pixels where some of blue, green and red have data and others have not."""

    footprint: int
    mismatch: int

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.footprint + other.footprint, self.mismatch + other.mismatch)


@dataclass(frozen=True)
class Found:
    """What a pass finds: the counts, and the distribution of every quantity that it looked at."""

    counts: Counts
    of: Mapping[str, Distribution]

    def __add__(self, other: Found) -> Found:
        return Found(self.counts + other.counts, {name: self.of[name] + other.of[name] for name in self.of})


@dataclass(frozen=True)
class Stretch:
    """The smallest and largest value of each band ``(band,)``, which become 0 and 1."""

    minimum: Floats
    maximum: Floats

    def __call__(self, band: int, pixels: npt.NDArray[Any]) -> Floats:
        """Normalise pixels of a band; NaN where a band has one value alone."""
        low, high = self.minimum[band], self.maximum[band]
        values: Floats = np.subtract(pixels, low, dtype="float64")
        with np.errstate(invalid="ignore", divide="ignore"):
            values /= high - low
        return values

    def normalised(self, block: Block) -> Block:
        """Normalise every band of a block."""
        return tuple(self(band, pixels) for band, pixels in enumerate(block))


@dataclass(frozen=True)
class Scene:
    """What is known of a scene after a pass.

    Attributes
    ----------
    stretch : Stretch
    orders : mapping of str to Order
        What the next pass has to look for, by quantity; empty where everything is known.
    found : Found or None
        What the passes so far have found.
    summaries : mapping of str to Summary
        The statistics of each quantity, once they are known.
    """

    stretch: Stretch
    orders: Mapping[str, Order]
    found: Found | None = None
    summaries: Mapping[str, Summary] = field(default_factory=dict)


def footprint(block: Block) -> Any:
    """Return where no band is zero, or None where that is everywhere."""
    if all(band.min() > 0 for band in block):
        return None
    return np.logical_and.reduce([band != 0 for band in block])


def quantities(block: Block) -> tuple[Floats, ...]:
    """Return NDVI, whiteness, HOT, cloud index, NSCD, green and nir of normalised bands, with the notebook's habits.

    Outside the footprint NDVI and cloud index are 0 or NaN, and NSCD lacks its nir term; whiteness and HOT do not
    know of it.
    """
    blue, green, red, nir = block
    inside = footprint(block)
    with np.errstate(invalid="ignore", divide="ignore"):
        values = [
            formulas.ndvi(red, nir),
            formulas.whiteness(blue, green, red, formulas.PAN),
            formulas.hot(blue, red, slope=0.45),
            formulas.cloud_index(blue, green, red, nir),
        ]
        if inside is None:
            return (*values, formulas.nscd(blue, red, nir), green, nir)
        values[0] *= inside
        values[3] *= inside
        return (*values, formulas.nscd(blue, red, nir * inside), green, nir)


NAMES = ("ndvi", "whiteness", "hot", "cloud_index", "nscd", "green", "nir")
# Three visible bands of 0 to 1 are at most 5 from grey; nothing bounds the cloud index.
LARGEST = {"whiteness": 8.0, "cloud_index": None}
EVERYTHING = tuple(Wanted(name, largest=LARGEST.get(name, 1.0)) for name in NAMES)


class SceneStatistics:
    """Measures `quantities` over a scene: the passes of a `models.base.ScenePipeline`.

    Parameters
    ----------
    wanted : tuple of Wanted
        For each of `NAMES`, what is to be known.
    """

    passes = 3

    def __init__(self, wanted: tuple[Wanted, ...]) -> None:
        self.wanted = wanted

    def measure(self, bands: Block, known: Scene | None, origin: tuple[int, int], shape: tuple[int, int]) -> Any:
        """Return the partial result of the next pass, over a part ``(y, x)`` of a scene."""
        if known is None:
            return statistics.extent(bands, origin, shape)
        tallies = {name: statistics.Tally(order) for name, order in known.orders.items()}
        counts = Counts(0, 0)
        for _, block in statistics.blocks(bands) if tallies else ():
            normalised = known.stretch.normalised(block)
            values = dict(zip(NAMES, quantities(normalised), strict=True))
            for name, tally in tallies.items():
                tally.add(values[name])
            counts += _counts(normalised)
        return Found(counts, {name: tally.result() for name, tally in tallies.items()})

    def conclude(self, merged: Any, known: Scene | None) -> Scene:
        """Return what is known after a pass over the whole scene."""
        if known is None:
            return self._expected(merged)
        found = merged if known.found is None else replace(known.found, of={**known.found.of, **merged.of})
        orders = {
            wanted.name: statistics.reorder(found.of[wanted.name], known.orders[wanted.name], wanted)
            for wanted in self.wanted
            if wanted.name in known.orders
        }
        summaries = {}
        left = {name: order for name, order in orders.items() if order is not None}
        if not left:
            summaries = {wanted.name: statistics.summarise(found.of[wanted.name], wanted) for wanted in self.wanted}
        return Scene(known.stretch, left, found, summaries)

    def _expected(self, found: Extent) -> Scene:
        """Say where the sample expects the quantiles."""
        stretch = Stretch(found.minimum, found.maximum)
        sample = dict(zip(NAMES, quantities(stretch.normalised(tuple(found.sample))), strict=True))
        orders = {}
        for wanted in self.wanted:
            values = statistics.counted(sample[wanted.name])
            brackets = tuple(statistics.bracket(quantile, values) for quantile in wanted.quantiles)
            orders[wanted.name] = Order(brackets, wanted.summed_first)
        return Scene(stretch, orders)

    @property
    def statistics(self) -> tuple[str, ...]:
        """Names of the numbers in `table`."""
        names = [f"{wanted.name}_{name}" for wanted in self.wanted for name in _columns(wanted)]
        return (*names, "footprint_pixels", "band_mismatch_pixels")

    def table(self, known: Scene) -> Floats:
        """Return the statistics of a scene, float64 ``(statistic,)``."""
        numbers = [number for w in self.wanted for number in _columns(w, known.summaries[w.name]).values()]
        counts = Counts(0, 0) if known.found is None else known.found.counts
        return np.array([*numbers, counts.footprint, counts.mismatch], "float64")


def _columns(wanted: Wanted, summary: Summary = statistics.NOTHING) -> dict[str, float]:
    moments = {"mean": summary.mean, "std": summary.std} if wanted.moments else {}
    quantiles = {OF_QUANTILE[q]: value for q, value in zip(wanted.quantiles, summary.quantiles, strict=False)}
    return {"min": summary.minimum, "max": summary.maximum, **moments, **quantiles}


def outside(block: Block, stretch: Stretch) -> npt.NDArray[np.intp] | slice:
    """Return the positions of the pixels outside the footprint or without data, in bands as they are."""
    if all(band.min() > low for band, low in zip(block, stretch.minimum, strict=True)):
        return slice(0)
    inside = [band > low for band, low in zip(block, stretch.minimum, strict=True)]
    return np.flatnonzero(~np.logical_and.reduce(inside))


def _counts(block: Block) -> Counts:
    """Count the footprint, and where some of blue, green and red are zero and others are not."""
    inside = footprint(block)
    if inside is None:
        return Counts(block[0].size, 0)
    blue, green, red = (band != 0 for band in block[:3])
    missing = np.isnan(block).any(axis=0)
    return Counts(int(np.count_nonzero(inside & ~missing)), int(np.count_nonzero((blue ^ green) | (green ^ red))))
