"""s2cloudless, Sentinel Hub's cloud detector for Sentinel-2: boosted trees, pixel by pixel, averaged and dilated.

Only the model's text is read from the package that the user installed: neither it nor lightgbm, OpenCV or sentinelhub
is imported. It sees top-of-atmosphere reflectance of ten bands, B10 (cirrus) among them, which Level-2A lacks.

Source: Skakun et al. (2022), https://doi.org/10.1016/j.rse.2022.112990; https://github.com/sentinel-hub/sentinel2-cloud-detector
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from xr_cloudmask.cube.bands import BandDescriptor
from xr_cloudmask.errors import ModelError
from xr_cloudmask.extras import install_extra, shipped
from xr_cloudmask.models.base import FloatArray, ModelSpec
from xr_cloudmask.models.boosted import Forest
from xr_cloudmask.models.csmask import threads_of_this_worker
from xr_cloudmask.models.index import thresholds

FILE = "models/pixel_s2_cloud_detector_lightGBM_v0.1.txt"
SHA256 = "0f92b6822cc0ad42982f55bab9b1688329e119451ad9a9e0a56384b9f37bc61d"
CLASSES = ("clear", "thick_cloud")
LARGEST = 64  # pixels of a radius
PART = 1 << 14  # pixels of a thread's turn


@dataclass(frozen=True)
class S2cloudlessThresholds:
    """What makes a mask of the probabilities, with the names and defaults of s2cloudless.

    Attributes
    ----------
    threshold : float
        What has a larger probability, averaged, is cloud.
    average_over : int
        Radius in pixels of the disk that probabilities are averaged over; 0 for none.
    dilation_size : int
        Radius in pixels of the disk that clouds grow by; 0 for none.
    """

    threshold: float = 0.4
    average_over: int = 1
    dilation_size: int = 1

    def __post_init__(self) -> None:
        thresholds.check(self, {"threshold": (0, 1), "average_over": (0, LARGEST), "dilation_size": (0, LARGEST)})
        for name in ("average_over", "dilation_size"):
            if getattr(self, name) != int(getattr(self, name)):
                raise ModelError(f"{name}={getattr(self, name)!r}", "whole pixels", f"{name}=1")

    @property
    def halo(self) -> int:
        """How many pixels around a pixel decide it."""
        return int(self.average_over + self.dilation_size)


SPEC = ModelSpec(
    name="s2cloudless",
    variant="10b_l1c",
    version="1.7.3",
    bands=tuple(
        (role,)
        for role in (
            *("coastal", "blue", "red", "rededge071", "nir"),
            *("nir08", "nir09", "cirrus", "swir16", "swir22"),
        )
    ),
    level="TOA",
    classes=CLASSES,
    window=512,
    halo=S2cloudlessThresholds().halo,
    multiple=1,
    gsd=0.0,  # pixel by pixel: any
    loader=f"{__name__}:load",
    requires=("s2cloudless",),
    install=install_extra("s2cloudless"),
    licence="CC-BY-SA-4.0",
    citation="Sinergise, s2cloudless; Skakun et al. (2022), doi:10.1016/j.rse.2022.112990",
    sha256=SHA256,
    thresholds=S2cloudlessThresholds(),
    decides=True,
)
SPECS = (SPEC,)


@dataclass(frozen=True)
class S2cloudless:
    """The trees, and what makes a mask of their probabilities: a `models.base.Model`."""

    forest: Forest
    limits: S2cloudlessThresholds
    batch_size: int = 1

    def probabilities(self, windows: FloatArray, descriptors: Sequence[BandDescriptor]) -> FloatArray:  # noqa: ARG002
        """Return the probabilities of clear and cloud of each pixel by itself."""
        count, bands, *shape = windows.shape
        pixels = windows.transpose(1, 0, 2, 3).reshape(bands, -1)
        starts = range(0, pixels.shape[1], PART)
        with ThreadPoolExecutor(threads_of_this_worker()) as pool:
            parts = pool.map(lambda start: self.forest.probabilities(pixels[:, start : start + PART]), starts)
            cloud = np.concatenate(list(parts)).reshape(count, *shape)
        return np.stack([1 - cloud, cloud], axis=1).astype("float32")

    def decided(self, probabilities: FloatArray, window: FloatArray) -> FloatArray:
        """Return 1 for what a pixel ``(class, y, x)`` is: above the threshold where averaged, then dilated.

        Pixels without data neither count in the average nor grow.
        """
        from scipy import ndimage

        seen = np.asarray(np.isfinite(window).all(axis=0))
        cloud = seen & (averaged(probabilities[1], seen, self.limits) > np.float32(self.limits.threshold))
        if self.limits.dilation_size:
            cloud = ndimage.binary_dilation(cloud, disk(int(self.limits.dilation_size)))
        return np.stack([~cloud, cloud]).astype("float32")


def averaged(cloud: FloatArray, seen: npt.NDArray[np.bool_], limits: S2cloudlessThresholds) -> FloatArray:
    """Average probabilities over a disk, mirrored at the edges; only of pixels with data."""
    if not limits.average_over:
        return cloud
    from scipy import ndimage

    weights: npt.NDArray[np.float64] = disk(int(limits.average_over)).astype("float64")
    weights /= weights.sum()

    def smooth(values: FloatArray) -> FloatArray:
        return np.asarray(ndimage.correlate(values, weights, mode="reflect"))

    if seen.all():
        return smooth(cloud)
    share = smooth(seen.astype("float32"))
    total = smooth(np.where(seen, cloud, np.float32(0)))
    return np.asarray(total / np.maximum(share, np.float32(1e-30)), "float32")


def disk(radius: int) -> npt.NDArray[np.bool_]:
    """Return the disk ``(2 radius + 1, 2 radius + 1)`` that OpenCV draws, by Bresenham's algorithm.

    Examples
    --------
    >>> disk(1).astype(int).tolist()
    [[0, 1, 0], [1, 1, 1], [0, 1, 0]]
    """
    out = np.zeros((2 * radius + 1, 2 * radius + 1), bool)
    error, wide, high = 0, radius, 0
    while wide >= high:
        for y, x in ((high, wide), (wide, high)):
            out[[radius - y, radius + y], radius - x : radius + x + 1] = True
        error += 2 * high + 1
        high += 1
        if error > 0:
            error -= 2 * wide - 1
            wide -= 1
    return out


def load(spec: ModelSpec, device: str | None) -> S2cloudless:  # noqa: ARG001 - the CPU
    """Read the trees from the installed package and check them."""
    content = shipped(spec.requires[0], FILE, spec.sha256, spec.install)
    return S2cloudless(Forest.read(content.decode()), spec.thresholds)
