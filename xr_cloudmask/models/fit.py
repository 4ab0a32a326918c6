"""Which model takes a cube, and everything that is missing where none does, in one answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from xr_cloudmask.cube.bands import BandDescriptor
from xr_cloudmask.cube.calibration import Calibration
from xr_cloudmask.cube.described import DescribedCube, Told
from xr_cloudmask.cube.ground import Ground
from xr_cloudmask.cube.layout import Cube
from xr_cloudmask.errors import CloudMaskError
from xr_cloudmask.models import auto, devices, ensemble, registry
from xr_cloudmask.models.base import ANY_LEVEL, ModelSpec
from xr_cloudmask.models.merging import Merged
from xr_cloudmask.models.weights import Given

MOST = 8  # things that can be missing at once


@dataclass(frozen=True)
class Fit:
    """A described cube, and the model that takes it.

    Attributes
    ----------
    cube : DescribedCube
    spec : ModelSpec
    used : tuple of BandDescriptor
        Its bands in the model's order, and
    merged : tuple of Merged
        what those are merged into.
    calibrations : tuple of Calibration
        How each of those bands becomes what it measures; none for models that take values as they are.
    ground : Ground
    why : str
        Why ``model="auto"`` takes that model; empty where it was asked for.
    """

    cube: DescribedCube
    spec: ModelSpec
    used: tuple[BandDescriptor, ...]
    merged: tuple[Merged, ...]
    calibrations: tuple[Calibration, ...]
    ground: Ground
    why: str


def fit(
    cube: Cube,
    model: str,
    told: Told,
    *,
    weights: Given | None = None,
    precision: str = "auto",
    thresholds: Any = None,
    device: str | None = None,
) -> Fit:
    """Describe a cube, choose the variant of a model for it and configure that; computes nothing.

    Raises
    ------
    CloudMaskError
        The model does not fit, or the metadata leave something open. Everything that is missing is in one error, with
        one line to type; its `keywords` are that line.
    """
    try:
        found = _fit(cube, model, told)
    except CloudMaskError as error:
        raise complete(error, cube, model, told) from None
    spec = registry.configured(found.spec, weights, precision, thresholds)
    return replace(found, spec=_settled(spec, device))


def _settled(spec: ModelSpec, device: str | None) -> ModelSpec:
    if spec.members:
        return ensemble.with_networks(spec, [devices.settled(one.spec, device) for one in spec.members])
    return devices.settled(spec, device)


def _fit(cube: Cube, model: str, told: Told) -> Fit:
    described = DescribedCube.of(cube, told)
    spec = registry.choose(model, described.descriptors, described.level)
    used, merged = spec.inputs(described.descriptors), spec.merged(described.descriptors)
    rules = tuple(described.calibrated(used).values()) if spec.context == "window" else ()
    return Fit(described, spec, used, merged, rules, described.ground, auto.reason(spec) if model == auto.NAME else "")


def complete(error: CloudMaskError, cube: Cube, model: str, told: Told) -> CloudMaskError:
    """Return an error that says all that is missing: each answer is tried, until nothing further is."""
    errors = [error, *_further(error, cube, model, told)]
    if len(errors) == 1 and not error.keywords:
        return error
    keywords = {name: value for one in errors for name, value in one.keywords.items()}
    line = ", ".join(f"{name}={value!r}" for name, value in keywords.items())
    hints = [f"{line}" if line else "", *dict.fromkeys(one.remedy for one in errors), *_needing_less(cube, model, told)]
    return type(error)(
        "; ".join(dict.fromkeys(one.found for one in errors)),
        "; ".join(dict.fromkeys(one.expected for one in errors)),
        "\n     ".join(dict.fromkeys(filter(None, hints))),
        keywords,
    )


def _further(error: CloudMaskError, cube: Cube, model: str, told: Told) -> Iterator[CloudMaskError]:
    """Yield what is missing too, once what an error asks for is given."""
    for _ in range(MOST):
        said = {name: value for name, value in error.keywords.items() if getattr(told, name, None) is None}
        if not said:
            return
        told = replace(told, **said)
        try:
            _fit(cube, model, told)
        except CloudMaskError as another:
            error = another
            yield error
        else:
            return


def _needing_less(cube: Cube, model: str, told: Told) -> list[str]:
    """Name a model that takes the cube as it is, where the one that was asked for does not."""
    for name in [one for one in registry.parts(model) if one != model]:
        if all(spec.level == ANY_LEVEL for spec in registry.variants(name)):
            try:
                _fit(cube, name, told)
            except CloudMaskError:
                continue
            return [f"model={name!r}, which needs no more than the cube tells"]
    return []
