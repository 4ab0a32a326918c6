"""What every model says of itself, and what the engine asks of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from xr_cloudmask.cube.bands import BandDescriptor
from xr_cloudmask.models.merging import Group, Merged, Range, lies_in, merge, unmerged
from xr_cloudmask.models.weights import WeightsFile

FloatArray = npt.NDArray[np.float32]

VISIBLE = 400.0, 700.0  # nanometres: where the centre of a visible band is
ANY_LEVEL = "any"  # of models to which top and bottom of atmosphere are alike


@dataclass(frozen=True)
class Member:
    """A network of an ensemble.

    Attributes
    ----------
    spec : ModelSpec
    channels : tuple of int
        Positions of its bands among those that the ensemble sees; empty where the cube is not known yet.
    """

    spec: ModelSpec
    channels: tuple[int, ...] = ()


@dataclass(frozen=True)
class ModelSpec:
    """One network or pipeline: what it needs, what it gives, whose it is. Travels in dask graphs; weights never do.

    Attributes
    ----------
    name : str
        What the user types: ``predict(model=name)``. Several specs may share it (variants by bands and level).
    variant : str
        Which of the specs of that name this is.
    version : str
    bands : tuple of tuple of str
        For each input, in the model's order, the roles (STAC common names) that serve, best first. Empty for a model
        that takes any number of bands: every one of `kinds`, in the cube's order.
    level : str
        ``"TOA"``, ``"BOA"`` or ``"any"``.
    classes : tuple of str
        Names of the output channels, words of `masks.schemes.VOCABULARY`.
    window, halo, multiple : int
        Largest window in model pixels, the margin of it that is discarded, and what its size is a multiple of.
    gsd : float
        Ground sample distance the model was trained at, metres.
    loader : str
        ``"module:function"``; called as ``function(spec, device)`` once per process.
    requires : tuple of str
        Modules that must be importable, and
    install : str
        what to type where they are not.
    licence, citation, sha256 : str
        Of the weights; `sha256` is empty where they are files of the user's.
    kinds : tuple of str
        Kinds of bands it can take, of `cube.bands.KINDS`.
    weights : tuple of WeightsFile
        The files that its loader reads.
    takes_weights : bool
        Whether these are the user's: those of ``predict(weights=...)``, else those that `models.weights.resolve` finds.
    precisions : tuple of str
        What ``predict(precision=...)`` can ask for, and
    precision : str
        what it asks for. ``"auto"`` leaves it to the loader.
    logits : bool
        Whether a network given to `register_model` returns logits, of which softmax makes probabilities.
    fewest_bands : int
        For a model that takes any number of bands: how many there must be, and
    needs_visible : bool
        whether one of them must be visible,
    needs_within : tuple of tuple of float
        or lie in one of these ranges of wavelengths, in nanometres,
    knows : tuple of tuple of float
        between which wavelengths, in nanometres, their middle lies, where others are left out,
    most_bands : int
        how many of different wavelengths it takes, where more are merged, and
    groups : tuple of Group
        into which. Without groups nothing is merged.
    context : str
        What decides a pixel: its ``"window"``, by a `Model`, or the statistics of its whole ``"scene"``, by a
        `ScenePipeline`.
    casts_shadows : bool
        Whether `Model.probabilities` takes, as a third argument, where shadows fall: a `cube.sun.Sun`.
        Its thresholds say up to which ``height`` of clouds it looks, and how far (``reach``) where that is unknown.
    decides : bool
        Whether labels come of `Model.decided`, not of the most probable class.
    thresholds : dataclass or None
        Frozen; what ``predict(thresholds=...)`` can replace by another one of the same kind. Where they
        have a ``halo``, that is the model's.
    members : tuple of Member
        The networks of an ensemble, see `models.ensemble`.
    note : str
        What else whoever reads a mask should know of how it was made; the mask's attribute ``model_note``.
    warning : str
        What its masks must not be used for; the mask's attribute ``model_warning``, which is said again where
        something is decided by the mask's coverage.
    """

    name: str
    variant: str
    version: str
    bands: tuple[tuple[str, ...], ...]
    level: str
    classes: tuple[str, ...]
    window: int
    halo: int
    multiple: int
    gsd: float
    licence: str
    citation: str
    loader: str = ""
    requires: tuple[str, ...] = ()
    install: str = ""
    sha256: str = ""
    kinds: tuple[str, ...] = ("reflectance",)
    weights: tuple[WeightsFile, ...] = ()
    takes_weights: bool = False
    precisions: tuple[str, ...] = ("fp32",)
    precision: str = "auto"
    logits: bool = True
    fewest_bands: int = 1
    needs_visible: bool = False
    needs_within: tuple[Range, ...] = ()
    knows: tuple[Range, ...] = ()
    most_bands: int = 0
    groups: tuple[Group, ...] = ()
    context: str = "window"
    casts_shadows: bool = False
    decides: bool = False
    thresholds: Any = None
    members: tuple[Member, ...] = ()
    note: str = ""
    warning: str = ""

    @property
    def needs(self) -> str:
        """The bands it needs, in words."""
        if self.members:
            return "what one of its models needs: " + "; ".join(dict.fromkeys(one.spec.needs for one in self.members))
        if self.bands:
            return ", ".join(" or ".join(roles) for roles in self.bands)
        number = f"any {self.fewest_bands} bands" if self.fewest_bands > 1 else "any bands"
        within = " or ".join(f"{low:g}-{high:g}" for low, high in self.needs_within)
        others = [", one of them visible"] * self.needs_visible + [f", one between {within} nm"] * bool(within)
        return f"{number} of {' or '.join(self.kinds)}{''.join(others)}"

    def inputs(self, descriptors: Sequence[BandDescriptor]) -> tuple[BandDescriptor, ...]:
        """Return the cube's bands in the model's order; empty where one is missing."""
        if self.members:
            return self._joined(descriptors)[0]
        if not self.bands:
            return self._any_bands(descriptors)[0]
        taken = [d for d in descriptors if d.kind in self.kinds]
        by_role = {d.role: d for d in reversed(taken)}
        found = [next((by_role[role] for role in roles if role in by_role), None) for roles in self.bands]
        return () if None in found else tuple(band for band in found if band is not None)

    def merged(self, descriptors: Sequence[BandDescriptor]) -> tuple[Merged, ...]:
        """Return the bands as the model sees them; their positions are among those that `inputs` returns."""
        if self.members:
            return self._joined(descriptors)[1]
        return unmerged(self.inputs(descriptors)) if self.bands else self._any_bands(descriptors)[1]

    def _joined(self, descriptors: Sequence[BandDescriptor]) -> Joined:
        """Return what `inputs` and `merged` return for an ensemble."""
        return joined(
            [(one.spec.inputs(descriptors), one.spec.merged(descriptors)) for one in self.members], descriptors
        )

    def _any_bands(
        self, descriptors: Sequence[BandDescriptor]
    ) -> tuple[tuple[BandDescriptor, ...], tuple[Merged, ...]]:
        """Return what `inputs` and `merged` return for a model that takes any number of bands."""
        taken = [d for d in descriptors if d.kind in self.kinds and (not self.knows or lies_in(d, self.knows))]
        seen = merge(taken, self.most_bands, self.groups) if self.groups else unmerged(taken)
        # Where colours are needed, a thermal band is none of the fewest that there must be.
        counted = [one for one in seen if not self.needs_visible or one.descriptor.kind == "reflectance"]
        enough = len(counted) >= self.fewest_bands
        if not enough or (self.needs_visible and not any(shows_visible(one.descriptor) for one in seen)):
            return (), ()
        if self.needs_within and not any(lies_in(one.descriptor, self.needs_within) for one in seen):
            return (), ()
        used = sorted(position for one in seen for position in one.positions)
        return tuple(taken[i] for i in used), tuple(one.among(used) for one in seen)

    def missing(self, descriptors: Sequence[BandDescriptor]) -> list[str]:
        """Return the needs that no band of the cube serves."""
        present = {d.role for d in descriptors if d.kind in self.kinds}
        missing = [" or ".join(roles) for roles in self.bands if not present & set(roles)]
        return missing if self.bands or self.inputs(descriptors) else [self.needs + self._within(descriptors)]

    def _within(self, descriptors: Sequence[BandDescriptor]) -> str:
        """Say between which wavelengths bands must lie, where some lie elsewhere."""
        if not self.knows or all(lies_in(band, self.knows) for band in descriptors if band.kind in self.kinds):
            return ""
        return f", between {', '.join(f'{low:g}-{high:g}' for low, high in self.knows)} nm"


Joined = tuple[tuple[BandDescriptor, ...], tuple[Merged, ...], tuple[tuple[int, ...], ...]]


def joined(
    views: Sequence[tuple[Sequence[BandDescriptor], Sequence[Merged]]], descriptors: Sequence[BandDescriptor]
) -> Joined:
    """Join what several models see of a cube.

    Parameters
    ----------
    views : sequence of (bands, merged)
        Of each model: its bands, and what they are merged into.
    descriptors : sequence of BandDescriptor
        The cube's bands.

    Returns
    -------
    bands : tuple of BandDescriptor
        Those of any model, in the cube's order.
    merged : tuple of Merged
        What any model sees, of those bands.
    channels : tuple of tuple of int
        For each model, where among that is what it sees.
    """
    used = [band for band in descriptors if any(band in bands for bands, _ in views)]
    seen = [
        [replace(one, positions=tuple(used.index(bands[i]) for i in one.positions)) for one in merged]
        for bands, merged in views
    ]
    together = list(dict.fromkeys(one for merged in seen for one in merged))
    channels = tuple(tuple(together.index(one) for one in merged) for merged in seen)
    return tuple(used), tuple(together), channels


def shows_visible(band: BandDescriptor) -> bool:
    """Return whether a band is visible light."""
    return is_visible(band.min_wavelength, band.max_wavelength)


def is_visible(shortest: float, longest: float) -> bool:
    """Return whether a band between two wavelengths, in nanometres, has its centre in the visible light."""
    low, high = VISIBLE
    return low <= (shortest + longest) / 2 <= high


class Model(Protocol):
    """A loaded model.

    Attributes
    ----------
    batch_size : int
        Windows per call that suit the device it runs on.
    threaded : bool, optional
        Whether a call uses every thread of its process, so that calls take turns; if it does not say, it does.
    decided : callable, optional
        Of a spec that ``decides``: ``decided(probabilities, window)`` returns ``(class, y, x)`` of one window, 1 for
        what a pixel is called.
    """

    batch_size: int

    def probabilities(self, windows: FloatArray, descriptors: Sequence[BandDescriptor]) -> FloatArray:
        """Return class probabilities ``(window, class, y, x)`` for reflectance ``(window, band, y, x)``.

        NaN marks no data in the input; the output is finite everywhere. What a window gets never depends on the other
        windows of its batch.
        """
        ...


Classified = tuple[tuple[npt.NDArray[Any], ...], npt.NDArray[np.int64]]  # layers ``(y, x)``, counts ``(count,)``


class ScenePipeline(Protocol):
    """A loaded pipeline that looks at a whole scene, in several passes, before it decides a pixel.

    The engine cuts a scene as it likes: a pass is measured part by part, the parts are added (``+``) in any order, and
    what the whole tells is known to the next pass. Integers stay what they are; NaN marks no data.

    Attributes
    ----------
    passes : int
        Passes before `classify`.
    layers : tuple of str
        What `classify` returns, and
    dtype : str
        in what kind of number, and
    counted : tuple of str
        what it counts; the counts of the parts are added.
    statistics : tuple of str
        What `table` returns.
    """

    passes: int
    layers: tuple[str, ...]
    dtype: str
    counted: tuple[str, ...]

    @property
    def statistics(self) -> tuple[str, ...]: ...  # noqa: D102 - an attribute, see above

    def measure(
        self, bands: tuple[npt.NDArray[Any], ...], known: Any, origin: tuple[int, int], shape: tuple[int, int]
    ) -> Any:
        """Return the next pass's result over a part ``(y, x)`` that begins at `origin` of a scene of `shape`.

        `known` is what the last pass concluded, None before the first.
        """
        ...

    def conclude(self, merged: Any, known: Any) -> Any:
        """Return what is known after a pass, given its result over the whole scene."""
        ...

    def table(self, known: Any) -> npt.NDArray[np.float64]:
        """Return the statistics ``(statistic,)`` after the last pass."""
        ...

    def classify(self, bands: tuple[npt.NDArray[Any], ...], known: Any, codes: Sequence[int]) -> Classified:
        """Return the layers of a part, and how many of its pixels are what is `counted`.

        The layer ``"class"`` has `codes`, one for each of the spec's classes, and that of no data.
        """
        ...
