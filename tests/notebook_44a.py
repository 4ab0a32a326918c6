"""The 4-4A notebook's own cells, executed on arrays, and seeded scenes to execute them on."""

import io
import warnings
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from paths import SHARED
from scipy import ndimage

NOTEBOOK = SHARED / "reference/seeds/cbers4a_4-4A_notebook.md"
COEFFICIENTS = {"band 1": 0.29107, "band 2": 0.297832, "band 3": 0.232504, "band 4": 0.178993}
UNITS = dict.fromkeys(COEFFICIENTS, 1.0)
ROLES = ["blue", "green", "red", "nir"]
PERCENTAGES = ("cloud_percentage", "cloud_shadow_percentage", "water_percentage")


def cells():
    """Return the namespace after the cells that define functions."""
    if not NOTEBOOK.exists():
        pytest.skip(f"the 4-4A notebook is not at {NOTEBOOK}")
    text = NOTEBOOK.read_text()
    functions = text[text.index("# PRE-PROCESSING FUNCTIONS") : text.index("### 3. MAIN")]
    main = text[text.index("def process_item") : text.index("### 4. SETTING")]
    code = "\n".join(line for line in (functions + main).splitlines() if not line.startswith(("In [", "---")))
    import json

    space = {"np": np, "io": io, "zlib": zlib, "json": json, "warnings": warnings, "print": lambda *_: None}
    exec(compile(code, str(NOTEBOOK), "exec"), space)
    return space


def run(bands, coefficients=UNITS, normalize=None):
    """Return the notebook's mask and its metadata for blue, green, red and nir ``(y, x)``."""
    space = cells()
    georeference = SimpleNamespace(to_wkt=lambda: "", to_gdal=lambda: (0,) * 6)
    assets = {f"BAND{i}": SimpleNamespace(href=band) for i, band in enumerate(bands, 1)}

    class Opened:
        crs = transform = georeference

        def __init__(self, band):
            self._band = band

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def read(self, _):
            return self._band

    item = SimpleNamespace(assets=assets, id="scene", collection_id="", properties={"eo:cloud_cover": None})
    space["service"] = SimpleNamespace(get_items=lambda _: iter([item]))
    space["rasterio"] = SimpleNamespace(open=Opened, RasterioIOError=OSError)
    space["get_coefficient"] = lambda _: coefficients
    if normalize is not None:
        space["normalize"] = normalize
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = space["process_item"]("scene")
    return np.load(io.BytesIO(zlib.decompress(found.pop("raster_blob")))), found


def scene(seed, shape=(300, 400), border=0):
    """Return digital numbers of land, water, cloud and shadow, uint16 ``(band, y, x)``; 0 beyond the swath."""
    random = np.random.default_rng(seed)

    def field(scale):
        smooth = ndimage.gaussian_filter(random.standard_normal(shape), scale, mode="wrap")
        return smooth / smooth.std()

    land, water, cloud = field(12), field(25) > 1.3, np.clip(field(20) - 0.8, 0, 1)
    shadow = np.roll(cloud > 0.1, (9, 14), (0, 1)) & (cloud == 0)
    spectra = {"land": (0.08, 0.09, 0.09, 0.26), "water": (0.09, 0.07, 0.05, 0.03), "cloud": (0.62, 0.60, 0.61, 0.65)}
    slopes = (0.01, 0.015, 0.03, 0.05)
    bands = []
    for i, slope in enumerate(slopes):
        ground = np.where(water, spectra["water"][i], spectra["land"][i] + slope * land)
        ground = np.where(shadow, ground * (0.55, 0.5, 0.45, 0.4)[i], ground)
        seen = ground * (1 - cloud) + spectra["cloud"][i] * cloud + random.normal(0, 0.004, shape)
        bands.append(np.clip(seen * 1500, 1, 1023).astype("uint16"))
    rows, columns = np.indices(shape)
    for i, band in enumerate(bands):
        band[rows + columns // 4 < border + i * (border > 0)] = 0  # bands are cut a pixel apart, as in real scenes
    return np.stack(bands)


def stretched(array):
    """The notebook's ``normalize``, which a single NaN makes all NaN, told to leave NaN out."""
    return (array - np.nanmin(array)) / (np.nanmax(array) - np.nanmin(array))


def with_gaps():
    bands = scene(5, border=30) / 1500
    bands[:, 100:140, 50:90] = np.nan
    bands[2, 200:210, 200:240] = np.nan  # in one band alone
    bands[1, 250:260, 300:310] = 0
    return bands


def cube(bands, **attrs):
    dims = ("band", "y", "x") if np.ndim(bands) == 3 else ("time", "band", "y", "x")
    return xr.DataArray(bands, dims=dims, coords={"band": ROLES}, attrs=attrs)


SERIES = np.stack([with_gaps()[:, :150, :203], scene(6, (150, 203)) / 1500])
