"""Patches out of labelled cubes of the user's own, read as `predict` reads a cube."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xr_cloudmask.cube.bands import BandDescriptor
from xr_cloudmask.cube.described import DescribedCube, Told
from xr_cloudmask.cube.layout import dated
from xr_cloudmask.engine import tile
from xr_cloudmask.engine.resolution import resolution_for
from xr_cloudmask.errors import ModelError
from xr_cloudmask.masks.aligned import laid_out
from xr_cloudmask.masks.labels import mask_of, renamed
from xr_cloudmask.masks.schemes import SURFACES, scheme_of
from xr_cloudmask.models.base import ModelSpec
from xr_cloudmask.models.merging import Merged
from xr_cloudmask.models.universal import CLASSES, SPEC
from xr_cloudmask.names import MASK_NAME
from xr_cloudmask.training.samples import WINDOWS, Patch, with_fewer_bands


@dataclass(frozen=True)
class LabelledCubes:
    """Windows at random places of labelled scenes, some of their bands left out in half of the cases.

    Attributes
    ----------
    scenes : tuple of Patch
        Whole dates, at the resolution the network works at.
    seed : int
    size : int
        Pixels of a window. Smaller scenes are filled up with no data.
    """

    scenes: tuple[Patch, ...]
    seed: int
    size: int

    @classmethod
    def of(cls, cubes: Sequence[xr.Dataset], seed: int, size: int, **reading: Any) -> LabelledCubes:
        """Read cubes into memory.

        Parameters
        ----------
        cubes : sequence of Dataset
            Bands, and a variable ``cloud_mask`` with flag attributes: what ``cube.cloudmask.with_mask()`` returns and
            people correct. A class that stands for several of the network's, such as ``clear``, is learnt as "one of
            these". Pixels labelled as no data are left out of the loss, yet seen.
        seed, size
        **reading
            ``sensor``, ``level``, where the metadata do not tell.

        Raises
        ------
        CloudMaskError
            A cube has no mask, one without its dimensions, or cannot be read as reflectance.
        ModelError
            Its bands are not enough.
        """
        scenes = [scene for cube in cubes for scene in _scenes(cube, **reading)]
        if not any(scene.truth.any() for scene in scenes):
            raise ModelError(
                f"{len(scenes)} scenes without a labelled pixel", "labels to learn from", "cube['cloud_mask'] = ..."
            )
        return cls(tuple(scene for scene in scenes if scene.truth.any()), seed, size)

    def __getitem__(self, number: int) -> Patch:
        """Cut a window; large scenes come more often."""
        rng = np.random.default_rng([self.seed, number, WINDOWS])
        areas = np.array([scene.truth.size for scene in self.scenes], "float64")
        scene = self.scenes[rng.choice(len(areas), p=areas / areas.sum())]
        rows, columns = (_span(rng, length, self.size) for length in scene.truth.shape)
        values = np.full((len(scene.values), self.size, self.size), np.nan, "float32")
        truth = np.zeros((self.size, self.size), "uint8")
        inside = slice(rows.stop - rows.start), slice(columns.stop - columns.start)
        values[:, *inside], truth[inside] = scene.values[:, rows, columns], scene.truth[rows, columns]
        return with_fewer_bands(Patch(values, scene.wavelengths, truth), rng)


def _span(rng: np.random.Generator, length: int, size: int) -> slice:
    start = int(rng.integers(max(length - size, 0) + 1))
    return slice(start, min(start + size, length))


def _scenes(cube: xr.Dataset, sensor: str | None = None, level: str | None = None) -> Iterator[Patch]:
    """Yield the dates of a cube."""
    cube = renamed(cube)
    mask = mask_of(cube)
    described = DescribedCube.of(cube.drop_vars(MASK_NAME), Told(sensor, level).or_else(Told.of(mask.attrs)))
    view, (used, merged) = described.view, _used(SPEC, described.descriptors)
    rules = tuple(described.calibrated(used).values())
    factor = resolution_for(described.ground, view.shape, SPEC).factor
    numbers = [np.asarray(dated(view, band.name)) for band in used]
    codes = laid_out(mask, view.sizes).values.reshape(numbers[0].shape)
    wavelengths = np.array([_limits(one) for one in merged], "float32")
    together = [one.positions for one in merged]
    allowed = bits(mask)
    for date, labels in enumerate(codes):
        values, _, _ = tile.model_pixels([band[date] for band in numbers], rules, factor, date, together)
        yield Patch(np.stack(values), wavelengths, allowed[_centres(labels, factor)])


def _used(spec: ModelSpec, described: Sequence[BandDescriptor]) -> tuple[tuple[BandDescriptor, ...], list[Merged]]:
    """Return the bands to read, and what they are merged into, by wavelength."""
    used = spec.inputs(described)
    if not used:
        found = ", ".join(band.name for band in described)
        raise ModelError(f"a labelled cube of the bands {found}", spec.needs, "leave that cube out")
    return used, sorted(spec.merged(described), key=_limits)


def _limits(one: Merged) -> tuple[float, float]:
    return one.descriptor.min_wavelength, one.descriptor.max_wavelength


def _centres(labels: npt.NDArray[np.uint8], factor: int) -> npt.NDArray[np.uint8]:
    """Return the label in the middle of every block; blocks at the end may be incomplete."""
    rows, columns = (np.minimum(np.arange(0, n, factor) + factor // 2, n - 1) for n in labels.shape)
    centres: npt.NDArray[np.uint8] = labels[np.ix_(rows, columns)]
    return centres


def bits(mask: xr.DataArray) -> npt.NDArray[np.uint8]:
    """Return, for each of 256 codes of a mask, a bit for every class of the network that it may stand for.

    Examples
    --------
    >>> from xr_cloudmask.masks.schemes import SCHEMES, flag_attrs
    >>> mask = xr.DataArray(np.zeros((1, 1), "uint8"), dims=("y", "x"), attrs=flag_attrs(SCHEMES["cloudsen12"]))
    >>> [f"{int(allowed):06b}" for allowed in bits(mask)[[0, 1, 2, 3, 255]]]
    ['000111', '010000', '001000', '100000', '000000']
    """
    allowed = np.zeros(256, "uint8")
    for entry in scheme_of(mask).classes:
        words = {*entry.gathers, *(SURFACES if "clear" in entry.gathers else ())}
        allowed[entry.code] = sum(1 << i for i, name in enumerate(CLASSES) if name in words)
    return allowed
