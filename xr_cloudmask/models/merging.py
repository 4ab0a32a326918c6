"""Many narrow bands as few wide ones: what a network that never saw hyperspectral cubes can take."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from xr_cloudmask.cube.bands import BandDescriptor

Range = tuple[float, float]  # nanometres


@dataclass(frozen=True)
class Group:
    """A wide band that narrow ones are merged into.

    Attributes
    ----------
    role : str
        STAC common name of the wide band.
    core : tuple of float
        Nanometres between which the centres of its bands lie; where there are none,
    wide : tuple of float
        between which they may lie.
    """

    role: str
    core: Range
    wide: Range


@dataclass(frozen=True)
class Merged:
    """A band as the model sees it.

    Attributes
    ----------
    positions : tuple of int
        Of the bands whose mean it is, by wavelength.
    descriptor : BandDescriptor
    """

    positions: tuple[int, ...]
    descriptor: BandDescriptor

    def among(self, used: Sequence[int]) -> Merged:
        """Return it with positions among some of the bands."""
        return replace(self, positions=tuple(used.index(i) for i in self.positions))


def unmerged(bands: Sequence[BandDescriptor]) -> tuple[Merged, ...]:
    """Return every band by itself."""
    return tuple(Merged((i,), band) for i, band in enumerate(bands))


def centre(band: BandDescriptor) -> float:
    """Return the middle of a band, nanometres."""
    return (band.min_wavelength + band.max_wavelength) / 2


def lies_in(band: BandDescriptor, ranges: Iterable[Range]) -> bool:
    """Return whether the middle of a band lies in one of some ranges of wavelengths, which end before their end."""
    return any(low <= centre(band) < high for low, high in ranges)


def merge(bands: Sequence[BandDescriptor], most: int, groups: Sequence[Group]) -> tuple[Merged, ...]:
    """Merge bands where there are more than `most` of different wavelengths, else only those of the same.

    A band belongs to no group where it is wider than the group itself: a panchromatic one says nothing of red.

    Examples
    --------
    >>> narrow = [BandDescriptor(str(nm), None, nm - 5.0, nm + 5.0) for nm in (470, 480, 900, 490)]
    >>> [(one.descriptor.name, one.positions) for one in merge(narrow, 3, [Group("blue", (450, 520), (400, 520))])]
    [('blue', (0, 1, 3))]
    >>> [(one.descriptor.name, one.positions) for one in merge(narrow, 4, ())]
    [('470', (0,)), ('480', (1,)), ('900', (2,)), ('490', (3,))]
    """
    alike: dict[Range, list[int]] = {}
    for i, band in enumerate(bands):
        alike.setdefault(_limits(band), []).append(i)
    if len(alike) <= most:
        return tuple(_merged(bands, positions) for positions in alike.values())
    found = ((group.role, _members(bands, group)) for group in groups)
    return tuple(_merged(bands, positions, role) for role, positions in found if positions)


def _limits(band: BandDescriptor) -> Range:
    return band.min_wavelength, band.max_wavelength


def _members(bands: Sequence[BandDescriptor], group: Group) -> list[int]:
    widest = group.wide[1] - group.wide[0]
    narrow = [i for i, band in enumerate(bands) if band.max_wavelength - band.min_wavelength <= widest]
    inside = ([i for i in narrow if lies_in(bands[i], [limits])] for limits in (group.core, group.wide))
    return next(filter(None, inside), [])


def _merged(bands: Sequence[BandDescriptor], positions: Sequence[int], role: str | None = None) -> Merged:
    """Merge bands; their order in the cube does not matter, not in the last bit of their mean."""
    ordered = tuple(sorted(positions, key=lambda i: (_limits(bands[i]), bands[i].name)))
    first, members = bands[ordered[0]], [bands[i] for i in ordered]
    if role is None:
        return Merged(ordered, first)
    low, high = min(band.min_wavelength for band in members), max(band.max_wavelength for band in members)
    return Merged(ordered, replace(first, name=role, role=role, min_wavelength=low, max_wavelength=high))


def summary(bands: Sequence[BandDescriptor], merged: Sequence[Merged]) -> str:
    """Say which bands a model saw: their names, or of many how they were merged.

    Examples
    --------
    >>> narrow = [BandDescriptor(str(nm), None, nm - 5.0, nm + 5.0) for nm in (470, 480, 490)]
    >>> summary(narrow[:2], merge(narrow[:2], 2, ()))
    '470 480'
    >>> summary(narrow, merge(narrow, 2, [Group("blue", (450, 520), (400, 520))]))
    '3 bands in 1 group: 465-495 nm'
    """
    if len(merged) == len(bands):
        return " ".join(band.name for band in bands)
    spans = ", ".join(f"{one.descriptor.min_wavelength:g}-{one.descriptor.max_wavelength:g}" for one in merged)
    return f"{len(bands)} bands in {len(merged)} group{'s' * (len(merged) > 1)}: {spans} nm"
