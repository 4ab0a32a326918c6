"""``cube.cloudmask`` and ``mask.cloudmask``: one-statement methods over the free functions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import xarray as xr

from xr_cloudmask.cube import reflectance
from xr_cloudmask.cube.bands import BandDescriptor
from xr_cloudmask.cube.calibration import Nodata
from xr_cloudmask.cube.described import DescribedCube, Told
from xr_cloudmask.description import Description, MaskDescription, describe
from xr_cloudmask.export import to_cog
from xr_cloudmask.indices import OWN, indices
from xr_cloudmask.masks import coverage, labels, morphology
from xr_cloudmask.plot import overview
from xr_cloudmask.predict import predict
from xr_cloudmask.series import composite, select
from xr_cloudmask.series.best import BestPixel
from xr_cloudmask.series.refine import Refinement, refine

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CubeT = TypeVar("CubeT", xr.Dataset, xr.DataArray)


class CloudmaskAccessor(Generic[CubeT]):
    """Cloud masks for a cube, and what can be done with them.

    Examples
    --------
    >>> import xr_cloudmask
    >>> cube = xr_cloudmask.simulate.series(dates=2, size=(96, 96))
    >>> cube.cloudmask.predict(scheme="binary")["cloudmask"].attrs["flag_meanings"]
    'clear cloud no_data'
    """

    def __init__(self, obj: CubeT) -> None:
        self._obj: CubeT = obj

    def __repr__(self) -> str:
        return self._shown.__repr__()

    def _repr_html_(self) -> str:
        return self._shown._repr_html_()

    @property
    def _shown(self) -> Description | MaskDescription:
        return MaskDescription.of(self._obj) if labels.is_mask(self._obj) else describe(self._obj)

    def describe(self, model: str = "auto", **keywords: Any) -> Description:
        """Say what is understood of the cube, and what is missing; computes nothing. See `xr_cloudmask.describe`."""
        return describe(self._obj, model, **keywords)

    def descriptors(self, sensor: str | None = None) -> tuple[BandDescriptor, ...]:
        """Return what each recognised band measures; computes nothing. See `cube.bands.describe`."""
        return DescribedCube.of(self._obj, Told(sensor=sensor)).descriptors

    def reflectance(
        self,
        sensor: str | None = None,
        scale: Any = None,
        offset: Any = None,
        level: str | None = None,
        *,
        nodata: Nodata | None = None,
    ) -> CubeT:
        """Return the cube as float32 reflectance; lazy where the cube is. See `cube.reflectance.to_reflectance`."""
        return cast("CubeT", reflectance.to_reflectance(self._obj, sensor, scale, offset, level, nodata=nodata))

    def predict(self, model: str = "auto", **keywords: Any) -> xr.Dataset:
        """Predict a mask; lazy where the cube is. See `xr_cloudmask.predict`."""
        return predict(self._obj, model, **keywords)

    def indices(self, names: Sequence[str] = tuple(OWN), **keywords: Any) -> xr.Dataset:
        """Return spectral indices and the statistics of each scene; lazy. See `xr_cloudmask.indices`."""
        return indices(self._obj, names, **keywords)

    def with_mask(self, model: str = "auto", **keywords: Any) -> CubeT:
        """Return the cube with its mask and coverage coordinates; takes the keywords of `predict`.

        A Dataset gains a variable ``cloudmask``, a DataArray a coordinate of that name.
        """
        return cast("CubeT", select.with_mask(self._obj, predict(self._obj, model, **keywords)))

    def apply(self, mask: xr.Dataset | xr.DataArray | None = None, keep: str | Sequence[str] = "clear") -> CubeT:
        """Return the cube where the mask is clear, NaN or no-data elsewhere. See `series.select.apply`."""
        return cast("CubeT", select.apply(self._obj, mask, keep))

    def filter(
        self,
        max_cloud: float | None = None,
        max_shadow: float | None = None,
        min_valid: float | None = None,
        mask: xr.Dataset | xr.DataArray | None = None,
        *,
        verbose: bool = False,
    ) -> CubeT:
        """Keep the dates that are clear enough; computes the coverage. See `series.select.filter_dates`."""
        return cast("CubeT", select.filter_dates(self._obj, max_cloud, max_shadow, min_valid, mask, verbose=verbose))

    def composite(
        self,
        method: str = "median",
        mask: xr.Dataset | xr.DataArray | None = None,
        *,
        groupby: str | None = None,
        percentile: float | None = None,
        target: Any = None,
        scoring: BestPixel | None = None,
    ) -> CubeT:
        """Reduce the dates to one cloud-free image, or one for each period; lazy. See `series.composite.composite`."""
        given: dict[str, Any] = {"percentile": percentile, "target": target, "scoring": scoring}
        return cast("CubeT", composite.composite(self._obj, method, mask, groupby=groupby, **given))

    def refine(
        self, mask: xr.Dataset | xr.DataArray | None = None, limits: Refinement | None = None, **keywords: Any
    ) -> xr.Dataset:
        """Return the mask corrected by the series, to be passed on as ``mask=``; lazy. See `series.refine.refine`."""
        return refine(mask, self._obj, limits=limits, **keywords)

    def dilate(self, metres: float) -> xr.Dataset:
        """Return the mask with clouds and shadows that are larger by some metres. See `masks.morphology.dilate`."""
        return morphology.dilate(self._mask, metres)

    def coverage(self) -> xr.Dataset:
        """Return the fractions of cloud, shadow, clear and valid pixels. See `masks.coverage.coverage`."""
        return coverage.coverage(self._mask)

    def clear(self, keep: str | Sequence[str] = "clear") -> xr.DataArray:
        """Return where the mask is clear, as booleans. See `masks.labels.clear`."""
        return labels.clear(self._mask, keep)

    def to_scheme(self, name: str) -> xr.DataArray:
        """Return the mask in another scheme. See `masks.labels.to_scheme`."""
        return labels.to_scheme(self._mask, name)

    def plot(self, mask: xr.Dataset | xr.DataArray | None = None, **keywords: Any) -> Figure:
        """Draw the cube above its mask, a column per date, or a mask alone; computes it. See `plot.overview`."""
        return overview(self._obj, mask, **keywords)

    def to_cog(self, path: str | Path) -> tuple[Path, ...]:
        """Write the mask as a cloud-optimised GeoTIFF with colours and class names. See `export.to_cog`."""
        return to_cog(self._obj, path)

    @property
    def _mask(self) -> xr.DataArray:
        return labels.mask_of(self._obj)
