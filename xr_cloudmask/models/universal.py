"""Our own network: any optical bands of any sensor, top or bottom of atmosphere, nothing to download.

Trained on simulated worlds (`training`), measured on real scenes: the model card in the documentation has the tables.
Weights that ``xr-cloudmask train`` wrote take the place of those inside the package by ``predict(weights=...)``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from xr_cloudmask.cube.bands import BandDescriptor
from xr_cloudmask.errors import WeightsError
from xr_cloudmask.models import csmask, devices, weights
from xr_cloudmask.models.base import ANY_LEVEL, FloatArray, ModelSpec
from xr_cloudmask.models.merging import Group

if TYPE_CHECKING:
    from torch import Tensor

    from xr_cloudmask.models.networks.architecture import Architecture
    from xr_cloudmask.models.networks.stem import State

Frozen: TypeAlias = Callable[[FloatArray], FloatArray]  # windows to probabilities
BandLimits: TypeAlias = tuple[tuple[float, float], ...]  # shortest and longest wavelength of bands, nanometres

CLASSES = ("land", "water", "snow", "thin_cloud", "thick_cloud", "cloud_shadow")
NAME, FORMER_NAME = "universal", "universal-1"
FORMER_SHA256 = "149503cabc160baa37da3dc3e33f222df890b06996e7865cf35149dd2506ae0b"
SHA256 = "8b63c6054013156773504102ae41ebbce27d91487fc39df3936b59342ba8c0ac"

# Where the bands lay that it was trained on, at most 13 at a time: between them the air, not the ground, is seen.
KNOWN = ((400.0, 1000.0), (1200.0, 1330.0), (1360.0, 1390.0), (1500.0, 1780.0), (2030.0, 2400.0))
THERMAL = ((10_000.0, 12_900.0),)  # where it knows brightness temperature
MOST_BANDS = 13
# More are merged into the bands that it has seen most, those of Landsat's Thematic Mapper.
GROUPS = (
    Group("blue", (450.0, 520.0), (400.0, 520.0)),
    Group("green", (520.0, 600.0), (520.0, 600.0)),
    Group("red", (630.0, 690.0), (600.0, 720.0)),
    Group("nir", (760.0, 900.0), (720.0, 1000.0)),
    Group("swir16", (1550.0, 1750.0), (1500.0, 1780.0)),
    Group("swir22", (2080.0, 2350.0), (2030.0, 2400.0)),
)

SPEC = ModelSpec(
    name=NAME,
    variant="v2",
    version="2",
    bands=(),
    fewest_bands=2,
    needs_visible=True,
    kinds=("reflectance", "brightness_temperature"),
    knows=KNOWN + THERMAL,
    most_bands=MOST_BANDS,
    groups=(*GROUPS, Group("lwir11", *THERMAL * 2)),
    level=ANY_LEVEL,
    classes=CLASSES,
    window=768,
    halo=64,
    multiple=16,
    gsd=30.0,
    loader="xr_cloudmask.models.universal:load",
    requires=("onnxruntime", "onnx"),
    install="pip install onnxruntime onnx",
    licence="MIT",
    citation="xr_cloudmask",
    sha256=SHA256,
    takes_weights=True,
    precisions=("fp32", "bf16"),
)
# The network as it was at first, trained on fewer kinds of worlds and without thermal bands.
FORMER = replace(
    SPEC,
    name=FORMER_NAME,
    variant="v1",
    version="1",
    kinds=("reflectance",),
    knows=KNOWN,
    groups=GROUPS,
    sha256=FORMER_SHA256,
)
# Without short-wave infrared the first version does better on real ice and overcast skies: it stays what serves there.
INFRARED = ((1500.0, 1780.0), (2030.0, 2400.0))
SPECS = (replace(SPEC, needs_within=INFRARED), replace(FORMER, name=NAME))
FORMER_SPECS = (FORMER,)

BYTES_PER_PIXEL = 1000  # of a window, on a GPU, while it passes through the network


class UniversalModel:
    """The network on a device, with its convolutions for every set of bands that it has met."""

    def __init__(self, for_bands: Callable[[BandLimits], Frozen], batch_size: int) -> None:
        self.batch_size = batch_size
        self._for_bands = for_bands
        self._frozen: dict[BandLimits, Frozen] = {}

    def probabilities(self, windows: FloatArray, descriptors: Sequence[BandDescriptor]) -> FloatArray:
        """Return softmax probabilities of the six classes; the order of the bands does not matter, not in a bit."""
        limits = [(band.min_wavelength, band.max_wavelength) for band in descriptors]
        order = sorted(range(len(limits)), key=limits.__getitem__)
        key = tuple(limits[i] for i in order)
        if key not in self._frozen:
            self._frozen[key] = self._for_bands(key)
        return self._frozen[key](np.ascontiguousarray(windows[:, order]))


def load(spec: ModelSpec, device: str | None) -> UniversalModel:
    """Read weights, after comparing them with their checksum, and put the network on a device."""
    (file,) = spec.weights or (weights.WeightsFile(str(_packaged_for(spec)), spec.sha256),)
    weights.verify(file)
    architecture = architecture_of(file.path)
    state = arrays_of(file.path, architecture)
    if devices.runs_without_torch(spec, device):
        return UniversalModel(partial(_in_onnxruntime, state, architecture), csmask.CPU_BATCH)
    return _in_torch(spec, device, state, architecture)


def _in_onnxruntime(state: State, architecture: Architecture, limits: BandLimits) -> Frozen:
    from xr_cloudmask.models.networks.graph import INPUT, onnx_of
    from xr_cloudmask.models.networks.stem import entering, thermal_among

    thermal = thermal_among(limits)
    session, _ = csmask.session(onnx_of(state, architecture, limits).SerializeToString(), "cpu")

    def run(windows: FloatArray) -> FloatArray:
        (logits,) = session.run(None, {INPUT: entering(windows, thermal)})
        return csmask.softmax(logits)

    return run


def _in_torch(spec: ModelSpec, device: str | None, state: State, architecture: Architecture) -> UniversalModel:
    import torch

    from xr_cloudmask.models.networks import runner
    from xr_cloudmask.models.networks.stem import thermal_among
    from xr_cloudmask.models.networks.universal import UniversalNetwork, channels_last, entering

    place = runner.device_named(device)
    run = runner.Runner(place, runner.uses_bf16(spec.precision, place.type))
    network = UniversalNetwork(architecture)
    network.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})
    network.eval().to(place)

    def for_bands(limits: BandLimits) -> Frozen:
        frozen, thermal = network.frozen(torch.tensor(limits, device=place)), thermal_among(limits)

        def probabilities(bands: Tensor) -> Tensor:
            logits: Tensor = frozen(channels_last(entering(bands, thermal)))
            return logits.float().softmax(dim=1)

        return partial(run, probabilities)

    return UniversalModel(for_bands, runner.batch_size(place, BYTES_PER_PIXEL * spec.window**2))


def packaged(name: str = NAME) -> Path:
    """Return the file of weights of `universal`, or of ``'universal-1'``, inside this package."""
    return Path(str(files("xr_cloudmask.models") / "data" / f"{name}.safetensors"))


def _packaged_for(spec: ModelSpec) -> Path:
    return packaged(FORMER_NAME if spec.version == FORMER.version else NAME)


def architecture_of(path: str | os.PathLike[str]) -> Architecture:
    """Return the sizes of the network that a file of weights is for.

    Raises
    ------
    WeightsError
        It does not say them, they are for other classes, or for windows that `predict` does not cut.
    """
    from xr_cloudmask.models.networks.architecture import Architecture

    try:
        facts = facts_of(path)
        sizes, classes = json.loads(facts["architecture"]), facts["classes"].split()
        tuples: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in sizes.items()}
        architecture = Architecture(**tuples)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _unfit(path, f"its metadata lack the architecture or the classes ({error})") from error
    if classes != list(CLASSES) or architecture.classes != len(CLASSES):
        raise _unfit(path, f"its {architecture.classes} classes are {classes}, not {list(CLASSES)}")
    if SPEC.multiple % architecture.multiple:
        raise _unfit(path, f"its windows are multiples of {architecture.multiple}, not of {SPEC.multiple}")
    return architecture


def facts_of(path: str | os.PathLike[str]) -> dict[str, str]:
    """Return what a file of weights says of itself: architecture, classes, recipe, patches."""
    from xr_cloudmask.models.networks.tensors import read_metadata

    try:
        return read_metadata(path)
    except (OSError, TypeError, ValueError) as error:
        raise _unfit(path, str(error)) from error


def arrays_of(path: str | os.PathLike[str], architecture: Architecture) -> State:
    """Read weights for a network.

    Parameters
    ----------
    path : path
        A file that ``xr-cloudmask train`` wrote, or ``'universal'`` or ``'universal-1'`` for one inside this package.
    architecture : Architecture
        Of the network; weights of one that takes no thermal bands will do for one that does.

    Returns
    -------
    mapping of str to ndarray
        float32; numbers that count are as they are.

    Raises
    ------
    WeightsError
        It is no such file, or for a network of other sizes.
    """
    from xr_cloudmask.models.networks.architecture import shapes_of
    from xr_cloudmask.models.networks.tensors import read_arrays

    place = packaged(str(path)) if path in (NAME, FORMER_NAME) else Path(path)
    found = architecture_of(place)
    if found not in (architecture, replace(architecture, thermal=False)):
        raise _unfit(place, f"it is for {found}, where {architecture} was asked for")
    try:
        arrays = read_arrays(place)
    except (OSError, ValueError) as error:
        raise _unfit(place, str(error)) from error
    if {name: array.shape for name, array in arrays.items()} != shapes_of(found):
        raise _unfit(place, "its tensors are others")
    return {name: array.astype("float32" if array.dtype.kind == "f" else array.dtype) for name, array in arrays.items()}


def _unfit(path: str | os.PathLike[str], why: str) -> WeightsError:
    return WeightsError(
        f"weights {os.fspath(path)!r}, which do not fit model {NAME!r}: {why}",
        "a .safetensors file that xr-cloudmask train wrote",
        "predict('universal', weights='run/universal.safetensors')",
    )
