"""Scene-wide normalisation and statistics of a set of quantities: the passes that a pipeline of indices makes.

`SceneStatistics` is the part of a `models.base.ScenePipeline` that measures; a pipeline adds the rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from xr_cloudmask.arrays import Doubles
from xr_cloudmask.models.index import statistics
from xr_cloudmask.models.index.statistics import Block, Distribution, Extent, Order, Summary, Wanted

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

    minimum: Doubles
    maximum: Doubles

    def normalised(self, bands: Block) -> Block:
        """Normalise bands of any shape; NaN where a band has one value alone."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return tuple(
                np.subtract(band, low, dtype="float64") / (high - low)
                for band, low, high in zip(bands, self.minimum, self.maximum, strict=True)
            )


@dataclass(frozen=True)
class KnownScene:
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


def quantities(block: Block, stretch: Stretch) -> tuple[Doubles, Counts]:
    """Return the quantities `NAMES` of a block ``(quantity, pixel)``, with the notebook's habits, and its counts."""
    from xr_cloudmask.models.index import kernels

    out = np.empty((len(NAMES), block[0].size))
    counts = kernels.quantities(block, stretch.minimum, stretch.maximum - stretch.minimum, out)
    return out, Counts(*counts)


NAMES = ("ndvi", "whiteness", "hot", "cloud_index", "nscd", "green", "nir")
ALL_ROWS = list(range(len(NAMES)))
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
    counted: tuple[str, ...] = ()

    def __init__(self, wanted: tuple[Wanted, ...]) -> None:
        self.wanted = wanted

    def measure(self, bands: Block, known: KnownScene | None, origin: tuple[int, int], shape: tuple[int, int]) -> Any:
        """Return the partial result of the next pass, over a part ``(y, x)`` of a scene."""
        if known is None:
            return statistics.extent(bands, origin, shape)
        tally, counts = statistics.Tally(*known.orders.values()), Counts(0, 0)
        rows = [NAMES.index(name) for name in known.orders]
        for _, block in statistics.blocks(bands, statistics.BLOCK) if rows else ():
            values, some = quantities(block, known.stretch)
            tally.add(values if rows == ALL_ROWS else values[rows])
            counts += some
        return Found(counts, {name: tally.result(i) for i, name in enumerate(known.orders)})

    def conclude(self, merged: Any, known: KnownScene | None) -> KnownScene:
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
        return KnownScene(known.stretch, left, found, summaries)

    def _expected(self, found: Extent) -> KnownScene:
        """Say where the sample expects the quantiles."""
        stretch = Stretch(found.minimum, found.maximum)
        values, _ = quantities(tuple(found.sample), stretch)
        orders = {}
        for wanted in self.wanted:
            sample = statistics.counted(values[NAMES.index(wanted.name)])
            brackets = tuple(statistics.bracket(quantile, sample) for quantile in wanted.quantiles)
            orders[wanted.name] = Order(brackets, wanted.summed_first)
        return KnownScene(stretch, orders)

    @property
    def statistics(self) -> tuple[str, ...]:
        """Names of the numbers in `table`."""
        names = [f"{wanted.name}_{name}" for wanted in self.wanted for name in _columns(wanted)]
        return (*names, "footprint_pixels", "band_mismatch_pixels")

    def table(self, known: KnownScene) -> Doubles:
        """Return the statistics of a scene, float64 ``(statistic,)``."""
        numbers = [number for w in self.wanted for number in _columns(w, known.summaries[w.name]).values()]
        counts = Counts(0, 0) if known.found is None else known.found.counts
        return np.array([*numbers, counts.footprint, counts.mismatch], "float64")


def _columns(wanted: Wanted, summary: Summary = statistics.NOTHING) -> dict[str, float]:
    moments = {"mean": summary.mean, "std": summary.std} if wanted.moments else {}
    quantiles = {OF_QUANTILE[q]: value for q, value in zip(wanted.quantiles, summary.quantiles, strict=False)}
    return {"min": summary.minimum, "max": summary.maximum, **moments, **quantiles}
