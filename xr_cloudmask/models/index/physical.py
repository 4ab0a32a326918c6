"""Absolute tests on top-of-atmosphere reflectance, in the spirit of Fmask: cloud, thin cloud and cloud shadow.

No threshold depends on how much of a scene is cloud, so a scene may be all cloud or have none. Four bands are enough;
short-wave infrared, cirrus and thermal bands are used where the cube has them. Shadows are what near infrared shows as
basins darker than their surroundings (a flood fill), where clouds can cast them: along the sun's direction where that
is known, on all sides where it is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from xr_cloudmask.cube.bands import BandDescriptor
from xr_cloudmask.cube.sun import Shift
from xr_cloudmask.models.base import FloatArray, ModelSpec
from xr_cloudmask.models.index import formulas

Mask = npt.NDArray[np.bool_]

CLASSES = ("clear", "thick_cloud", "thin_cloud", "cloud_shadow")
CLEAR, CLOUD, THIN, SHADOW = range(4)
GSD = 30.0  # the tests were published for Landsat
WINDOW, HALO = 1024, 128


@dataclass(frozen=True)
class Thresholds:
    """The limits of every test. Reflectance is 0–1, top of atmosphere.

    Attributes
    ----------
    whiteness, hot, ndvi : float
        A cloud is whiter, hazier and less green than these. Source: Zhu & Woodcock (2012), the basic test.
    nir_over_green : float
        A cloud has less near infrared, in terms of green, than senescing vegetation. Source: Sen2Cor 2.11 ATBD, step 4.
    ndsi, swir22 : float
        A cloud is less like snow than this, and brighter at 2.2 µm. Source: Zhu & Woodcock (2012), the basic test.
    blue_over_swir16 : float
        A cloud has more blue, in terms of 1.6 µm, than bare soil. Source: Sen2Cor 2.11 ATBD, step 5.
    temperature : float
        Kelvin; a cloud is colder. Source: Zhu & Woodcock (2012), the basic test.
    cirrus : float
        A thin cloud is brighter at 1.38 µm. Source: Zhu, Wang & Woodcock (2015).
    shadow_nir, shadow_swir16 : float
        A shadow has at most this share of what the flood fill finds around it. Source: set here; direct light, which a
        shadow lacks, is most of the light in near infrared.
    background : float
        Quantile of clear near infrared that the flood fill assumes beyond a window. Source: Zhu & Woodcock (2012).
    water_ndvi, water_nir : tuple of float
        Water is below both of either pair, and no shadow is looked for there. Source: Zhu & Woodcock (2012).
    height : tuple of float
        Metres; where clouds are looked for above a shadow. Source: the lowest, Zhu & Woodcock (2012); the highest is
        what a window's halo allows for at 45 degrees of sun elevation.
    reach : float
        Metres from a cloud within which a shadow can lie, where the sun's direction is unknown. Source: set here.
    """

    whiteness: float = 0.7
    hot: float = 0.0
    ndvi: float = 0.8
    nir_over_green: float = 2.5
    ndsi: float = 0.8
    swir22: float = 0.03
    blue_over_swir16: float = 0.55
    temperature: float = 300.15
    cirrus: float = 0.01
    shadow_nir: float = 0.7
    shadow_swir16: float = 0.9
    background: float = 0.175
    water_ndvi: tuple[float, float] = (0.01, 0.1)
    water_nir: tuple[float, float] = (0.11, 0.05)
    height: tuple[float, float] = (200.0, 3800.0)
    reach: float = 1500.0


class Physical:
    """The tests: a `models.base.Model` that also takes the sun's direction."""

    batch_size = 1

    def __init__(self, thresholds: Thresholds) -> None:
        self._thresholds = thresholds

    def probabilities(
        self, windows: FloatArray, descriptors: Sequence[BandDescriptor], shift: Shift | None = None
    ) -> FloatArray:
        """Return 1 for the class of each pixel and 0 for the others; `shift` in pixels per metre of cloud height."""
        roles = [STANDS_FOR.get(str(band.role), str(band.role)) for band in descriptors]
        labels = np.stack([classes(dict(zip(roles, w, strict=True)), self._thresholds, shift) for w in windows])
        return np.moveaxis(np.eye(len(CLASSES), dtype="float32")[labels], -1, 1)


def classes(bands: Mapping[str, FloatArray], limits: Thresholds, shift: Shift | None) -> npt.NDArray[np.intp]:
    """Decide the pixels ``(y, x)`` of a window."""
    with np.errstate(invalid="ignore", divide="ignore"):
        cloud = without_specks(clouds(bands, limits))
        thin = bands["cirrus"] > limits.cirrus if "cirrus" in bands else np.zeros_like(cloud)
        shadow = shadows(bands, cloud | thin, limits) & cast(cloud | thin, limits, shift)
    return np.select([cloud, thin, without_specks(shadow)], [CLOUD, THIN, SHADOW], CLEAR)


def clouds(bands: Mapping[str, FloatArray], limits: Thresholds) -> Mask:
    """Return where every test for cloud that the bands allow is passed; NaN passes none."""
    blue, green, red, nir = (bands[role] for role in ("blue", "green", "red", "nir"))
    passed: Mask = formulas.whiteness(blue, green, red) < limits.whiteness
    passed &= formulas.hot(blue, red) > limits.hot
    passed &= formulas.ndvi(red, nir) < limits.ndvi
    passed &= nir < limits.nir_over_green * green
    if "swir16" in bands:
        passed &= formulas.ndsi(green, bands["swir16"]) < limits.ndsi
        passed &= blue > limits.blue_over_swir16 * bands["swir16"]
        passed &= bands["swir22"] > limits.swir22
    if "lwir11" in bands:
        passed &= bands["lwir11"] < limits.temperature
    return passed


def shadows(bands: Mapping[str, FloatArray], cloud: Mask, limits: Thresholds) -> Mask:
    """Return the basins that could be shadow, wherever the clouds are; water is left out."""
    nir, ndvi = bands["nir"], formulas.ndvi(bands["red"], bands["nir"])
    dark = nir < limits.shadow_nir * flooded(nir, cloud, limits.background)
    if "swir16" in bands:
        dark &= bands["swir16"] < limits.shadow_swir16 * flooded(bands["swir16"], cloud, limits.background)
    for below_ndvi, below_nir in zip(limits.water_ndvi, limits.water_nir, strict=True):
        dark &= ~((ndvi < below_ndvi) & (nir < below_nir))
    return dark & ~cloud


def flooded(band: FloatArray, cloud: Mask, background: float) -> FloatArray:
    """Fill the basins of a band up to their rims; beyond the window lies a quantile of its clear pixels.

    Source: Soille (2004), Morphological Image Analysis, section 6.3.6, by sweeps along rows and columns.
    """
    clear = band[~cloud & np.isfinite(band)]
    beyond = np.float32(np.quantile(clear, background)) if clear.size else np.float32(np.inf)
    ground = np.pad(np.where(np.isnan(band), beyond, band), 1, constant_values=beyond)
    level = np.full_like(ground, np.inf)
    level[[0, -1]] = level[:, [0, -1]] = beyond
    while True:
        before = level.copy()
        _sweep(ground, level)
        turned = np.ascontiguousarray(level.T)
        _sweep(np.ascontiguousarray(ground.T), turned)
        level = np.ascontiguousarray(turned.T)
        if np.array_equal(level, before):
            return level[1:-1, 1:-1]


def _sweep(ground: FloatArray, level: FloatArray) -> None:
    """Let water run off along the columns, down and up."""
    for rows in (range(1, len(level)), range(len(level) - 2, -1, -1)):
        step = 1 if rows.step > 0 else -1
        for row in rows:
            np.minimum(level[row], level[row - step], out=level[row])
            np.maximum(level[row], ground[row], out=level[row])


def cast(cloud: Mask, limits: Thresholds, shift: Shift | None) -> Mask:
    """Return where clouds can cast shadows: along the sun's direction, or within reach where that is unknown."""
    from scipy import ndimage

    if not cloud.any():
        return cloud
    if shift is None:
        return np.asarray(ndimage.distance_transform_edt(~cloud) <= limits.reach / GSD)
    out = np.zeros_like(cloud)
    for rows, columns in _steps(shift, limits.height):
        out |= shifted(cloud, rows, columns)
    return np.asarray(ndimage.binary_dilation(out, iterations=2))  # heights vary within a cloud, slopes on the ground


def _steps(shift: Shift, height: tuple[float, float]) -> Iterator[tuple[int, int]]:
    """Yield how far a shadow lies from its cloud, pixel by pixel, from the lowest cloud to the highest."""
    low, high = (bound * max(map(abs, shift)) for bound in height)
    for distance in np.arange(low, high + 1):
        share = min(distance / max(high, 1e-9), 1) * height[1]
        yield round(share * shift[0]), round(share * shift[1])


def shifted(mask: Mask, rows: int, columns: int) -> Mask:
    """Return a mask moved by some pixels; what comes from beyond the window is false."""
    out = np.zeros_like(mask)
    if abs(rows) < mask.shape[0] and abs(columns) < mask.shape[1]:
        target, source = ((_part(rows, sign), _part(columns, sign)) for sign in (1, -1))
        out[target] = mask[source]
    return out


def _part(steps: int, sign: int) -> slice:
    steps *= sign
    return slice(max(steps, 0), min(steps, 0) or None)


def without_specks(mask: Mask) -> Mask:
    """Drop what is narrower than three pixels: single bright roofs, single dark ones."""
    from scipy import ndimage

    continued = np.pad(mask, 1, mode="edge")  # what a window cuts off is no speck
    return np.asarray(ndimage.binary_opening(continued)[1:-1, 1:-1])


FOUR_BANDS = (("blue",), ("green",), ("red",), ("nir", "nir08"))
# What else it can use, and the variant's name for it.
OPTIONAL = {"swir": (("swir16",), ("swir22",)), "cirrus": (("cirrus",),), "thermal": (("lwir11", "lwir"),)}
STANDS_FOR = {"nir08": "nir", "lwir": "lwir11"}


def _spec(extra: Sequence[str]) -> ModelSpec:
    return ModelSpec(
        name="physical",
        variant="+".join(["4b", *extra]),
        version="1",
        bands=FOUR_BANDS + tuple(need for name in extra for need in OPTIONAL[name]),
        level="TOA",
        classes=CLASSES,
        window=WINDOW,
        halo=HALO,
        multiple=1,
        gsd=GSD,
        licence="none needed: no weights",
        citation="after Zhu & Woodcock (2012), doi:10.1016/j.rse.2011.10.028",
        loader=f"{__name__}:load",
        kinds=("reflectance", "brightness_temperature"),
        casts_shadows=True,
        thresholds=Thresholds(),
    )


SPECS = tuple(_spec(extra) for count in (3, 2, 1, 0) for extra in combinations(OPTIONAL, count))


def load(spec: ModelSpec, device: str | None) -> Physical:  # noqa: ARG001 - the tests run where NumPy does
    """Return the tests with the thresholds of a spec."""
    return Physical(spec.thresholds)
