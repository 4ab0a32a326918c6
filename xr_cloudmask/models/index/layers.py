"""The normalised bands and the statistics of a scene by themselves, for people who tune thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from xr_cloudmask.arrays import Doubles
from xr_cloudmask.models.base import Classified, ModelSpec
from xr_cloudmask.models.index import four_four_a
from xr_cloudmask.models.index.scene import EVERYTHING, KnownScene, SceneStatistics
from xr_cloudmask.models.index.statistics import Block


class StretchedBands(SceneStatistics):
    """Bands from 0 to 1 over each scene, float64; one pass, then the bands."""

    passes = 1
    layers = ("blue", "green", "red", "nir")
    dtype = "float64"

    def __init__(self) -> None:
        super().__init__(())

    def classify(self, bands: Block, known: KnownScene, codes: Sequence[int]) -> Classified:  # noqa: ARG002 - no classes
        """Return the normalised bands."""
        return known.stretch.normalised(bands), np.zeros(0, "int64")

    def table(self, known: KnownScene) -> Doubles:  # noqa: ARG002 - nothing is counted
        """Return no statistics."""
        return np.full(len(self.statistics), np.nan)


class AllStatistics(SceneStatistics):
    """Every statistic of every quantity, and no layers."""

    layers = ()
    dtype = "uint8"

    def __init__(self) -> None:
        super().__init__(EVERYTHING)

    def classify(self, bands: Block, known: KnownScene, codes: Sequence[int]) -> Classified:  # noqa: ARG002 - no layers
        """Return no layers."""
        return (), np.zeros(0, "int64")


def _spec(name: str, function: str) -> ModelSpec:
    return replace(four_four_a.SPECS[0], name=name, loader=f"{__name__}:{function}")


BANDS, STATISTICS = _spec("scene-bands", "load_bands"), _spec("scene-statistics", "load_statistics")


def load_bands(spec: ModelSpec, device: str | None) -> StretchedBands:  # noqa: ARG001
    """Return the pipeline that normalises."""
    return StretchedBands()


def load_statistics(spec: ModelSpec, device: str | None) -> AllStatistics:  # noqa: ARG001
    """Return the pipeline that counts."""
    return AllStatistics()
