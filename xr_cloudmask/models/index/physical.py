"""Absolute tests on top-of-atmosphere reflectance, in the spirit of Fmask: cloud, thin cloud and cloud shadow.

No threshold depends on how much of a scene is cloud, so a scene may be all cloud or have none. Four bands are enough;
short-wave infrared, cirrus and thermal bands are used where the cube has them. Hazy air and dry soil look like the thin
edge of a cloud, so there are two sets of tests: what may be cloud is cloud only close to what certainly is. Shadows are
what near infrared shows as basins darker than their surroundings (a flood fill), where clouds can cast them: along the
sun's direction where that is known, on all sides where it is not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from xr_cloudmask.cube.bands import BandDescriptor
from xr_cloudmask.cube.sun import Shift, Sun
from xr_cloudmask.errors import ModelError
from xr_cloudmask.models.base import FloatArray, ModelSpec
from xr_cloudmask.models.index import formulas, thresholds

Mask = npt.NDArray[np.bool_]

CLASSES = ("clear", "thick_cloud", "thin_cloud", "cloud_shadow")
CLEAR, CLOUD, THIN, SHADOW = range(4)
GSD = 30.0  # the tests were published for Landsat
WINDOW, HALO = 1024, 142
CERTAIN_WIDTH, WIDTH = 5, 3  # pixels; what is narrower is a roof, or a speck
GROUND = 0.02  # quantile of what is seen at 1.38 µm that is the ground's own
RIM = 10  # pixels at most: the halo leaves room for no wider one, see `cube.sun.MARGIN`
UNKNOWN = Sun(None, (GSD, GSD))
# Of thresholds that make no sense everywhere.
RANGES = {
    "background": (0.0, 1.0),
    "shadow_nir": (0.0, 1.0),
    "shadow_swir16": (0.0, 1.0),
    "temperature": (0.0, math.inf),
    "bare_cirrus": (0.0, 1.0),
    "cold": (0.0, math.inf),
    "snow_temperature": (0.0, math.inf),
    "rim": (0.0, math.inf),
    "height": (0.0, math.inf),
    "reach": (0.0, math.inf),
}


@dataclass(frozen=True)
class PhysicalThresholds:
    """The limits of every test. Reflectance is 0–1, top of atmosphere.

    Attributes
    ----------
    whiteness, hot : float
        What may be cloud is whiter and hazier. Source: Zhu & Woodcock (2012), equations 2 and 3, there with a limit of
        0 for haze; 0.01 was chosen here, on simulated worlds and the labelled patch of the documentation.
    ndvi : float
        A cloud is less green than this. Source: Zhu & Woodcock (2012), equation 1.
    nir_over_green : float
        A cloud has less near infrared, in terms of green, than vegetation. Source: after Sen2Cor, step 4, T2, there
        with narrow near infrared; kept because it did best on the labelled patch of the documentation.
    water_nir_over_green : float
        Without short-wave infrared: a cloud has more near infrared, in terms of green, than turbid water. Source:
        chosen here, on simulated worlds.
    ndsi : float
        A cloud is less like snow than this. Source: Zhu & Woodcock (2012), equation 1, there 0.8; 0.6 was chosen here,
        on simulated worlds.
    swir22 : float
        A cloud is brighter than this at 2.2 µm. Source: Zhu & Woodcock (2012), equation 1.
    blue_over_swir16 : float
        A cloud has more blue, in terms of 1.6 µm, than bare soil. Source: chosen here; Sen2Cor, step 5, has a related
        test.
    temperature : float
        Kelvin; a cloud is colder. Source: Zhu & Woodcock (2012), equation 1.
    cold : float
        Kelvin; what is colder is cloud, though it looks like snow: no droplet stays liquid below about 235 K, and of
        the ground only high polar plateaus are that cold. Source: chosen here, after the former.
    certain_hot, certain_nir_over_red : float
        Without short-wave infrared: what is certainly cloud is hazier, and has more near infrared, in terms of red,
        than snow. Source: chosen here, on simulated worlds.
    certain_hot_with_swir, certain_blue_over_swir22, certain_swir16 : float
        With short-wave infrared: what is certainly cloud is hazier, has more blue, in terms of 2.2 µm, than soil, sand
        and salt, and is brighter at 1.6 µm than snow and water. Source: chosen here, on simulated worlds; the first
        two were lowered for the clouds of the labelled patch of the documentation, which are less white.
    rim : float
        Metres from what is certainly cloud within which what may be cloud is cloud; 10 pixels at most. Source: chosen
        here, on simulated worlds.
    cirrus : float
        A thin cloud is brighter at 1.38 µm. Source: Zhu, Wang & Woodcock (2015).
    bare_cirrus : float
        Through dry air the ground itself is seen at 1.38 µm: a thin cloud is brighter than the darkest ground of its
        window, in terms of near infrared; of that no more than this share is the ground's, snow apart, so that an
        overcast is not taken for it. Source: chosen here; after Qiu, Zhu & He (2019), there by elevation.
    snow_ndsi, snow_nir, snow_temperature : float
        Snow under air so dry has a larger NDSI and more near infrared than this, and is colder, in Kelvin, where that
        is known. Source: Hall, Riggs & Salomonson (1995); Zhu & Woodcock (2012), equation 20; the last chosen here.
    shadow_nir, shadow_swir16 : float
        A shadow has at most this share of what the flood fill finds around it. Source: chosen here; direct light, which
        a shadow lacks, is most of the light in near infrared. Fmask uses a difference of more than 0.02 instead.
    background : float
        Quantile of near infrared outside clouds that the flood fill assumes beyond a window. Source: after Fmask, there
        of clear land.
    water_ndvi, water_nir : tuple of float
        Water is below both of either pair. Source: Zhu & Woodcock (2012), equation 5; that no shadow is looked for
        there was chosen here.
    height : tuple of float
        Metres; where clouds are looked for above a shadow. Source: the lowest, Zhu & Woodcock (2012), equation 21. The
        highest is about what a halo allows for at 45 degrees of sun elevation, where Fmask goes to 12 km: shadows
        of high clouds are missed. Where the halo allows for less, under a low sun, the mask's attributes say so.
    reach : float
        Metres from a cloud within which a shadow can lie, where the sun's direction is unknown. Source: chosen here.
    """

    whiteness: float = 0.7
    hot: float = 0.01
    ndvi: float = 0.8
    nir_over_green: float = 2.5
    water_nir_over_green: float = 0.6
    ndsi: float = 0.6
    swir22: float = 0.03
    blue_over_swir16: float = 0.55
    temperature: float = 300.15
    cold: float = 235.15
    certain_hot: float = 0.08
    certain_nir_over_red: float = 0.9
    certain_hot_with_swir: float = 0.06
    certain_blue_over_swir22: float = 0.9
    certain_swir16: float = 0.18
    rim: float = 300.0
    cirrus: float = 0.01
    bare_cirrus: float = 0.05
    snow_ndsi: float = 0.4
    snow_nir: float = 0.11
    snow_temperature: float = 265.15
    shadow_nir: float = 0.7
    shadow_swir16: float = 0.9
    background: float = 0.175
    water_ndvi: tuple[float, float] = (0.01, 0.1)
    water_nir: tuple[float, float] = (0.11, 0.05)
    height: tuple[float, float] = (200.0, 3800.0)
    reach: float = 1500.0

    def __post_init__(self) -> None:
        thresholds.check(self, RANGES)
        if self.height[0] > self.height[1]:
            raise ModelError(f"height={self.height}", "the lowest, then the highest", f"height={self.height[::-1]}")


class Physical:
    """The tests: a `models.base.Model` that also takes the sun's direction."""

    batch_size = 1
    threaded = False

    def __init__(self, limits: PhysicalThresholds) -> None:
        self._limits = limits

    def probabilities(
        self, windows: FloatArray, descriptors: Sequence[BandDescriptor], sun: Sun = UNKNOWN
    ) -> FloatArray:
        """Return 1 for the class of each pixel and 0 for the others."""
        roles = [STANDS_FOR.get(str(band.role), str(band.role)) for band in descriptors]
        labels = np.stack([classes(dict(zip(roles, w, strict=True)), self._limits, sun) for w in windows])
        return np.moveaxis(np.eye(len(CLASSES), dtype="float32")[labels], -1, 1)


def classes(bands: Mapping[str, FloatArray], limits: PhysicalThresholds, sun: Sun) -> npt.NDArray[np.intp]:
    """Decide the pixels ``(y, x)`` of a window."""
    with np.errstate(invalid="ignore", divide="ignore"):
        cloud = clouds(bands, limits, max(sun.pixel))
        thin = without_specks(cirrus(bands, cloud, limits)) if "cirrus" in bands else np.zeros_like(cloud)
        shadow = shadows(bands, cloud | thin, limits) & cast(cloud | thin, limits, sun)
    return np.select([cloud, thin, without_specks(shadow)], [CLOUD, THIN, SHADOW], CLEAR)


def clouds(bands: Mapping[str, FloatArray], limits: PhysicalThresholds, pixel: float = GSD) -> Mask:
    """Return what is certainly cloud, and what may be cloud around it; NaN is neither. `pixel` is in metres."""
    may_be = possible(bands, limits)
    core = without_specks(may_be & certain(bands, limits), CERTAIN_WIDTH)
    return without_specks(grown(core, may_be, min(round(limits.rim / pixel), RIM)))


def possible(bands: Mapping[str, FloatArray], limits: PhysicalThresholds) -> Mask:
    """Return where every test for what may be cloud that the bands allow is passed."""
    blue, green, red, nir = (bands[role] for role in ("blue", "green", "red", "nir"))
    passed: Mask = formulas.whiteness(blue, green, red) < limits.whiteness
    passed &= formulas.hot(blue, red) > limits.hot
    passed &= formulas.ndvi(red, nir) < limits.ndvi
    passed &= nir < limits.nir_over_green * green
    if "swir16" in bands:
        passed &= (formulas.ndsi(green, bands["swir16"]) < limits.ndsi) | frozen(bands, limits)
        passed &= blue > limits.blue_over_swir16 * bands["swir16"]
        passed &= bands["swir22"] > limits.swir22
    else:
        passed &= nir > limits.water_nir_over_green * green
    if "lwir11" in bands:
        passed &= bands["lwir11"] < limits.temperature
    return passed


def certain(bands: Mapping[str, FloatArray], limits: PhysicalThresholds) -> Mask:
    """Return where what may be cloud is nothing else: neither haze nor bright ground."""
    haze = formulas.hot(bands["blue"], bands["red"])
    if "swir16" in bands:
        passed: Mask = haze > limits.certain_hot_with_swir
        passed &= bands["blue"] > limits.certain_blue_over_swir22 * bands["swir22"]
        passed &= (bands["swir16"] > limits.certain_swir16) | frozen(bands, limits)
    else:
        passed = haze > limits.certain_hot
        passed &= bands["nir"] > limits.certain_nir_over_red * bands["red"]
    return passed


def frozen(bands: Mapping[str, FloatArray], limits: PhysicalThresholds) -> Mask:
    """Return where it is colder than snow nearly anywhere on the ground."""
    thermal = bands.get("lwir11")
    return np.zeros(bands["red"].shape, bool) if thermal is None else thermal < limits.cold


def cirrus(bands: Mapping[str, FloatArray], cloud: Mask, limits: PhysicalThresholds) -> Mask:
    """Return what is brighter at 1.38 µm than the ground there, which dry air lets through; `cloud` is other cloud."""
    seen, nir, snow = bands["cirrus"], bands["nir"], dry_snow(bands, limits)
    ground = np.zeros_like(seen)
    for pixels, most in ((snow & ~cloud, 1.0), (~snow & ~cloud, limits.bare_cirrus)):
        shares = (seen / nir)[pixels & (nir > 0) & np.isfinite(seen)]
        if shares.size:
            ground[pixels] = np.float32(np.clip(np.quantile(shares, GROUND), 0, most)) * nir[pixels]
    return seen - ground > limits.cirrus


def dry_snow(bands: Mapping[str, FloatArray], limits: PhysicalThresholds) -> Mask:
    """Return what may be snow under air so dry that it is seen at 1.38 µm; only short-wave infrared tells."""
    if "swir16" not in bands:
        return np.zeros(bands["red"].shape, bool)
    snow: Mask = formulas.ndsi(bands["green"], bands["swir16"]) > limits.snow_ndsi
    snow &= (bands["nir"] > limits.snow_nir) & np.isfinite(bands["cirrus"])
    if "lwir11" in bands:
        snow &= bands["lwir11"] < limits.snow_temperature
    return snow & ~frozen(bands, limits)


def grown(core: Mask, within: Mask, steps: int) -> Mask:
    """Return a mask and what of another is connected to it, no more than some pixels away."""
    from scipy import ndimage

    if steps == 0:  # which SciPy would take for any number
        return core
    return np.asarray(ndimage.binary_dilation(core, iterations=steps, mask=within))


def shadows(bands: Mapping[str, FloatArray], cloud: Mask, limits: PhysicalThresholds) -> Mask:
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


def cast(cloud: Mask, limits: PhysicalThresholds, sun: Sun) -> Mask:
    """Return where clouds can cast shadows: along the sun's direction, or within reach where that is unknown."""
    from scipy import ndimage

    if not cloud.any():
        return cloud
    if sun.shift is None:
        return np.asarray(ndimage.distance_transform_edt(~cloud, sampling=sun.pixel) <= sun.furthest(limits.reach))
    out = np.zeros_like(cloud)
    for rows, columns in _steps(sun.shift, (limits.height[0], sun.highest(limits.height[1]))):
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


def without_specks(mask: Mask, width: int = WIDTH) -> Mask:
    """Drop what is narrower than an odd number of pixels: single bright roofs, single dark ones."""
    from scipy import ndimage

    reach = width // 2
    continued = np.pad(mask, reach, mode="edge")  # what a window cuts off is no speck
    opened = ndimage.binary_opening(continued, iterations=reach)
    return np.asarray(opened[reach:-reach, reach:-reach])


FOUR_BANDS = (("blue",), ("green",), ("red",), ("nir", "nir08"))
# What else it can use, and the variant's name for it.
OPTIONAL = {"swir": (("swir16",), ("swir22",)), "cirrus": (("cirrus",),), "thermal": (("lwir11", "lwir"),)}
STANDS_FOR = {"nir08": "nir", "lwir": "lwir11"}


def _spec(extra: Sequence[str]) -> ModelSpec:
    return ModelSpec(
        name="physical",
        variant="+".join(["4b", *extra]),
        version="3",
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
        thresholds=PhysicalThresholds(),
    )


SPECS = tuple(_spec(extra) for count in (3, 2, 1, 0) for extra in combinations(OPTIONAL, count))


def load(spec: ModelSpec, device: str | None) -> Physical:  # noqa: ARG001 - the tests run where NumPy does
    """Return the tests with the thresholds of a spec."""
    return Physical(spec.thresholds)
