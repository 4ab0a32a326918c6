"""What turns reflectance into class probabilities. Called, ``xr_cloudmask.models()`` lists the models."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
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

    def __reduce__(self) -> tuple[Callable[[str], ModuleType], tuple[str]]:
        """Return how another process finds it: as a function by its name."""
        return import_module, (self.__name__,)


sys.modules[__name__].__class__ = _Listing
