"""The whole line on one page: six cloudy dates over a real surface, their masks, and what people do with masks.

The surface is a Sentinel-2 image that comes with the package; the clouds are simulated, so the truth is known.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from xr_cloudmask import export, plot, simulate
from xr_cloudmask.errors import FileError, MissingError
from xr_cloudmask.masks.agreement import score
from xr_cloudmask.masks.coverage import coverage
from xr_cloudmask.names import CLOUD_FRACTION, CLOUD_SHADOW_FRACTION, MASK_NAME

SIZE = (900, 900)  # pixels of 10 m
MAX_CLOUD = 0.5  # of the dates that go into the composite


def run(folder: Path) -> None:
    """Simulate, predict, compare with the truth, filter, make a composite, write; prints as it goes.

    Parameters
    ----------
    folder : Path
        Where the files go; made if it does not exist. Files of an earlier run are replaced.

    Raises
    ------
    FileError
        The folder is a file, or cannot be made.
    """
    import rioxarray  # noqa: F401 - registers .rio

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"output {str(folder)!r}: {error}", "a folder, or a name for a new one", "-o demo") from error
    scenes = simulate.series(real_surface(), size=SIZE, gsd=10, chunks={"time": 1})
    cube, truth = scenes.drop_vars("truth").cloudmask.reflectance(), scenes["truth"].compute()

    masked = cube.cloudmask.with_mask().compute()  # small enough to keep: used more than once
    mask = masked[MASK_NAME]
    kept = masked.cloudmask.filter(max_cloud=MAX_CLOUD)
    composite = kept.cloudmask.composite("median")

    agreement = score(mask, truth, classes="clouds_and_shadows")
    clear = float((composite["clear_count"] > 0).mean())
    attrs = mask.attrs
    print(f"{mask.sizes['time']} dates of {SIZE[0]} x {SIZE[1]} pixels, {attrs['model']} at {attrs['resolution']}\n")
    print(f"Fractions of the valid pixels\n{fractions(mask, truth).to_string(float_format='%.2f')}\n")
    scores = agreement.table().to_string(float_format="%.2f")
    print(f"Agreement with the known truth: Cohen's kappa {agreement.kappa:.2f}\n{scores}\n")
    print(f"Composite: the median of {len(kept['time'])} dates with at most {MAX_CLOUD:.0%} cloud;")
    print(f"{clear:.0%} of its pixels were clear at least once\n")

    picture = _drawn(masked, truth, folder / "overview.png")
    composite.drop_vars(["clear_count", "valid_count"]).rio.to_raster(folder / "composite.tif", driver="COG")
    written = [*export.to_file(mask, folder / "masks.nc"), *export.to_file(mask, folder / "mask.tif")]
    print("Picture, composite, and masks as netCDF and as COGs that QGIS opens with their colours:")
    print("\n".join(f"  {line}" for line in (picture, folder / "composite.tif", *written)))


def _drawn(masked: xr.Dataset, truth: xr.DataArray, path: Path) -> str:
    """Draw the dates and their masks; return where, or what to type to get pictures."""
    try:
        plot.overview(masked, truth=truth, path=path)
    except MissingError as error:
        return f"no picture: {error.remedy}"
    return str(path)


def real_surface() -> xr.DataArray:
    """Return a real surface: reflectance ``(band, y, x)`` of blue, green, red and near infrared at 10 m.

    Source: modified Copernicus Sentinel data, the sample image of spyndex (Montero et al. 2023,
    https://doi.org/10.1038/s41597-023-02096-0; MIT); the terms are in the file NOTICE.

    Examples
    --------
    >>> dict(real_surface().sizes)
    {'band': 4, 'y': 300, 'x': 300}
    """
    place = files("xr_cloudmask.simulate") / "surface.npz"
    with place.open("rb") as content, np.load(content) as arrays:
        numbers = arrays["sentinel_2"]
    return xr.DataArray(numbers / 10_000, dims=("band", "y", "x"), coords={"band": ["B02", "B03", "B04", "B08"]})


def fractions(mask: xr.DataArray, truth: xr.DataArray) -> pd.DataFrame:
    """Return cloud and shadow fractions per date, true and predicted."""
    columns = {"cloud": CLOUD_FRACTION, "shadow": CLOUD_SHADOW_FRACTION}
    found = {
        f"{name}, {who}": coverage(labels)[fraction].to_series()
        for name, fraction in columns.items()
        for who, labels in (("true", truth), ("predicted", mask))
    }
    return pd.DataFrame(found).set_index(truth["time"].dt.strftime("%Y-%m-%d").rename("date").to_series())
