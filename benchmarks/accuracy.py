"""Agreement with labels, and what is called cloud where there is none."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.common import ROLES, SHARED, row

# Cover of low cloud, and landscapes of the simulator.
SURFACES = {
    "full cloud": (1.0, ("temperate", "forest", "city")),
    "clear land": (0.0, ("temperate", "farmland", "forest", "steppe", "city")),
    "bright sand": (0.0, ("desert",)),
    "salt": (0.0, ("salt_flat",)),
    "snow": (0.0, ("winter", "ice")),
}
SEEDS = 4
LABELLED = SHARED / "data/sentinel2_l1c_labelled.npz"


def accuracy() -> None:
    """Cohen's kappa over clear, cloud and shadow on the labelled Sentinel-2 patch."""
    from ukis_csmask.mask import CSmask

    from benchmarks.worlds import scores
    from xr_cloudmask.evaluation import evaluate, read
    from xr_cloudmask.masks.agreement import Agreement

    if not LABELLED.exists():
        row("accuracy", "not measured: ../shared/data/sentinel2_l1c_labelled.npz is absent")
        return
    labelled = read(LABELLED)
    for count in (6, 4):
        bands = ROLES[:count]
        image = np.stack([labelled.cube[band].values for band in bands], axis=-1)
        peer = CSmask(image, list(bands), product_level="l1c", batch_size=4).csm[..., 0]
        found = Agreement.of(labelled.truth, peer.astype("uint8"))
        row(f"real Sentinel-2 patch, {count} bands, CSmask class", scores(found))
        for model in ("csmask", "physical"):
            found = evaluate(labelled, model, bands=bands, level="TOA")
            row(f"real Sentinel-2 patch, {count} bands, {model}", scores(found))
    for count in (6, 4, 3):
        found = evaluate(labelled, "universal", bands=ROLES[:count], sensor="sentinel-2", level="TOA")
        row(f"real Sentinel-2 patch, {count} bands, universal", scores(found))


def turbid_water(seed: int) -> Any:
    """Return a surface of the most turbid of many simulated waters, in drifting concentration."""
    from xr_cloudmask import simulate
    from xr_cloudmask.simulate import fields, ground, spectra
    from xr_cloudmask.simulate.light import response

    rng = np.random.default_rng(seed)
    seen = response(ground.limits(ground.sensor_bands(ground.sensor_table("sentinel-2"), ROLES)))
    water = max((seen @ spectra.water(rng, False) for _ in range(200)), key=lambda reflectance: reflectance[2])
    surface = simulate.clear_surface(bands=ROLES, size=(512, 512))
    return surface.copy(data=water[:, None, None] * (1 + 0.15 * fields.rough(rng, (512, 512), 3.0)).astype("float32"))


def surfaces() -> None:
    """What models call cloud under an overcast sky, over clear land, bright sand, salt, snow and turbid water."""
    from xr_cloudmask import predict, simulate

    scenes = {
        name: [
            simulate.scene(
                simulate.clear_surface(bands=ROLES, landscape=landscape, seed=seed), cover=cover, gsd=30, seed=seed
            )
            for seed in range(SEEDS)
            for landscape in landscapes
        ]
        for name, (cover, landscapes) in SURFACES.items()
    }
    scenes["turbid water"] = [simulate.scene(turbid_water(seed), cover=0, gsd=30, seed=seed) for seed in range(SEEDS)]
    for name, cubes in scenes.items():
        figures = []
        for model in ("physical", "csmask", "universal", "ensemble"):
            for count in (4, 6):
                found = [predict(cube[list(cube.data_vars)[:count]], model).cloud_fraction for cube in cubes]
                figures.append(f"{model} {count} bands {float(np.mean(found)):.1%}")
        row(f"called cloud: {name}", ", ".join(figures))
