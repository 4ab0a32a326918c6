"""How odc-stac reads a raster, on whichever worker: as always, but not put off by a lost connection."""

from __future__ import annotations

import functools
from functools import partial
from typing import Any

from odc.loader import RioDriver, RioReader

from xr_cloudmask.stac.http import alone, open_raster, patiently
from xr_cloudmask.stac.places import Place


class PatientReader(RioReader):
    """odc-loader's reader of what GDAL reads; repeats what a lost connection spoiled."""

    def __init__(self, src: Any, ctx: Any, origin: Place = Place.MACHINE) -> None:
        super().__init__(src, ctx)
        self._origin = origin

    def read(self, *args: Any, **keywords: Any) -> Any:
        """Read a part of the raster, see `odc.loader.RioReader`."""
        return patiently(self._src.uri, partial(self._read, *args, **keywords))

    def _read(self, *args: Any, **keywords: Any) -> Any:
        if self._origin == Place.MACHINE:
            return super().read(*args, **keywords)
        _require_plain(self._src.uri, self._origin)
        with alone():
            return super().read(*args, **keywords)


class PatientDriver(RioDriver):
    """odc-loader's driver with that reader, for files that were named at `origin`."""

    def __init__(self, origin: Place = Place.MACHINE) -> None:
        super().__init__()
        self._origin = origin

    def open(self, src: Any, ctx: Any) -> PatientReader:
        """Return a reader of one source; nothing is opened yet."""
        return PatientReader(src, ctx, self._origin)


@functools.lru_cache(maxsize=1024)
def _require_plain(href: str, origin: Place) -> None:
    """Open a file with the drivers that may open it; odc-loader would take any."""
    open_raster(href, origin).close()
