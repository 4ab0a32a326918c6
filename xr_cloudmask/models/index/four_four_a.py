"""4-4A: cloud, cloud shadow and water from four bands and the statistics of the whole scene.

The pipeline of J. A. Cansado (INPE) for CBERS-4A WPM, step by step, whatever the sensor: bands are stretched to 0–1
over the scene, so digital numbers, radiance and reflectance give the same mask. Its habits that change pixels are
listed in the documentation, one by one; the numbers are in `Thresholds`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from xr_cloudmask.models.base import ANY_LEVEL, ModelSpec
from xr_cloudmask.models.index import statistics
from xr_cloudmask.models.index.scene import Scene, SceneStatistics
from xr_cloudmask.models.index.statistics import Block, Wanted

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
class Thresholds:
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


class Limits(NamedTuple):
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
    def of(cls, scene: Scene, thresholds: Thresholds) -> Limits:
        """Derive the limits from a scene's statistics."""
        stats = scene.summaries
        ndvi, green, nir = stats["ndvi"], stats["green"], stats["nir"]
        q25, median, q75 = ndvi.quantiles
        above, below = thresholds.cloud_ndvi
        return cls(
            ndvi_low=ndvi.minimum + above * ndvi.std,
            ndvi_high=median - below * ndvi.std,
            whiteness=stats["whiteness"].quantiles[0],
            hot=stats["hot"].quantiles[0],
            cloud_index=stats["cloud_index"].quantiles[0],
            nscd=stats["nscd"].quantiles[0],
            green=green.quantiles[0] + thresholds.dark_green * green.std,
            nir=nir.minimum + thresholds.dark_nir * nir.std,
            clear_water_ndvi=ndvi.minimum + thresholds.clear_water * ndvi.std,
            clear_water_nir=q75 + ndvi.std,  # as in the notebook, near infrared is held against statistics of NDVI
            turbid_water_ndvi=ndvi.minimum + thresholds.turbid_water * ndvi.std,
            turbid_water_nir=q25 + ndvi.std,
        )


class FourFourA(SceneStatistics):
    """The pipeline: a `models.base.ScenePipeline`."""

    layers = ("class", "water", "cloud")
    dtype = "uint8"

    def __init__(self, thresholds: Thresholds) -> None:
        super().__init__(WANTED)
        self._thresholds = thresholds

    def classify(self, bands: Block, known: Scene) -> npt.NDArray[np.uint8]:
        """Return positions in `CLASSES`, then whether there is water, and cloud in shadow or not: ``(layer, y, x)``."""
        from xr_cloudmask.models.index import kernels

        limits, stretch = Limits.of(known, self._thresholds), known.stretch
        out = np.empty((len(self.layers), *bands[0].shape), "uint8")
        for part, block in statistics.blocks(bands):
            labels = np.empty((len(self.layers), block[0].size), "uint8")
            kernels.classes(block, stretch.minimum, stretch.maximum - stretch.minimum, limits, labels)
            out[:, *part] = labels.reshape(out[:, *part].shape)
        return out


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
        thresholds=Thresholds(),
    ),
)


def load(spec: ModelSpec, device: str | None) -> FourFourA:  # noqa: ARG001 - a pipeline runs where NumPy does
    """Return the pipeline with the thresholds of a spec."""
    return FourFourA(spec.thresholds)
