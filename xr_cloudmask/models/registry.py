"""Which models there are, which one fits a cube, and one loaded copy of each per process."""

from __future__ import annotations

import importlib
import threading
import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xr_cloudmask.cube.bands import BandDescriptor
from xr_cloudmask.errors import MissingError, ModelError, close_to, is_one_of, listed, refusing
from xr_cloudmask.extras import has
from xr_cloudmask.models import (
    auto,
    cloudsen12,
    csmask,
    custom,
    ensemble,
    s2cloudless,
    sensei,
    universal,
    weights,
)
from xr_cloudmask.models.base import ANY_LEVEL, Model, ModelSpec, ScenePipeline
from xr_cloudmask.models.checks import require_plain
from xr_cloudmask.models.ensemble import PLUS
from xr_cloudmask.models.index import four_four_a, physical

if TYPE_CHECKING:
    import pandas as pd

    from xr_cloudmask.models.custom import Network

ENTRY_POINTS = "xr_cloudmask.models"
PRODUCTS = {
    "TOA": "top of the atmosphere, such as Sentinel-2 Level-1C or Landsat Level-1",
    "BOA": "surface reflectance, such as Sentinel-2 Level-2A or Landsat Level-2",
}
GET_WEIGHTS = "xr-cloudmask weights fetch, or predict(weights='weights.pt')"

_SPECS: dict[str, tuple[ModelSpec, ...]] = {
    "csmask": csmask.SPECS,
    "sensei": sensei.SPECS,
    "universal": universal.SPECS,
    "universal-1": universal.FORMER_SPECS,
    "4-4A": four_four_a.SPECS,
    "physical": physical.SPECS,
    "s2cloudless": s2cloudless.SPECS,
    "cloudsen12": cloudsen12.SPECS,
}
_ALL = [spec for name in ensemble.NAMES for spec in ensemble.NETWORKS[name]]
_SPECS[ensemble.NAME] = (replace(ensemble.of(ensemble.NAME, _ALL), variant=PLUS.join(ensemble.NAMES)),)
_LOADED: dict[tuple[ModelSpec, str | None], Any] = {}
_LOADING = threading.RLock()  # an ensemble loads its networks


def register_model(*specs: ModelSpec, network: Network | None = None) -> None:
    """Make a model available as ``predict(model=specs[0].name)``.

    A package makes its models available to every process by entry points of the group ``xr_cloudmask.models``, whose
    values are a ModelSpec or a sequence of variants.

    Parameters
    ----------
    *specs : ModelSpec
        The variants of one model, best first; all of one name. Each names its loader, unless there is
    network : torch.nn.Module or path of an .onnx file, optional
        The network of a single spec. It takes float32 ``(window, band, y, x)``, the bands of the spec in its order,
        0 where there are no data, and returns logits, or probabilities for ``logits=False``, ``(window, class, y, x)``.
        A module is copied, and found by the threads of this process alone; a file by every process that sees its path.

    Raises
    ------
    ModelError
        Another model has the name, the variants have several names, or the network is of another kind. The same model
        once more, as when a cell of a notebook is run again, is no error.

    Examples
    --------
    >>> import torch
    >>> from dataclasses import replace
    >>> import xr_cloudmask
    >>> class Brightness(torch.nn.Module):
    ...     def forward(self, bands):
    ...         bright = bands.mean(dim=1)
    ...         return torch.stack([0.3 - bright, bright - 0.3], dim=1) * 20
    >>> spec = xr_cloudmask.ModelSpec(
    ...     name="brightness", variant="rgb", version="1", bands=(("red",), ("green",), ("blue",)), level="TOA",
    ...     classes=("clear", "thick_cloud"), window=256, halo=0, multiple=1, gsd=10.0,
    ...     licence="MIT", citation="")
    >>> register_model(spec, network=Brightness())
    >>> cube = xr_cloudmask.simulate.series(dates=1, size=(64, 64))
    >>> cube.cloudmask.predict("brightness")["cloud_mask"].attrs["flag_meanings"]
    'clear thick_cloud thin_cloud cloud_shadow no_data'
    """
    for spec in specs:
        require_plain(spec)
    variants = specs if network is None else tuple(custom.bound(spec, network) for spec in specs)
    names = sorted({spec.name for spec in specs})
    if len(names) == 1 and _SPECS.get(names[0]) == variants:
        return
    if len(names) != 1 or names[0] in (*_SPECS, auto.NAME) or PLUS in names[0]:
        raise ModelError(
            f"variants named {names}",
            f"one new name for all of them, without {PLUS!r}, none of {sorted(_SPECS)}",
            "register_model(dataclasses.replace(spec, name='my-model'))",
        )
    _SPECS[names[0]] = variants


@cache
def _discover() -> None:
    """Register the models of other packages, once; a broken one is left out with a warning."""
    for entry in entry_points(group=ENTRY_POINTS):
        try:
            found = entry.load()
            specs = [found] if isinstance(found, ModelSpec) else list(found)
            for spec in specs:
                require_plain(spec)
                _row(spec)  # one that cannot be listed would break the list of all
            register_model(*specs)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # whatever another package does wrong, ending the process included
            why = f"{type(error).__name__}: {error}"
            warnings.warn(f"model {entry.name!r} ({entry.value}) is left out: {why}", stacklevel=3)


def models() -> pd.DataFrame:
    """List every model variant: what it needs, at which level, its licence and citation, and whether it runs here.

    Returns
    -------
    pandas.DataFrame
        Indexed by model and variant. Nothing is loaded.

    Examples
    --------
    >>> models().loc["csmask", "licence"].unique().tolist()
    ['Apache-2.0']
    """
    import pandas as pd

    rows = [_row(spec) for spec in specs()]
    return pd.DataFrame(rows).set_index(["model", "variant"])


def specs() -> list[ModelSpec]:
    """Return every model variant, those of other packages too."""
    _discover()
    return [spec for variants in _SPECS.values() for spec in variants]


def _row(spec: ModelSpec) -> dict[str, object]:
    absent = not all(map(has, spec.requires))
    without_weights = spec.takes_weights and not spec.sha256 and not weights.available(spec.name)
    remedies = ([spec.install] if absent else []) + ([GET_WEIGHTS] if without_weights else [])
    return {
        "model": spec.name,
        "variant": spec.variant,
        "needs": spec.needs,
        "level": spec.level,
        "classes": ", ".join(spec.classes),
        "gsd": spec.gsd,
        "runs here": not remedies,
        "what to type": "; ".join(remedies),
        "version": spec.version,
        "licence": spec.licence,
        "citation": spec.citation,
    }


def choose(name: str, descriptors: Sequence[BandDescriptor], level: str | None) -> ModelSpec:
    """Return the variant of a model that fits a cube's bands and level; the rule behind ``model="auto"`` too.

    Raises
    ------
    ModelError
        Unknown name, bands that no variant can work with, a level that is unknown or that no variant takes.
    """
    candidates = variants(name)
    if candidates[0].members:
        return _together(candidates[0], descriptors, level)
    fitting = _fitting(name, descriptors, level)
    return _at_level(fitting, level)[0]


def _together(whole: ModelSpec, descriptors: Sequence[BandDescriptor], level: str | None) -> ModelSpec:
    """Return an ensemble of those networks that fit a cube."""
    by_name: dict[str, list[ModelSpec]] = {}
    for one in whole.members:
        by_name.setdefault(one.spec.name, []).append(one.spec)
    fitting = {name: [spec for spec in specs if spec.inputs(descriptors)] for name, specs in by_name.items()}
    fitting = {name: specs for name, specs in fitting.items() if specs}
    if not fitting:
        raise _unfit([one.spec for one in whole.members], descriptors)
    if level is not None and any(_takes(spec, level) for specs in fitting.values() for spec in specs):
        fitting = {name: specs for name, specs in fitting.items() if any(_takes(spec, level) for spec in specs)}
    at_level = [_at_level(specs, level) for specs in fitting.values()]
    networks = [spec for specs in at_level for spec in (specs if specs[0].name in ensemble.NETWORKS else specs[:1])]
    return ensemble.for_cube(whole, networks, descriptors)


def _takes(spec: ModelSpec, level: str | None) -> bool:
    return spec.level in (level, ANY_LEVEL)


def _at_level(fitting: Sequence[ModelSpec], level: str | None) -> list[ModelSpec]:
    at_level = [spec for spec in fitting if _takes(spec, level)]
    if at_level:
        return at_level
    levels = sorted({spec.level for spec in fitting})
    found = "a cube that does not tell its level (top or bottom of atmosphere)" if level is None else f"level {level}"
    raise ModelError(
        found,
        f"{' or '.join(levels)} reflectance for model {fitting[0].name!r}",
        _remedy(levels, level),
        {"level": levels[0]} if level is None else None,
    )


def _remedy(levels: Sequence[str], level: str | None) -> str:
    """Return what to type, and what to load where the cube is of another level."""
    said = " or ".join(f"predict(level={entry!r})" for entry in levels)
    if level is None:
        return said
    return f"load images of {' or '.join(PRODUCTS[entry] for entry in levels)}; {said} if the cube's level is wrong"


def variants(name: str) -> list[ModelSpec]:
    """Return the variants of a model, best first, or of all models that ``'auto'`` may choose.

    Raises
    ------
    ModelError
        Unknown name.
    """
    if not is_one_of(name, (*_SPECS, auto.NAME)):
        _discover()
    if not is_one_of(name, (*_SPECS, auto.NAME)) and PLUS in str(name):
        return [_ensemble(name)]
    if not is_one_of(name, (*_SPECS, auto.NAME)):
        close = close_to(name, _SPECS, auto.NAME)
        raise ModelError(f"model {name!r}", f"'auto' or one of {sorted(_SPECS)}", f"predict(model={close!r})")
    choices = auto.CHOICES if name == auto.NAME else (auto.Choice(name, ""),)
    return [spec for choice in choices for spec in choice.meant(_SPECS)]


def _ensemble(name: str) -> ModelSpec:
    """Return the ensemble of the models whose names a name joins."""
    names = name.split(PLUS)
    wrong = [one for one in names if one in (auto.NAME, ensemble.NAME)]
    if wrong:
        raise ModelError(
            f"{wrong} among the models of an ensemble",
            "models by their own names",
            f"predict(model={list(ensemble.NAMES)})",
        )
    return ensemble.of(name, [spec for one in names for spec in ensemble.NETWORKS.get(one, variants(one))])


def name_of(model: str | Sequence[str]) -> str:
    """Return the one name of a model or of an ensemble of models, whose order does not matter.

    Examples
    --------
    >>> name_of(["universal", "csmask"]), name_of("universal+csmask"), name_of(["csmask"])
    ('csmask+universal', 'csmask+universal', 'csmask')
    """
    if isinstance(model, str):
        return model if model in _SPECS else PLUS.join(sorted({part.strip() for part in model.split(PLUS)}))
    names = list(model) if isinstance(model, Sequence) else [model]
    if not names or not all(isinstance(name, str) for name in names):
        raise ModelError(f"model {model!r}", "a name, or several", f"predict(model={list(ensemble.NAMES)})")
    return PLUS.join(sorted(set(names)))


def warning_of(name: str) -> str:
    """Return what the masks of a model must not be used for; nothing where the model is not known here."""
    try:
        return variants(name)[0].warning
    except ModelError:
        return ""


def parts(name: str) -> list[str]:
    """Return the names of the models that ``'auto'``, or an ensemble, may take."""
    specs = [part for spec in variants(name) for part in ([one.spec for one in spec.members] or [spec])]
    return list(dict.fromkeys(spec.name for spec in specs))


def _fitting(name: str, descriptors: Sequence[BandDescriptor], level: str | None) -> list[ModelSpec]:
    """Return the variants that fit, of the first model that has any."""
    candidates = variants(name)
    choices = auto.CHOICES if name == auto.NAME else (auto.Choice(name, ""),)
    fitting = auto.fitting(_SPECS, descriptors, choices)
    if not fitting:
        raise _unfit(candidates, descriptors, level)
    return fitting


def _unfit(
    candidates: Sequence[ModelSpec], descriptors: Sequence[BandDescriptor], level: str | None = None
) -> ModelError:
    nearest = min(candidates, key=lambda spec: len(spec.missing(descriptors)))
    present = listed(f"{band.name} ({band.role})" for band in sorted(descriptors, key=_without_role))
    if level is not None and not any(_takes(spec, level) for spec in candidates):
        return ModelError(
            f"level {level}, with bands {present}, which lack {', '.join(nearest.missing(descriptors))}",
            f"for model {nearest.name!r} level {nearest.level} ({PRODUCTS[nearest.level]}) with {nearest.needs}",
            "load images of that level, or take another model: predict('auto')",
        )
    return ModelError(
        f"bands {present}, which lack {', '.join(nearest.missing(descriptors))}",
        f"for model {nearest.name!r} at least {nearest.needs}",
        "load the missing bands, or name them: predict(descriptors=[BandDescriptor(name, role, min, max), ...])",
    )


def _without_role(band: BandDescriptor) -> bool:
    return band.role is None


def configured(spec: ModelSpec, given: weights.Given | None, precision: str, thresholds: Any = None) -> ModelSpec:
    """Return a variant with the weights, precision and thresholds of one prediction; reads no more than checksums.

    Raises
    ------
    ModelError
        The model brings its own weights, or knows no such precision or thresholds.
    WeightsError
        There are no weights.
    """
    if precision not in ("auto", *spec.precisions):
        raise ModelError(
            f"precision {precision!r}", f"'auto' or one of {list(spec.precisions)}", "predict(precision='auto')"
        )
    if spec.members:
        return _configured_members(spec, given, precision, thresholds)
    if thresholds is not None:
        spec = _with_thresholds(spec, thresholds)
    if not spec.takes_weights and given is not None:
        raise ModelError(f"weights={given!r}", f"no weights: model {spec.name!r} brings its own", "leave weights= out")
    if not spec.takes_weights or (given is None and spec.sha256):
        return replace(spec, precision=precision)
    files = weights.resolve(spec.name, given)
    sums = " ".join(file.sha256 for file in files)
    return replace(spec, weights=files, precision=precision, sha256=sums, licence=_licence(files))


def _configured_members(whole: ModelSpec, given: weights.Given | None, precision: str, thresholds: Any) -> ModelSpec:
    """Return an ensemble each of whose networks has what is meant for it."""
    networks = [one.spec for one in whole.members]
    takers = {spec.name for spec in networks if spec.takes_weights}
    if given is not None and len(takers) != 1:
        raise ModelError(
            f"weights={given!r} for an ensemble, of whose models {sorted(takers) or 'none'} take weights",
            "one that does",
            "leave weights= out",
        )
    if thresholds is not None:
        _with_thresholds(whole, thresholds)
    return ensemble.with_networks(
        whole,
        [
            configured(
                spec,
                given if spec.takes_weights else None,
                precision if precision in spec.precisions else "auto",
                thresholds if spec.thresholds is not None else None,
            )
            for spec in networks
        ],
    )


def _with_thresholds(spec: ModelSpec, thresholds: Any) -> ModelSpec:
    if spec.thresholds is None or type(thresholds) is not type(spec.thresholds):
        kind = type(spec.thresholds)
        expected, remedy = "none", "leave thresholds= out"
        if spec.thresholds is not None:
            expected = kind.__name__
            remedy = f"from {kind.__module__} import {kind.__name__}; predict(thresholds={kind.__name__}(...))"
        raise ModelError(f"thresholds={thresholds!r}", f"{expected} for model {spec.name!r}", remedy)
    return replace(spec, thresholds=thresholds, halo=getattr(thresholds, "halo", spec.halo))


def _licence(files: Sequence[weights.WeightsFile]) -> str:
    manifest = weights.Manifest.read(Path(files[0].path).parent)
    return "that of the weights given" if manifest is None else manifest.licence


def load(spec: ModelSpec, device: str | None = None) -> Model:
    """Return the process's only copy of a model, loading it when it is first asked for; safe from any thread."""
    model: Model = _load(spec, device)
    return model


def load_pipeline(spec: ModelSpec) -> ScenePipeline:
    """Return the process's only copy of a scene-context pipeline."""
    pipeline: ScenePipeline = _load(spec, None)
    return pipeline


def _load(spec: ModelSpec, device: str | None) -> Any:
    key = (spec, device)
    with _LOADING:
        if key not in _LOADED:
            _require_installed(spec)
            module, _, function = spec.loader.partition(":")
            found = f"model {spec.name!r}, which {spec.loader!r} does not load"
            with refusing(ModelError, found, "a loader 'module:function' that returns a model", "the loader's package"):
                _LOADED[key] = getattr(importlib.import_module(module), function)(spec, device)
        return _LOADED[key]


def _require_installed(spec: ModelSpec) -> None:
    absent = [module for module in spec.requires if not has(module)]
    if absent:
        raise MissingError(f"no package {listed(absent)}", f"it, for model {spec.name!r}", spec.install or "install it")
