"""What a cube is, settled once: its bands, sensor, level, calibration, ground, sun and dates.

Everything that needs any of it takes a `DescribedCube`. It is made of the cube and of what the caller says, `Told`;
nothing is computed. What the metadata do not settle is raised when it is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np

from xr_cloudmask.cube import bands, estimate
from xr_cloudmask.cube.bands import BandDescriptor
from xr_cloudmask.cube.calibration import (
    Calibration,
    Factor,
    Nodata,
    calibrations,
    product_of,
    summary,
)
from xr_cloudmask.cube.declared import dates_of
from xr_cloudmask.cube.ground import Ground, ground_of
from xr_cloudmask.cube.layout import Cube, CubeView, view
from xr_cloudmask.cube.rules import Product
from xr_cloudmask.cube.sensors import Sensor
from xr_cloudmask.cube.sun import SunPosition, sun_positions
from xr_cloudmask.errors import CloudMaskError, ReflectanceError

WAYS = {"display": estimate.display, "estimate": estimate.estimated}
TOLD = "told"  # attribute of a mask: what `predict` was told


@dataclass(frozen=True)
class Told:
    """What the caller says of a cube. None leaves it to the metadata.

    Attributes
    ----------
    sensor : str or None
        Sensor id, or any usual spelling of a platform or instrument.
    level : str or None
        ``"TOA"`` or ``"BOA"``.
    scale, offset : float, str, mapping of band name to float, or None
        ``reflectance = value * scale + offset``. One of them alone leaves the other to the metadata; ``scale=1`` says
        that the values are reflectance. ``scale="display"``: an image stretched for the eye; ``scale="estimate"``: a
        scale that nobody knows.
    nodata : float, sequence of float, or None
        Values that mark missing pixels, besides those that are declared.
    descriptors : sequence of BandDescriptor or None
        What the bands are.
    """

    sensor: str | None = None
    level: str | None = None
    scale: Factor | None = None
    offset: Factor | None = None
    nodata: Nodata | None = None
    descriptors: Sequence[BandDescriptor] | None = None

    def __bool__(self) -> bool:
        return any(getattr(self, field.name) is not None for field in fields(self))

    def text(self) -> str:
        """Write it as text that every file format can hold, for `Told.of` to read.

        Examples
        --------
        >>> Told(sensor="sentinel-2", offset=-0.1).text()
        '{"sensor": "sentinel-2", "offset": -0.1}'
        """
        said = {field.name: getattr(self, field.name) for field in fields(self)}
        if self.descriptors is not None:
            said["descriptors"] = [asdict(descriptor) for descriptor in self.descriptors]
        return json.dumps({name: value for name, value in said.items() if value is not None}, default=_plain)

    @classmethod
    def of(cls, attrs: Mapping[str, Any]) -> Told:
        """Read it from the attributes of a mask; nothing where they do not hold it.

        Examples
        --------
        >>> Told.of({"told": '{"level": "TOA"}'})
        Told(sensor=None, level='TOA', scale=None, offset=None, nodata=None, descriptors=None)
        """
        try:
            said = json.loads(attrs.get(TOLD, "{}"))
            known = {field.name: said[field.name] for field in fields(cls) if field.name in said}
            if "descriptors" in known:
                known["descriptors"] = tuple(BandDescriptor(**entry) for entry in known["descriptors"])
        except (TypeError, ValueError):  # somebody else's attribute
            return cls()
        return cls(**known)

    def or_else(self, other: Told) -> Told:
        """Return this, completed by another."""
        said = {field.name: getattr(other, field.name) for field in fields(self) if getattr(self, field.name) is None}
        return replace(self, **said)


def _plain(value: Any) -> Any:
    """Return NumPy's numbers and arrays as Python's."""
    return np.asarray(value).tolist()


@dataclass(frozen=True)
class DescribedCube:
    """One cube, and everything that is known of it before a pixel is read.

    Attributes
    ----------
    view : CubeView
        Its dimensions and bands.
    told : Told
        What the caller said.
    candidates : tuple of Sensor
        Every sensor it can be from; several where that makes no difference so far.
    descriptors : tuple of BandDescriptor
        What its recognised bands measure.
    found : str
        How the scale was found, where it was neither told nor declared.
    """

    view: CubeView
    told: Told
    candidates: tuple[Sensor, ...]
    descriptors: tuple[BandDescriptor, ...]
    found: str = ""

    @classmethod
    def of(cls, cube: Cube, told: Told | None = None) -> DescribedCube:
        """Describe a cube; computes nothing.

        Parameters
        ----------
        cube : Dataset or DataArray
            A variable per band, or a band dimension.
        told : Told, optional
            What its metadata do not tell.

        Raises
        ------
        CubeError, BandError
            Its dimensions or bands cannot be understood.

        Examples
        --------
        >>> import numpy as np, xarray as xr
        >>> cube = xr.Dataset({"B04": (("y", "x"), np.full((2, 2), 3000, "uint16"))}, attrs={
        ...     "platform": "Sentinel-2A", "processing:level": "L2A", "s2:processing_baseline": "05.09"})
        >>> described = DescribedCube.of(cube)
        >>> described.sensor.id, described.level, described.provenance
        ('sentinel-2', 'BOA', 'sentinel-2 table: DN * 0.0001, offset -0.1 (processing baseline 05.09)')
        """
        told = told or Told()
        seen = view(cube)
        candidates = bands.candidate_sensors(seen, told.sensor)
        descriptors = bands.describe(seen, told.sensor, told.descriptors, candidates)
        if not isinstance(told.scale, str):
            return cls(seen, told, candidates, descriptors)
        if told.scale not in WAYS:
            raise ReflectanceError(
                f"scale={told.scale!r}",
                f"a number, a mapping of band name to number, or one of {list(WAYS)}",
                "scale='display' for an image that was stretched for the eye",
                {"scale": "display"},
            )
        found = WAYS[told.scale](seen, [band for band in descriptors if band.kind == "reflectance"])
        numbers = replace(told, scale=found.scale, offset=0.0 if told.offset is None else told.offset)
        return cls(seen, numbers, candidates, descriptors, found.words)

    @property
    def sensor(self) -> Sensor | None:
        """The sensor, where only one is possible."""
        return self.product.sensor

    @property
    def level(self) -> str | None:
        """``"TOA"``, ``"BOA"``, or None where neither the cube nor the caller says."""
        return self.product.level

    @cached_property
    def product(self) -> Product:
        """Sensor, level and rule.

        Raises
        ------
        ReflectanceError
            The metadata name both levels.
        """
        return product_of(self.view, self.candidates, self.descriptors, self.told.level, self.told.sensor)

    @cached_property
    def dates(self) -> np.ndarray | None:
        """When it was acquired, ``datetime64[ns]``; None where it does not say."""
        return dates_of(self.view)

    @cached_property
    def ground(self) -> Ground:
        """The size of its pixels in true metres, and where north is; unknown where it does not say."""
        return ground_of(self.view)

    @cached_property
    def suns(self) -> tuple[SunPosition | None, ...]:
        """Where the sun stands: one for the cube or one per date, None where it does not say."""
        return sun_positions(self.view)

    @cached_property
    def _settled(self) -> dict[str, tuple[Calibration, str] | CloudMaskError]:
        return calibrations(self.product, self.descriptors, self.told.scale, self.told.offset, self.told.nodata)

    def calibrated(self, used: Iterable[BandDescriptor] | None = None) -> dict[str, Calibration]:
        """Return the calibration of bands, all by default, by name.

        Raises
        ------
        CloudMaskError
            Neither the metadata nor the caller settle one of them.
        """
        return {name: calibration for name, (calibration, _) in self._of(used).items()}

    @property
    def calibrations(self) -> tuple[Calibration, ...]:
        """The calibration of every band, in the order of the descriptors."""
        return tuple(self.calibrated().values())

    @property
    def provenance(self) -> str:
        """Where all scales and offsets come from."""
        return self.provenance_of(self.descriptors)

    def provenance_of(self, used: Iterable[BandDescriptor]) -> str:
        """Return one line about where scale and offset of bands come from."""
        sources = {name: source for name, (_, source) in self._of(used).items()}
        return f"scale {self.found}" if self.found else summary(sources)

    def _of(self, used: Iterable[BandDescriptor] | None) -> dict[str, tuple[Calibration, str]]:
        found = {}
        for band in self.descriptors if used is None else used:
            answer = self._settled[band.name]
            if isinstance(answer, CloudMaskError):
                raise answer
            found[band.name] = answer
        return found
