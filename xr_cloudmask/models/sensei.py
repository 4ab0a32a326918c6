"""SEnSeIv2, the sensor-independent network (Francis 2024): any bands, described by what they measure.

The weights are the user's: a pair of files as phicloudmask takes them, one file as SEnSeIv2 does, or the official ones
(GPL-3.0) that ``xr-cloudmask weights fetch`` downloads. The networks are our own (`models.networks`).

How values enter: reflectance as it is, 0 to 1. Brightness temperature T as (T − low) / (high − low) with the bounds of
the public code, 132 to 249 K for Landsat's B10 and 127 to 239 K for B11; they are no physical limits, and warm ground
is above 1. Radar, elevation and what is normalised already enter as they are in the cube. Pixels without data enter
as 0, which is what the network was trained to see there; statistics of a window count them.

Source: https://doi.org/10.1109/TGRS.2024.3391625
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from xr_cloudmask.cube.bands import KINDS, BandDescriptor
from xr_cloudmask.errors import WeightsError
from xr_cloudmask.extras import INSTALL_TORCH
from xr_cloudmask.models import state_dicts, weights
from xr_cloudmask.models.base import FloatArray, ModelSpec

if TYPE_CHECKING:
    from torch import Tensor

    from xr_cloudmask.models.networks.embedding import SpectralEmbedding
    from xr_cloudmask.models.networks.runner import Runner
    from xr_cloudmask.models.networks.segformer import Segformer

SPEC = ModelSpec(
    name="sensei",
    variant="v2",
    version="2",
    bands=(),
    kinds=KINDS,
    level="TOA",
    classes=("land", "water", "snow", "thin_cloud", "thick_cloud", "cloud_shadow", "no_data"),
    window=512,
    halo=64,  # windows of 512 at a stride of 384, as the public code steps
    multiple=32,
    gsd=10.0,
    loader="xr_cloudmask.models.sensei:load",
    requires=("torch",),
    install=INSTALL_TORCH,
    licence="GPL-3.0",
    citation="Francis (2024), doi:10.1109/TGRS.2024.3391625",
    sha256="",
    takes_weights=True,
    precisions=("fp32", "bf16"),
)
SPECS = (SPEC,)

KELVIN_BOUNDS = {"lwir12": (127.0, 239.0)}
DEFAULT_KELVIN_BOUNDS = (132.0, 249.0)

# Parts of a SEnSeIv2 checkpoint, and what they are called in the two files of phicloudmask.
RENAMED = {
    "senseiv2.blocks.1.": "fcl_block.",
    "senseiv2.blocks.2.": "attention_block.",
    "senseiv2.blocks.3.": "band_embedding.",
    "segmenter.": "",
}
TRAINING_ONLY = "recovery_module."
EMBEDDING = ("fcl_block.", "attention_block.", "band_embedding.")

BYTES_PER_PIXEL = 3000  # of a window, on a GPU, while it passes through the networks


class SenseiNetwork:
    """Embedding and segmenter on a device."""

    def __init__(self, embedding: SpectralEmbedding, segmenter: Segformer, runner: Runner, batch_size: int) -> None:
        self.embedding, self.segmenter = embedding, segmenter
        self.batch_size = batch_size
        self._runner = runner

    def probabilities(self, windows: FloatArray, descriptors: Sequence[BandDescriptor]) -> FloatArray:
        """Return softmax probabilities of the seven classes."""
        import torch

        from xr_cloudmask.models.networks.encoding import encode

        described = torch.from_numpy(encode(descriptors)).to(self._runner.device)

        def network(bands: Tensor) -> Tensor:
            with torch.autocast(bands.device.type, enabled=False):  # the phases of sines need their digits
                embedded = self.embedding(bands, described)
            logits: Tensor = self.segmenter(embedded)
            return logits.softmax(dim=1)

        return self._runner(network, entering(windows, descriptors))


def entering(windows: FloatArray, descriptors: Sequence[BandDescriptor]) -> FloatArray:
    """Return windows ``(window, band, y, x)`` as the network takes them: temperatures normalised, no data 0."""
    values = np.nan_to_num(windows, nan=0.0)
    for band, descriptor in enumerate(descriptors):
        if descriptor.kind == "brightness_temperature":
            low, high = KELVIN_BOUNDS.get(str(descriptor.role), DEFAULT_KELVIN_BOUNDS)
            values[:, band] = np.nan_to_num((windows[:, band] - np.float32(low)) / np.float32(high - low), nan=0.0)
    return values


def load(spec: ModelSpec, device: str | None) -> SenseiNetwork:
    """Read a checkpoint of either style, after comparing it with its checksum, and put the networks on a device."""
    import torch

    from xr_cloudmask.models.networks import embedding, runner, segformer

    state = checkpoint(spec)
    place = runner.device_named(device)
    parts: dict[bool, dict[str, Tensor]] = {True: {}, False: {}}
    for name, tensor in state.items():
        parts[name.startswith(EMBEDDING)][name] = tensor
    try:
        config = segformer.config_of(parts[False])
        with torch.device("meta"):  # no time is spent on random weights
            networks = embedding.SpectralEmbedding(), segformer.Segformer(config, embedding.CHANNELS, len(spec.classes))
        for network, part in zip(networks, (parts[True], parts[False]), strict=True):
            network.load_state_dict(part, strict=True, assign=True)
            network.float().eval().requires_grad_(False).to(place)
    except (KeyError, RuntimeError) as error:
        raise _unfit(spec, " ".join(str(error).split())[:300]) from error
    networks[1].freeze()
    run = runner.Runner(place, runner.uses_bf16(spec.precision, place.type))
    return SenseiNetwork(*networks, run, runner.batch_size(place, BYTES_PER_PIXEL * spec.window**2))


def checkpoint(spec: ModelSpec) -> dict[str, Tensor]:
    """Return the state dict of embedding and segmenter together, under phicloudmask's names.

    Raises
    ------
    WeightsError
        A file is damaged, or the ``config.yaml`` beside it is for other classes.
    """
    state: dict[str, Tensor] = {}
    for file in spec.weights:
        weights.verify(file)
        classes = state_dicts.read_config(file.path).get("CLASSES", len(spec.classes))
        if classes != len(spec.classes):
            raise _unfit(spec, f"config.yaml says {classes} classes")
        state |= {_renamed(name): tensor for name, tensor in state_dicts.read_state(file.path).items()}
    return {name: tensor for name, tensor in state.items() if not name.startswith(TRAINING_ONLY)}


def _renamed(name: str) -> str:
    prefix = next((old for old in RENAMED if name.startswith(old)), "")
    return RENAMED.get(prefix, "") + name.removeprefix(prefix)


def _unfit(spec: ModelSpec, why: str) -> WeightsError:
    return WeightsError(
        f"weights {[file.path for file in spec.weights]}, which do not fit the network: {why}",
        f"SEnSeIv2 with SegFormer and {len(spec.classes)} classes: weights.pt, or spectral_embedding.pt with "
        "cloudmask_weights.pt",
        "predict(weights=('spectral_embedding.pt', 'cloudmask_weights.pt'))",
    )
