"""Cloud masks for any optical satellite cube: importing this package registers ``.cloudmask`` on xarray objects.

Examples
--------
>>> import xr_cloudmask
>>> cube = xr_cloudmask.simulate.series(dates=2, size=(96, 96))
>>> out = cube.cloudmask.predict()
>>> sorted(out.coords)[:3]
['clear_fraction', 'cloud_fraction', 'cloud_shadow_fraction']
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import xarray as xr

from xr_cloudmask import stac
from xr_cloudmask.accessor import CloudmaskAccessor
from xr_cloudmask.cube.bands import BandDescriptor
from xr_cloudmask.cube.cbers import CbersMetadata, parse_cbers_metadata
from xr_cloudmask.description import Description, describe
from xr_cloudmask.errors import (
    BandError,
    CatalogError,
    CloudMaskError,
    CoverageWarning,
    CubeError,
    FileError,
    MissingError,
    ModelError,
    ReflectanceError,
    StacError,
    WeightsError,
)
from xr_cloudmask.limits import Limits, set_limits
from xr_cloudmask.models.base import Model, ModelSpec
from xr_cloudmask.models.cards import model_card
from xr_cloudmask.models.items import model_items
from xr_cloudmask.models.registry import register_model
from xr_cloudmask.prediction import predict
from xr_cloudmask.series.best import BestPixel
from xr_cloudmask.series.refine import Refinement
from xr_cloudmask.spectral_indices import indices
from xr_cloudmask.trees import CloudmaskTreeAccessor

if TYPE_CHECKING:  # which knows no module that can be called
    from xr_cloudmask import simulate
    from xr_cloudmask.catalog import Catalog
    from xr_cloudmask.models.registry import models
else:
    from xr_cloudmask import models

xr.register_dataset_accessor("cloudmask")(CloudmaskAccessor)
xr.register_dataarray_accessor("cloudmask")(CloudmaskAccessor)
xr.register_datatree_accessor("cloudmask")(CloudmaskTreeAccessor)

__version__ = version("xr-cloudmask")

__all__ = [
    "BandDescriptor",
    "BandError",
    "BestPixel",
    "Catalog",
    "CatalogError",
    "CbersMetadata",
    "CloudMaskError",
    "CoverageWarning",
    "CubeError",
    "Description",
    "FileError",
    "Limits",
    "MissingError",
    "Model",
    "ModelError",
    "ModelSpec",
    "Refinement",
    "ReflectanceError",
    "StacError",
    "WeightsError",
    "describe",
    "indices",
    "model_card",
    "model_items",
    "models",
    "parse_cbers_metadata",
    "predict",
    "register_model",
    "set_limits",
    "simulate",
    "stac",
]


LATE = {"simulate": "xr_cloudmask", "Catalog": "xr_cloudmask.catalog"}  # imported when first asked for


def __getattr__(name: str) -> Any:
    """Import what few need, which takes a quarter of the time, when it is first asked for."""
    if name not in LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = import_module(f"{__name__}.{name}") if LATE[name] == __name__ else getattr(import_module(LATE[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
