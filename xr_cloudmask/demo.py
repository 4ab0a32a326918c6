"""The whole line on one page: six cloudy dates over a real surface, their masks, and what people do with masks.

The surface is the Sentinel-2 image that the package spyndex brings along; the clouds are simulated, so the truth is
known.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from xr_cloudmask import export, plot, simulate
from xr_cloudmask.masks.coverage import coverage
from xr_cloudmask.masks.labels import scheme_of

SIZE = (900, 900)  # pixels of 10 m
MAX_CLOUD = 0.5  # of the dates that go into the composite
GROUPS = ("clear", "cloud", "shadow")
GROUP_OF = {"clear": "clear", "thick_cloud": "cloud", "thin_cloud": "cloud", "cloud_shadow": "shadow"}


def run(folder: Path) -> None:
    """Simulate, predict, compare with the truth, filter, make a composite, write; prints as it goes.

    Parameters
    ----------
    folder : Path
        Where the files go; made if it does not exist. Files of an earlier run are replaced.
    """
    folder.mkdir(parents=True, exist_ok=True)
    scenes = simulate.series(real_surface(), size=SIZE, gsd=10, chunks={"time": 1})
    cube, truth = scenes.drop_vars("truth"), scenes["truth"].compute()

    masks = cube.cloudmask.predict().compute()  # small, and used more than once
    kept = cube.cloudmask.filter(max_cloud=MAX_CLOUD, mask=masks)
    composite = kept.cloudmask.composite("median", mask=masks)

    attrs = masks["cloudmask"].attrs
    print(f"{masks.sizes['time']} dates of {SIZE[0]} x {SIZE[1]} pixels, {attrs['model']} at {attrs['resolution']}\n")
    print(f"Fractions of the valid pixels\n{fractions(masks['cloudmask'], truth).to_string(float_format='%.2f')}\n")
    scores, kappa = agreement(masks["cloudmask"], truth)
    print(f"Agreement with the known truth: Cohen's kappa {kappa:.2f}\n{scores.to_string(float_format='%.2f')}\n")
    seen = float((composite["clear_count"] > 0).mean())
    print(
        f"Composite: median of {len(kept['time'])} dates with at most {MAX_CLOUD:.0%} cloud, {seen:.0%} of the pixels clear\n"
    )

    plot.overview(cube, masks, truth=truth, path=folder / "overview.png")
    composite.cloudmask.reflectance().drop_vars("clear_count").rio.to_raster(folder / "composite.tif", driver="COG")
    cogs, stores = (export.to_file(masks, folder / name) for name in ("mask.tif", "masks.nc"))
    for what, path in (
        ("Picture of all dates", folder / "overview.png"),
        ("Masks of all dates", *stores),
        ("Composite", folder / "composite.tif"),
        *(("Mask, opens in QGIS with its colours", cog) for cog in cogs),
    ):
        print(f"{what}: {path}")


def real_surface() -> xr.DataArray:
    """Return a real surface: reflectance ``(band, y, x)`` of blue, green, red and near infrared at 10 m.

    Source: the Sentinel-2 sample in spyndex (Montero et al. 2023, https://doi.org/10.1038/s41597-023-02096-0).

    Examples
    --------
    >>> dict(real_surface().sizes)
    {'band': 4, 'y': 300, 'x': 300}
    """
    import spyndex

    numbers: xr.DataArray = spyndex.datasets.open("sentinel")
    return numbers.rename(x="y", y="x") / 10_000  # spyndex calls its rows x


def fractions(mask: xr.DataArray, truth: xr.DataArray) -> pd.DataFrame:
    """Return cloud and shadow fractions per date, true and predicted."""
    columns = {"cloud": "cloud_fraction", "shadow": "cloud_shadow_fraction"}
    found = {
        f"{name}, {who}": coverage(labels)[fraction].to_series()
        for name, fraction in columns.items()
        for who, labels in (("true", truth), ("predicted", mask))
    }
    table = pd.DataFrame(found)
    return table.set_index(table.index.strftime("%Y-%m-%d"))


def agreement(mask: xr.DataArray, truth: xr.DataArray) -> tuple[pd.DataFrame, float]:
    """Compare a mask with the truth over clear, cloud and shadow.

    Returns
    -------
    DataFrame
        IoU, recall and precision of each.
    float
        Cohen's kappa (Cohen 1960, https://doi.org/10.1177/001316446002000104).

    Examples
    --------
    >>> truth = simulate.series(dates=1, size=(64, 64))["truth"]
    >>> agreement(truth, truth)[1]
    1.0
    """
    predicted, true = _grouped(mask), _grouped(truth)
    valid = (predicted < len(GROUPS)) & (true < len(GROUPS))
    pairs = np.bincount(true[valid] * len(GROUPS) + predicted[valid], minlength=len(GROUPS) ** 2)
    counts = pairs.reshape(len(GROUPS), len(GROUPS)).astype("float64")
    hits, trues, predictions = counts.diagonal(), counts.sum(1), counts.sum(0)
    scores = {"IoU": hits / (trues + predictions - hits), "recall": hits / trues, "precision": hits / predictions}
    by_chance = (trues * predictions).sum() / counts.sum() ** 2
    return pd.DataFrame(scores, index=GROUPS), float((hits.sum() / counts.sum() - by_chance) / (1 - by_chance))


def _grouped(mask: xr.DataArray) -> npt.NDArray[np.intp]:
    """Return the position in GROUPS of every pixel; one past its end where there is no data."""
    table = np.full(256, len(GROUPS))
    for entry in scheme_of(mask).classes:
        table[entry.code] = GROUPS.index(GROUP_OF[entry.name])
    return table[mask.values]
