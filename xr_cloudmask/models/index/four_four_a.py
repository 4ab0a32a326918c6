"""4-4A: cloud, cloud shadow and water from four bands and the statistics of the whole scene.

The pipeline of J. A. Cansado (INPE) for CBERS-4A WPM, step by step, whatever the sensor: bands are stretched to 0–1
over the scene, so digital numbers, radiance and reflectance give the same mask. Its habits that change pixels are
listed in the documentation, one by one; the numbers are in `Thresholds`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from xr_cloudmask.models.base import ANY_LEVEL, ModelSpec
from xr_cloudmask.models.index import formulas, statistics
from xr_cloudmask.models.index.scene import Scene, SceneStatistics, Stretch, outside
from xr_cloudmask.models.index.statistics import Block, Wanted

CLASSES = ("clear", "thick_cloud", "cloud_shadow")
CLEAR, CLOUD, SHADOW = range(3)
NO_DATA = 255

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


@dataclass(frozen=True)
class Limits:
    """The limits of one scene, in the units of its normalised bands and indices."""

    ndvi: tuple[float, float]
    whiteness: float
    hot: float
    cloud_index: float
    nscd: float
    green: float
    nir: float
    clear_water: tuple[float, float]  # of NDVI, of nir
    turbid_water: tuple[float, float]

    @classmethod
    def of(cls, scene: Scene, thresholds: Thresholds) -> Limits:
        """Derive the limits from a scene's statistics."""
        stats = scene.summaries
        ndvi, green, nir = stats["ndvi"], stats["green"], stats["nir"]
        q25, median, q75 = ndvi.quantiles
        above, below = thresholds.cloud_ndvi
        return cls(
            ndvi=(ndvi.minimum + above * ndvi.std, median - below * ndvi.std),
            whiteness=stats["whiteness"].quantiles[0],
            hot=stats["hot"].quantiles[0],
            cloud_index=stats["cloud_index"].quantiles[0],
            nscd=stats["nscd"].quantiles[0],
            green=green.quantiles[0] + thresholds.dark_green * green.std,
            nir=nir.minimum + thresholds.dark_nir * nir.std,
            # As in the notebook, near infrared is held against statistics of NDVI.
            clear_water=(ndvi.minimum + thresholds.clear_water * ndvi.std, q75 + ndvi.std),
            turbid_water=(ndvi.minimum + thresholds.turbid_water * ndvi.std, q25 + ndvi.std),
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
        limits = Limits.of(known, self._thresholds)
        out = np.empty((3, *bands[0].shape), "uint8")
        for part, block in statistics.blocks(bands):
            out[:, *part] = classes(block, known.stretch, limits).reshape(3, *out[0, *part].shape)
        return out


def classes(block: Block, stretch: Stretch, limits: Limits) -> npt.NDArray[np.uint8]:
    """Decide pixels ``(pixel,)`` of a scene: class, water and cloud ``(3, pixel)``. Shadow wins over cloud."""
    green, red, nir = (stretch(band, block[band]) for band in (1, 2, 3))
    out = np.zeros((3, green.size), "uint8")
    with np.errstate(invalid="ignore", divide="ignore"):
        ndvi = formulas.ndvi(red, nir)
    likely = np.flatnonzero((limits.ndvi[0] < ndvi) & (ndvi < limits.ndvi[1]))
    water = (ndvi < limits.clear_water[0]) & (nir < limits.clear_water[1])
    water |= (ndvi < limits.turbid_water[0]) & (nir < limits.turbid_water[1])
    shadow = (green < limits.green) & (nir < limits.nir) & ~water
    cloud = likely[_are_cloud(stretch.normalised(tuple(band[likely] for band in block)), limits)]
    out[0, cloud] = CLOUD
    out[0][shadow] = SHADOW
    out[1] = water
    out[2, cloud] = 1
    out[:, outside(block, stretch)] = NO_DATA
    return out


def _are_cloud(block: Block, limits: Limits) -> npt.NDArray[np.bool_]:
    """Return which pixels pass the tests other than NDVI's."""
    blue, green, red, nir = block
    with np.errstate(invalid="ignore", divide="ignore"):
        cloud: npt.NDArray[np.bool_] = formulas.whiteness(blue, green, red, formulas.PAN) < limits.whiteness
        cloud &= formulas.hot(blue, red, slope=0.45) > limits.hot
        cloud &= formulas.cloud_index(blue, green, red, nir) < limits.cloud_index
        cloud &= formulas.nscd(blue, red, nir) > limits.nscd
    return cloud


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
