"""4-4A: cloud, cloud shadow and water from four bands and the statistics of the whole scene.

The pipeline of J. A. Cansado (INPE) for CBERS-4A WPM, step by step, whatever the sensor: bands are stretched to 0–1
over the scene, so digital numbers, radiance and reflectance give the same mask. Its habits that change pixels are
listed in the documentation, one by one; the numbers are in `FourFourAThresholds`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from xr_cloudmask.models.base import ANY_LEVEL, Classified, ModelSpec
from xr_cloudmask.models.index import statistics, thresholds
from xr_cloudmask.models.index.scene import KnownScene, SceneStatistics
from xr_cloudmask.models.index.statistics import Block, Wanted

# Said of every mask, and where something is decided by its coverage.
WARNING = (
    "model '4-4A' cannot see overcast: its limits are quartiles of the scene, of which it calls at most about a "
    "quarter cloud, and a scene that is all cloud may seem clear. To decide by coverage, take another model: "
    "predict('auto'), predict('physical')"
)
CLASSES = ("clear", "thick_cloud", "cloud_shadow")

# What the rules below ask for. One quartile is enough of most.
WANTED = (
    Wanted("ndvi"),
    Wanted("whiteness", (0.25,), moments=False),
    Wanted("hot", (0.75,), moments=False),
    Wanted("cloud_index", (0.25,), moments=False),
    Wanted("nscd", (0.75,), moments=False),
    Wanted("green", (0.25,)),
    Wanted("nir", ()),
)


@dataclass(frozen=True)
class FourFourAThresholds:
    """How many standard deviations the limits of 4-4A are from the statistics. Source of all: the 4-4A notebook.

    Attributes
    ----------
    cloud_ndvi : tuple of float
        A cloud's NDVI is above its minimum plus, and below its median minus, so many standard deviations.
    dark_green, dark_nir : float
        A shadow's green is below the first quartile, its near infrared below the minimum, plus so many.
    clear_water, turbid_water : float
        Water's NDVI is below its minimum plus so many.
    mismatch : int
        More pixels than this with data in some visible bands but not in others flag a scene.
    """

    cloud_ndvi: tuple[float, float] = (1.0, 1.0)
    dark_green: float = 1.0
    dark_nir: float = 1.0
    clear_water: float = 1.5
    turbid_water: float = 2.0
    mismatch: int = 100

    def __post_init__(self) -> None:
        thresholds.check(self, {"mismatch": (0, math.inf)})


class SceneLimits(NamedTuple):
    """The limits of one scene, in the units of its normalised bands and indices; a tuple, for compiled code."""

    ndvi_low: float
    ndvi_high: float
    whiteness: float
    hot: float
    cloud_index: float
    nscd: float
    green: float
    nir: float
    clear_water_ndvi: float
    clear_water_nir: float
    turbid_water_ndvi: float
    turbid_water_nir: float

    @classmethod
    def of(cls, scene: KnownScene, multiples: FourFourAThresholds) -> SceneLimits:
        """Derive the limits from a scene's statistics."""
        stats = scene.summaries
        ndvi, green, nir = stats["ndvi"], stats["green"], stats["nir"]
        q25, median, q75 = ndvi.quantiles
        above, below = multiples.cloud_ndvi
        return cls(
            ndvi_low=ndvi.minimum + above * ndvi.std,
            ndvi_high=median - below * ndvi.std,
            whiteness=stats["whiteness"].quantiles[0],
            hot=stats["hot"].quantiles[0],
            cloud_index=stats["cloud_index"].quantiles[0],
            nscd=stats["nscd"].quantiles[0],
            green=green.quantiles[0] + multiples.dark_green * green.std,
            nir=nir.minimum + multiples.dark_nir * nir.std,
            clear_water_ndvi=ndvi.minimum + multiples.clear_water * ndvi.std,
            clear_water_nir=q75 + ndvi.std,  # as in the notebook, near infrared is held against statistics of NDVI
            turbid_water_ndvi=ndvi.minimum + multiples.turbid_water * ndvi.std,
            turbid_water_nir=q25 + ndvi.std,
        )


class FourFourA(SceneStatistics):
    """The pipeline: a `models.base.ScenePipeline`."""

    layers = ("class", "water")
    dtype = "uint8"
    counted = (*CLASSES, "no_data", "cloud", "water")  # cloud in shadow too

    def __init__(self, multiples: FourFourAThresholds) -> None:
        super().__init__(WANTED)
        self._multiples = multiples

    def classify(self, bands: Block, known: KnownScene, codes: Sequence[int]) -> Classified:
        """Return the codes of `CLASSES`, and whether there is water; count what is `counted`."""
        from xr_cloudmask.models.index import kernels

        limits, stretch = SceneLimits.of(known, self._multiples), known.stretch
        low, span, numbers = stretch.minimum, stretch.maximum - stretch.minimum, np.array(codes, "uint8")
        mask, water = (np.empty(bands[0].size, "uint8") for _ in self.layers)
        counts = np.zeros(len(self.counted), "int64")
        for part, block in statistics.blocks(bands, statistics.STRIP):
            counts += kernels.classes(block, low, span, limits, numbers, (mask[part], water[part]))
        return tuple(layer.reshape(bands[0].shape) for layer in (mask, water)), counts


SPECS = (
    ModelSpec(
        name="4-4A",
        variant="4b",
        version="1",
        bands=(("blue",), ("green",), ("red",), ("nir", "nir08")),
        level=ANY_LEVEL,
        classes=CLASSES,
        window=0,
        halo=0,
        multiple=1,
        gsd=0.0,
        licence="none needed: no weights",
        citation="Ascencio Cansado, 4-4A notebook for CBERS-4A, Instituto Nacional de Pesquisas Espaciais",
        loader=f"{__name__}:load",
        context="scene",
        thresholds=FourFourAThresholds(),
        warning=WARNING,
    ),
)


def load(spec: ModelSpec, device: str | None) -> FourFourA:  # noqa: ARG001 - a pipeline runs where NumPy does
    """Return the pipeline with the thresholds of a spec."""
    return FourFourA(spec.thresholds)
