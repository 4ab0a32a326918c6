"""Several networks as one model: the mean of their probabilities, and how many of them agree with the mask.

The cube is read once: every network gets its bands of the same windows. A network that lacks bands is left out, and
the mask says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from xr_cloudmask.cube.bands import BandDescriptor
from xr_cloudmask.errors import ModelError, listed
from xr_cloudmask.models import csmask, universal
from xr_cloudmask.models.base import ANY_LEVEL, FloatArray, Member, Model, ModelSpec, joined

NAME, PLUS = "ensemble", "+"
NAMES = ("csmask", "universal")  # of ``predict("ensemble")``, see the table on the page of models

CLASSES = ("clear", "thick_cloud", "thin_cloud", "cloud_shadow")
THICK, THIN = CLASSES.index("thick_cloud"), CLASSES.index("thin_cloud")
# What a network's classes are here. Its own class for missing data is none of them: the engine knows where those are.
STANDS_FOR = {**dict.fromkeys(("clear", "land", "water", "snow"), "clear"), **{name: name for name in CLASSES}}
UNJUDGED = "no_data"
# What networks agree or disagree on, as positions in CLASSES: not all of them tell thick from thin cloud.
JUDGED = (0,), (THICK, THIN), (3,)

# Without short-wave infrared, snow and cold cloud are both taken for cloud; with it, for snow. An ensemble asks both.
WITH_INFRARED, WITHOUT = universal.SPECS
VISIBLE_TO_NIR = replace(WITHOUT, variant=f"{WITHOUT.variant}-vnir", knows=((400.0, 1000.0),))
# Models that are several networks, all of which are asked; of others it is the variant that fits best.
NETWORKS: Mapping[str, tuple[ModelSpec, ...]] = {
    "csmask": csmask.SPECS,
    "universal": (WITH_INFRARED, VISIBLE_TO_NIR),
}
LARGEST_HALO = 4  # times it is in a window at least: more would leave little that a window decides


def of(name: str, networks: Sequence[ModelSpec], seen: Sequence[tuple[int, ...]] = ()) -> ModelSpec:
    """Return the specification of an ensemble.

    Parameters
    ----------
    name : str
        What the user types.
    networks : sequence of ModelSpec
        Of models that look at windows.
    seen : sequence of tuple of int
        For each network, the positions of its bands among those that the ensemble sees; none before a cube is known.

    Raises
    ------
    ModelError
        A network looks at whole scenes, or has classes that no other one knows.
    """
    for spec in networks:
        _require_usable(spec)
    members = tuple(map(Member, networks, seen or ((),) * len(networks)))
    multiple = math.lcm(*(spec.multiple for spec in networks))
    window = max(multiple, min(spec.window for spec in networks) // multiple * multiple)
    levels = {spec.level for spec in networks} - {ANY_LEVEL}
    return ModelSpec(
        name=name,
        variant=f" {PLUS} ".join(f"{spec.name} {spec.variant}" for spec in networks),
        version=_each(networks, "version"),
        bands=(),
        level=levels.pop() if len(levels) == 1 else ANY_LEVEL,
        classes=CLASSES,
        window=window,
        halo=min(max(spec.halo for spec in networks), window // LARGEST_HALO),
        multiple=multiple,
        gsd=max(spec.gsd for spec in networks),
        licence=_each(networks, "licence"),
        citation=_each(networks, "citation"),
        loader=f"{__name__}:load",
        requires=tuple(dict.fromkeys(module for spec in networks for module in spec.requires)),
        install="; ".join(dict.fromkeys(spec.install for spec in networks if spec.install)),
        sha256=" ".join(dict.fromkeys(spec.sha256 for spec in networks if spec.sha256)),
        kinds=tuple(dict.fromkeys(kind for spec in networks for kind in spec.kinds)),
        takes_weights=any(spec.takes_weights for spec in networks),
        precisions=tuple(dict.fromkeys(precision for spec in networks for precision in spec.precisions)),
        precision=_each(networks, "precision"),
        casts_shadows=any(spec.casts_shadows for spec in networks),
        thresholds=next((spec.thresholds for spec in networks if spec.thresholds is not None), None),
        members=members,
    )


def _require_usable(spec: ModelSpec) -> None:
    unknown = [name for name in spec.classes if name not in (*STANDS_FOR, UNJUDGED)]
    if spec.context != "window":
        raise ModelError(
            f"model {spec.name!r} in an ensemble",
            "models that look at windows, not at whole scenes",
            f"predict(model={list(NAMES)})",
        )
    if spec.decides:
        raise ModelError(
            f"model {spec.name!r} in an ensemble",
            "models whose most probable class is their label, not a threshold",
            f"predict(model={list(NAMES)})",
        )
    if unknown:
        raise ModelError(
            f"model {spec.name!r} in an ensemble, with classes {unknown}",
            f"classes of {list(STANDS_FOR)}",
            f"predict(model={list(NAMES)})",
        )


def _each(networks: Sequence[ModelSpec], field: str) -> str:
    """Return a fact that all networks share, or that of each model."""
    known = {spec.name: str(getattr(spec, field)) for spec in networks if getattr(spec, field)}
    if len(set(known.values())) <= 1:
        return next(iter(known.values()), "")
    return ", ".join(f"{fact} ({name})" for name, fact in known.items())


def with_networks(ensemble: ModelSpec, networks: Sequence[ModelSpec]) -> ModelSpec:
    """Return an ensemble with its networks configured."""
    return replace(of(ensemble.name, networks, [one.channels for one in ensemble.members]), note=ensemble.note)


def for_cube(ensemble: ModelSpec, networks: Sequence[ModelSpec], descriptors: Sequence[BandDescriptor]) -> ModelSpec:
    """Return an ensemble of the networks that fit a cube, and a note on the models that do not.

    Parameters
    ----------
    ensemble : ModelSpec
        Of all that were asked for.
    networks : sequence of ModelSpec
        Those of them that take the cube's bands and level; one at least.
    descriptors : sequence of BandDescriptor
        The cube's bands.
    """
    views = [(spec.inputs(descriptors), spec.merged(descriptors)) for spec in networks]
    first = {(spec.name, *view): i for i, (spec, view) in reversed([*enumerate(zip(networks, views, strict=True))])}
    kept = sorted(first.values())  # without short-wave infrared, say, two networks may be one
    _, _, channels = joined([views[i] for i in kept], descriptors)
    found = of(ensemble.name, [networks[i] for i in kept], channels)
    return replace(found, note=_note(ensemble, [networks[i] for i in kept], descriptors))


def _note(ensemble: ModelSpec, kept: Sequence[ModelSpec], descriptors: Sequence[BandDescriptor]) -> str:
    """Say which models are left out and why, and whether one network is left."""
    asked: dict[str, list[ModelSpec]] = {}
    for one in ensemble.members:
        asked.setdefault(one.spec.name, []).append(one.spec)
    used = {spec.name for spec in kept}
    kept_notes = list(dict.fromkeys(spec.note for spec in kept if spec.note))
    notes = [f"{name} is left out: {_why(specs, descriptors)}" for name, specs in asked.items() if name not in used]
    alone = f"the mask is of {kept[0].name} {kept[0].variant} alone"
    return "; ".join([*kept_notes, *notes, *[alone] * (len(kept) == 1)])


def _why(specs: Sequence[ModelSpec], descriptors: Sequence[BandDescriptor]) -> str:
    lacking = min((spec.missing(descriptors) for spec in specs), key=len)
    return f"the cube lacks {listed(lacking)}" if lacking else f"it takes {specs[0].level} reflectance"


@dataclass(frozen=True)
class Ensemble:
    """Loaded networks: a `models.base.Model` that also tells how many of them say what.

    Attributes
    ----------
    members : tuple of Member
    models : tuple of Model
    batch_size : int
    threaded : bool
    """

    members: tuple[Member, ...]
    models: tuple[Model, ...]
    batch_size: int
    threaded: bool

    def probabilities(self, windows: FloatArray, descriptors: Sequence[BandDescriptor], *sun: Any) -> FloatArray:
        """Return the mean of the networks' probabilities of `CLASSES`."""
        return self.judged(windows, descriptors, *sun)[0]

    def judged(
        self, windows: FloatArray, descriptors: Sequence[BandDescriptor], *sun: Any
    ) -> tuple[FloatArray, npt.NDArray[np.uint8]]:
        """Return the mean of the networks' probabilities, and how many of them say each of what is `JUDGED`.

        The cloud of networks that do not tell thick from thin is divided as the others divide theirs.

        Returns
        -------
        probabilities : ndarray
            float32 ``(window, class, y, x)``.
        votes : ndarray
            uint8 ``(window, judged, y, x)``.
        """
        shape = (len(windows), len(CLASSES), *windows.shape[2:])
        total, votes = np.zeros(shape, "float32"), np.zeros((len(windows), len(JUDGED), *shape[2:]), "uint8")
        cloud = np.zeros((len(windows), *shape[2:]), "float32")
        for member, model in zip(self.members, self.models, strict=True):
            own = np.ascontiguousarray(windows[:, list(member.channels)])
            seen = [descriptors[i] for i in member.channels]
            found = in_common(model.probabilities(own, seen, *sun * member.spec.casts_shadows), member.spec)
            sums = np.stack([found[:, list(group)].sum(axis=1) for group in JUDGED], axis=1)
            votes += sums.argmax(axis=1)[:, None] == np.arange(len(JUDGED))[:, None, None]
            if CLASSES[THIN] not in member.spec.classes:
                cloud += found[:, THICK]
                found[:, THICK] = 0
            total += found
        told = total[:, THICK] + total[:, THIN]
        thin = cloud * np.divide(total[:, THIN], told, out=np.zeros_like(told), where=told > 0)
        total[:, THIN] += thin
        total[:, THICK] += cloud - thin
        total /= np.float32(len(self.members))
        return total, votes


def in_common(probabilities: FloatArray, spec: ModelSpec) -> FloatArray:
    """Return a network's probabilities as those of `CLASSES`, each pixel's sum 1 without its class for missing data.

    Examples
    --------
    >>> rgb = replace(VISIBLE_TO_NIR, classes=("water", "land", "no_data", "thick_cloud"))
    >>> in_common(np.float32([0.1, 0.2, 0.5, 0.2]).reshape(1, 4, 1, 1), rgb).ravel().round(2).tolist()
    [0.6000000238418579, 0.4000000059604645, 0.0, 0.0]
    """
    if probabilities.ndim != 4 or probabilities.shape[1] != len(spec.classes):
        raise ModelError(
            f"an output of shape {probabilities.shape} of model {spec.name!r}",
            f"(window, class, y, x) with its {len(spec.classes)} classes",
            f"predict(model={list(NAMES)})",
        )
    out = np.zeros((len(probabilities), len(CLASSES), *probabilities.shape[2:]), "float32")
    for i, name in enumerate(spec.classes):
        if name != UNJUDGED:
            out[:, CLASSES.index(STANDS_FOR[name])] += probabilities[:, i]
    if UNJUDGED in spec.classes:
        out /= np.maximum(out.sum(axis=1, keepdims=True), np.finfo("float32").tiny)
    return out


def load(spec: ModelSpec, device: str | None) -> Ensemble:
    """Load the networks, or take those that are loaded."""
    from xr_cloudmask.models import registry

    models = tuple(registry.load(member.spec, device) for member in spec.members)
    threaded = any(getattr(model, "threaded", True) for model in models)
    return Ensemble(spec.members, models, min(model.batch_size for model in models), threaded)
