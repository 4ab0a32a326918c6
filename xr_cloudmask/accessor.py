"""``cube.cloudmask`` and ``mask.cloudmask``: one-statement methods over the free functions."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import xarray as xr

from xr_cloudmask.cube import reflectance
from xr_cloudmask.cube.bands import BandDescriptor
from xr_cloudmask.cube.calibration import Factor, Nodata
from xr_cloudmask.cube.described import DescribedCube, Told
from xr_cloudmask.cube.layout import Cube
from xr_cloudmask.description import Description, MaskDescription, describe
from xr_cloudmask.documented import documented_as
from xr_cloudmask.errors import CloudMaskError
from xr_cloudmask.export import to_cog
from xr_cloudmask.masks import blocks, coverage, labels, morphology, pieces
from xr_cloudmask.masks.agreement import Agreement, score
from xr_cloudmask.masks.comparison import Comparison, compare
from xr_cloudmask.masks.quality import Mapped, from_quality
from xr_cloudmask.masks.windows import Limit
from xr_cloudmask.models.weights import Given
from xr_cloudmask.names import MASK_NAME
from xr_cloudmask.plot import overview
from xr_cloudmask.prediction import predict
from xr_cloudmask.series import composite, select
from xr_cloudmask.series.best import BestPixel
from xr_cloudmask.series.refine import Refinement, refine
from xr_cloudmask.spectral_indices import OWN, indices

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CubeT = TypeVar("CubeT", xr.Dataset, xr.DataArray)

NOT_THE_MASK = f"object.cloudmask is the accessor, the mask is object[{MASK_NAME!r}]"
OF_CUBES = (
    *("apply", "composite", "describe", "descriptors", "filter", "from_quality", "indices", "plot"),
    *("predict", "refine", "reflectance", "with_mask"),
)
OF_MASKS = (
    *("clear", "closing", "compare", "coverage", "dilate", "drop_specks", "erode", "fill_holes", "opening"),
    *("plot", "score", "to_cog", "to_scheme"),
)
OPERATORS = (
    *("eq", "ne", "lt", "le", "gt", "ge", "add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "rtruediv", "and"),
    *("rand", "or", "ror", "xor", "rxor", "invert", "neg", "bool", "len", "iter", "array", "getitem", "contains"),
)
WITH_MASK = """Return the cube with its mask and coverage; takes the keywords of `predict`.

A Dataset gains a variable, a DataArray a coordinate of the mask's name. Lazy where the cube is.
"""


class CloudmaskAccessor(Generic[CubeT]):
    """Cloud masks for a cube, and what can be done with them.

    Examples
    --------
    >>> import xr_cloudmask
    >>> cube = xr_cloudmask.simulate.series(dates=2, size=(96, 96))
    >>> cube.cloudmask.predict(scheme="binary")["cloud_mask"].attrs["flag_meanings"]
    'clear cloud no_data'
    """

    def __init__(self, obj: CubeT) -> None:
        self._obj: CubeT = obj

    def __dir__(self) -> list[str]:
        if labels.is_mask(self._obj):
            return sorted(OF_MASKS)
        return sorted({*OF_CUBES, *(OF_MASKS if labels.carries_mask(self._obj) else ())})

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"the accessor has no {name!r}: {NOT_THE_MASK}")

    def __repr__(self) -> str:
        return repr(self.describe())

    def _repr_html_(self) -> str:
        return self.describe()._repr_html_()

    @documented_as(describe)
    def describe(
        self,
        model: str | Sequence[str] = "auto",
        *,
        sensor: str | None = None,
        level: str | None = None,
        scale: Factor | None = None,
        offset: Factor | None = None,
        nodata: Nodata | None = None,
        descriptors: Sequence[BandDescriptor] | None = None,
        items: Any = None,
    ) -> Description | MaskDescription:
        return describe(
            self._obj,
            model,
            sensor=sensor,
            level=level,
            scale=scale,
            offset=offset,
            nodata=nodata,
            descriptors=descriptors,
            items=items,
        )

    def descriptors(self, sensor: str | None = None) -> tuple[BandDescriptor, ...]:
        """Return what each recognised band measures; computes nothing.

        Parameters
        ----------
        sensor : str, optional
            Sensor id or any usual spelling of a platform or instrument, where the cube's metadata do not tell.

        Returns
        -------
        tuple of BandDescriptor
            In the cube's order; wavelengths in nanometres.

        Raises
        ------
        CloudMaskError
            No band is recognised, several sensors fit, or a name is unknown.
        """
        return DescribedCube.of(self._obj, Told(sensor=sensor)).descriptors

    @documented_as(reflectance.to_reflectance)
    def reflectance(
        self,
        sensor: str | None = None,
        scale: Factor | None = None,
        offset: Factor | None = None,
        level: str | None = None,
        *,
        nodata: Nodata | None = None,
    ) -> CubeT:
        return cast("CubeT", reflectance.to_reflectance(self._obj, sensor, scale, offset, level, nodata=nodata))

    @documented_as(predict)
    def predict(
        self,
        model: str | Sequence[str] = "auto",
        *,
        sensor: str | None = None,
        descriptors: Sequence[BandDescriptor] | None = None,
        level: str | None = None,
        scheme: str = "cloudsen12",
        probabilities: bool = False,
        agreement: bool = False,
        resolution: str | float = "auto",
        scale: Factor | None = None,
        offset: Factor | None = None,
        nodata: Nodata | None = None,
        weights: Given | None = None,
        precision: str = "auto",
        decision: str = "sum",
        thresholds: Any = None,
        device: str | None = None,
        cache: str | os.PathLike[str] | None = None,
        **options: int,
    ) -> xr.Dataset:
        return predict(
            self._obj,
            model,
            sensor=sensor,
            descriptors=descriptors,
            level=level,
            scheme=scheme,
            probabilities=probabilities,
            agreement=agreement,
            resolution=resolution,
            scale=scale,
            offset=offset,
            nodata=nodata,
            weights=weights,
            precision=precision,
            decision=decision,
            thresholds=thresholds,
            device=device,
            cache=cache,
            **options,
        )

    @documented_as(indices)
    def indices(
        self,
        names: str | Sequence[str] = tuple(OWN),
        *,
        of: str = "scene",
        sensor: str | None = None,
        descriptors: Sequence[BandDescriptor] | None = None,
        nodata: Nodata | None = None,
        scale: Factor | None = None,
        offset: Factor | None = None,
        level: str | None = None,
    ) -> xr.Dataset:
        return indices(
            self._obj,
            names,
            of=of,
            sensor=sensor,
            descriptors=descriptors,
            nodata=nodata,
            scale=scale,
            offset=offset,
            level=level,
        )

    @documented_as(predict, WITH_MASK)
    def with_mask(
        self,
        model: str | Sequence[str] = "auto",
        *,
        sensor: str | None = None,
        descriptors: Sequence[BandDescriptor] | None = None,
        level: str | None = None,
        scheme: str = "cloudsen12",
        probabilities: bool = False,
        agreement: bool = False,
        resolution: str | float = "auto",
        scale: Factor | None = None,
        offset: Factor | None = None,
        nodata: Nodata | None = None,
        weights: Given | None = None,
        precision: str = "auto",
        decision: str = "sum",
        thresholds: Any = None,
        device: str | None = None,
        cache: str | os.PathLike[str] | None = None,
        **options: int,
    ) -> CubeT:
        predicted = predict(
            self._obj,
            model,
            sensor=sensor,
            descriptors=descriptors,
            level=level,
            scheme=scheme,
            probabilities=probabilities,
            agreement=agreement,
            resolution=resolution,
            scale=scale,
            offset=offset,
            nodata=nodata,
            weights=weights,
            precision=precision,
            decision=decision,
            thresholds=thresholds,
            device=device,
            cache=cache,
            **options,
        )
        return cast("CubeT", select.with_mask(self._obj, predicted))

    @documented_as(from_quality)
    def from_quality(
        self,
        band: str | None = None,
        kind: str | None = None,
        *,
        scheme: str | None = None,
        mapping: Mapped | None = None,
    ) -> xr.Dataset:
        return from_quality(self._obj, band, kind, scheme=scheme, mapping=mapping)

    @documented_as(select.apply)
    def apply(self, mask: Cube | None = None, keep: str | Sequence[str] = "clear") -> CubeT:
        return cast("CubeT", select.apply(self._obj, mask, keep))

    @documented_as(select.filter_dates)
    def filter(
        self,
        max_cloud: float | None = None,
        max_shadow: float | None = None,
        min_valid: float | None = None,
        mask: Cube | None = None,
        *,
        verbose: bool = False,
    ) -> CubeT:
        return cast("CubeT", select.filter_dates(self._obj, max_cloud, max_shadow, min_valid, mask, verbose=verbose))

    @documented_as(composite.composite)
    def composite(
        self,
        method: str = "median",
        mask: Cube | None = None,
        *,
        groupby: str | None = None,
        percentile: float | None = None,
        target: Any = None,
        scoring: BestPixel | None = None,
    ) -> CubeT:
        given: dict[str, Any] = {"percentile": percentile, "target": target, "scoring": scoring}
        return cast("CubeT", composite.composite(self._obj, method, mask, groupby=groupby, **given))

    @documented_as(refine)
    def refine(
        self,
        mask: Cube | None = None,
        limits: Refinement | None = None,
        *,
        sensor: str | None = None,
        level: str | None = None,
        scale: Factor | None = None,
        offset: Factor | None = None,
        nodata: Nodata | None = None,
        descriptors: Sequence[BandDescriptor] | None = None,
    ) -> xr.Dataset:
        return refine(
            mask,
            self._obj,
            limits=limits,
            sensor=sensor,
            level=level,
            scale=scale,
            offset=offset,
            nodata=nodata,
            descriptors=descriptors,
        )

    @documented_as(morphology.dilate)
    def dilate(self, metres: Limit) -> xr.Dataset:
        return morphology.dilate(self._mask, metres)

    @documented_as(morphology.erode)
    def erode(self, metres: Limit) -> xr.Dataset:
        return morphology.erode(self._mask, metres)

    @documented_as(morphology.opening)
    def opening(self, metres: Limit) -> xr.Dataset:
        return morphology.opening(self._mask, metres)

    @documented_as(morphology.closing)
    def closing(self, metres: Limit) -> xr.Dataset:
        return morphology.closing(self._mask, metres)

    @documented_as(pieces.drop_specks)
    def drop_specks(self, area: Limit) -> xr.Dataset:
        return pieces.drop_specks(self._mask, area)

    @documented_as(pieces.fill_holes)
    def fill_holes(self, area: Limit) -> xr.Dataset:
        return pieces.fill_holes(self._mask, area)

    @documented_as(coverage.coverage)
    def coverage(self) -> xr.Dataset:
        return coverage.coverage(self._mask)

    @documented_as(labels.clear)
    def clear(self, keep: str | Sequence[str] = "clear") -> xr.DataArray:
        return labels.clear(self._mask, keep)

    @documented_as(compare)
    def compare(self, other: xr.Dataset | xr.DataArray, *, classes: str | None = None) -> Comparison:
        return compare(self._obj, other, classes=classes)

    @documented_as(score)
    def score(
        self,
        reference: xr.Dataset | xr.DataArray,
        *,
        classes: str | None = None,
        threshold: float | None = None,
        by: str = "block",
        block: int = blocks.BLOCK,
        seed: int = 0,
    ) -> Agreement:
        return score(self._obj, reference, classes=classes, threshold=threshold, by=by, block=block, seed=seed)

    @documented_as(labels.to_scheme)
    def to_scheme(self, name: str) -> xr.DataArray:
        return labels.to_scheme(self._mask, name)

    @documented_as(overview)
    def plot(
        self,
        mask: Cube | None = None,
        truth: xr.DataArray | None = None,
        path: str | os.PathLike[str] | None = None,
        *,
        max_dates: int = 8,
        max_pixels: int = 400,
        sensor: str | None = None,
        level: str | None = None,
        scale: Factor | None = None,
        offset: Factor | None = None,
        nodata: Nodata | None = None,
        descriptors: Sequence[BandDescriptor] | None = None,
    ) -> Figure:
        return overview(
            self._obj,
            mask,
            truth,
            path,
            max_dates=max_dates,
            max_pixels=max_pixels,
            sensor=sensor,
            level=level,
            scale=scale,
            offset=offset,
            nodata=nodata,
            descriptors=descriptors,
        )

    @documented_as(to_cog)
    def to_cog(self, path: str | Path) -> tuple[Path, ...]:
        return to_cog(self._obj, path)

    @property
    def _mask(self) -> xr.DataArray:
        return labels.mask_of(self._obj)


def _refusing(operator: str) -> Any:
    def refuse(*_: Any) -> Any:
        raise CloudMaskError(
            f"{operator} of the accessor, which is no array", "the mask", f"object[{MASK_NAME!r}]: {NOT_THE_MASK}"
        )

    return refuse


for _operator in OPERATORS:
    setattr(CloudmaskAccessor, f"__{_operator}__", _refusing(f"__{_operator}__"))
CloudmaskAccessor.__hash__ = object.__hash__  # type: ignore[method-assign]
