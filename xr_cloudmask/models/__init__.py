"""What turns reflectance into class probabilities. Called, ``xr_cloudmask.models()`` lists the models."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


class _Listing(ModuleType):
    """The package itself: a function of its name would hide its modules from ``import``."""

    def __call__(self) -> pd.DataFrame:
        """Return a table of the models, see `xr_cloudmask.models.registry.models`."""
        from xr_cloudmask.models.registry import models

        return models()


sys.modules[__name__].__class__ = _Listing
