"""Simulated series with known truth: composites against what they would be without a cloud, and masks refined."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import xarray as xr

from benchmarks.common import ROLES, row
from xr_cloudmask import simulate
from xr_cloudmask.demo import real_surface
from xr_cloudmask.masks.agreement import Agreement, score
from xr_cloudmask.names import MASK_NAME
from xr_cloudmask.simulate.fields import rough

# Composites over the real surface.
METHODS: dict[str, dict[str, Any]] = {
    "median": {}, "mean": {}, "percentile": {"percentile": 25}, "geomedian": {}, "medoid": {}, "best": {},
}  # fmt: skip
DATES, SIZE, SEEDS, GSD = 16, 600, range(9), 10
EDGE = 30.0  # metres that clouds and shadows grow by
NO_MASK, TRUE_MASK = "no mask", "true mask"

# Refinement over landscapes.
LANDSCAPES = ("temperate", "forest", "desert", "salt_flat", "city", "winter", "ice")
OTHERS = {"harvest": "farmland", "snowfall": "ice"}  # farmland that turns into this, patch by patch
OVERCAST = "overcast"  # temperate, under clouds on most dates
MODELS = ("csmask", "physical", "universal")
LANDSCAPE_SIZE, LANDSCAPE_GSD, LANDSCAPE_SEEDS = 192, 20, (21, 22)


def composites() -> None:
    """Composites of a simulated series over a real surface: error with our masks, without one, with the true one."""
    for name, figure in composite_errors():
        row(name, figure)


def refinement() -> None:
    """Masks before and after the series has corrected them, over simulated landscapes."""
    for name, figure in corrections():
        row(name, figure)


def composite_errors() -> Iterator[tuple[str, str]]:
    """Yield the errors of composites: with masks of ours, without one, and with the true one."""
    found = [_errors_of(seed) for seed in SEEDS]
    for method, name in found[0]:
        error = np.array([one[method, name] for one in found])
        ratio = error / [one[method, TRUE_MASK] for one in found]
        words = f"{np.median(ratio):.2f} ({ratio.min():.2f} to {ratio.max():.2f}) × the true mask's"
        yield f"{method} of {DATES} dates, {name}, {len(SEEDS)} series", f"RMSE {np.median(error):.4f}, {words}"


def _errors_of(seed: int) -> dict[tuple[str, str], float]:
    cube, cloudless = scenes(DATES, SIZE, seed)
    masks = {**masks_of(cube.drop_vars("truth")), **bounds(cube["truth"])}
    return {
        (method, name): error
        for method, options in METHODS.items()
        for name, error in errors(cube, cloudless, masks, method, **options).items()
    }


def scenes(dates: int, size: int, seed: int) -> tuple[xr.Dataset, xr.Dataset]:
    """Return a series over the real surface with its ``truth``, and the same without clouds; reflectance."""
    options: dict[str, Any] = {"size": (size, size), "gsd": GSD, "dates": dates, "seed": seed}
    cloudy, clear = (simulate.series(real_surface(), cover=cover, **options) for cover in (None, 0.0))
    return cloudy.cloudmask.reflectance(), clear.cloudmask.reflectance()


def masks_of(cube: xr.Dataset) -> dict[str, xr.DataArray]:
    """Return masks by models, as they are, refined, and with larger clouds besides."""
    masks = {}
    for model in ("csmask", "universal"):
        mask = cube.cloudmask.predict(model)
        refined = cube.cloudmask.refine(mask)
        steps = {"": mask, ", refined": refined, f", refined and dilated by {EDGE:g} m": refined.cloudmask.dilate(EDGE)}
        masks |= {model + step: made[MASK_NAME] for step, made in steps.items()}
    return masks


def bounds(truth: xr.DataArray) -> dict[str, xr.DataArray]:
    """Return the true mask, also dilated, and the mask of who has none: everything with data is clear."""
    dilated = truth.cloudmask.dilate(EDGE)[MASK_NAME]
    return {NO_MASK: truth.where(truth == 255, 0), TRUE_MASK: truth, f"{TRUE_MASK}, dilated by {EDGE:g} m": dilated}


def errors(
    cube: xr.Dataset, cloudless: xr.Dataset, masks: dict[str, xr.DataArray], method: str, **options: Any
) -> dict[str, float]:
    """Return root mean square errors over all bands, of the pixels that every composite has."""

    def image(series: xr.Dataset, mask: xr.DataArray) -> np.ndarray:
        bare = series.drop_vars("truth")
        made = bare.cloudmask.composite(method, mask=mask, **options)
        return made[list(bare.data_vars)].to_dataarray().values

    expected = image(cloudless, bounds(cloudless["truth"])[NO_MASK])
    found = {name: image(cube, mask) for name, mask in masks.items()}
    everywhere = np.isfinite(np.concatenate([expected, *found.values()])).all(axis=0)
    return {
        name: float(np.sqrt(np.mean((image - expected)[:, everywhere] ** 2, dtype="float64")))
        for name, image in found.items()
    }


def corrections() -> Iterator[tuple[str, str]]:
    """Yield how well masks agree with the truth before and after they are refined."""
    places = (*LANDSCAPES, *OTHERS, OVERCAST)
    series = {place: [landscape(place, seed) for seed in LANDSCAPE_SEEDS] for place in places}
    for count in (6, 4):
        for model in MODELS:
            for place, some in series.items():
                pairs = [_before_and_after(cube, model, count) for cube in some]
                before, after = (reduce(add, stage) for stage in zip(*pairs, strict=True))
                yield f"refine, {place}, {count} bands, {model}", f"{_scores(before)}; refined: {_scores(after)}"


def landscape(place: str, seed: int) -> xr.Dataset:
    """Return a series over a landscape, reflectance with its ``truth``."""
    if place in OTHERS:
        # The sky of a date follows from the seed alone, so what is on the ground can be exchanged under it.
        before, after = _over("farmland", seed, seed), _over(OTHERS[place], seed + 100, seed)
        return after.where(_changed(place, seed), before).assign(truth=before["truth"])
    if place == OVERCAST:
        return _over("temperate", seed, seed, cover=np.linspace(0.6, 1, DATES).tolist())
    return _over(place, seed, seed)


def _over(name: str, place: int, sky: int, **options: Any) -> xr.Dataset:
    size = (LANDSCAPE_SIZE, LANDSCAPE_SIZE)
    surface = simulate.clear_surface("sentinel-2", bands=ROLES, size=size, landscape=name, seed=place)
    return simulate.series(surface, dates=DATES, seed=sky, gsd=LANDSCAPE_GSD, **options).cloudmask.reflectance()


def _changed(place: str, seed: int) -> xr.DataArray:
    """Return where and when the ground is another: from its patch's date on, snow for four dates."""
    field = rough(np.random.default_rng(seed), (LANDSCAPE_SIZE, LANDSCAPE_SIZE), 2.5)
    rank = field.argsort(axis=None).argsort().reshape(field.shape) / field.size
    dates = np.arange(DATES)[:, None, None]
    onset = 1.3 * DATES * rank  # on a quarter of the pixels nothing changes
    is_other = (dates >= onset) & (dates < onset + 4) if place == "snowfall" else dates >= onset
    return xr.DataArray(is_other, dims=("time", "y", "x"))


def _before_and_after(cube: xr.Dataset, model: str, count: int) -> tuple[Agreement, Agreement]:
    bands = cube[list(cube.drop_vars("truth").data_vars)[:count]]
    mask = bands.cloudmask.predict(model)
    refined = bands.cloudmask.refine(mask)
    return score(mask, cube["truth"]), score(refined, cube["truth"])


def _scores(agreement: Agreement) -> str:
    table, false = agreement.table(), agreement.counts[0, 1] / agreement.counts[0].sum()
    cloud, shadow = (
        f"{table.loc[name, 'recall']:.3f}/{table.loc[name, 'precision']:.3f}" for name in ("cloud", "cloud_shadow")
    )
    return f"kappa {agreement.kappa:.3f}, false cloud {false:.3f}, recall/precision cloud {cloud}, shadow {shadow}"
