"""How odc-stac reads a raster, on whichever worker: as always, but not put off by a lost connection."""

from __future__ import annotations

from functools import partial
from typing import Any

from odc.loader import RioDriver, RioReader

from xr_cloudmask.stac.http import patiently


class PatientReader(RioReader):
    """odc-loader's reader of what GDAL reads; repeats what a lost connection spoiled."""

    def read(self, *args: Any, **keywords: Any) -> Any:
        """Read a part of the raster, see `odc.loader.RioReader`."""
        return patiently(self._src.uri, partial(super().read, *args, **keywords))


class PatientDriver(RioDriver):
    """odc-loader's driver with that reader."""

    def open(self, src: Any, ctx: Any) -> PatientReader:
        """Return a reader of one source; nothing is opened yet."""
        return PatientReader(src, ctx)
