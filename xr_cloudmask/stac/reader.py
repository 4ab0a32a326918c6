"""How odc-stac reads a raster, on whichever worker: as always, but not put off by a lost connection."""

from __future__ import annotations

from typing import Any

from odc.loader import RioDriver

from xr_cloudmask.stac.http import patiently


class PatientReader:
    """A reader of odc-loader that repeats what a lost connection spoiled."""

    def __init__(self, reader: Any, href: str) -> None:
        self._reader = reader
        self._href = href

    def read(self, *args: Any, **keywords: Any) -> Any:
        """Read a part of the raster, see `odc.loader.types.RasterReader`."""
        return patiently(self._href, lambda: self._reader.read(*args, **keywords))


class PatientDriver(RioDriver):  # type: ignore[misc]
    """odc-loader's driver for what GDAL reads, with patience."""

    def open(self, src: Any, ctx: Any) -> PatientReader:
        """Return a reader of one source; nothing is opened yet."""
        return PatientReader(super().open(src, ctx), src.uri)
