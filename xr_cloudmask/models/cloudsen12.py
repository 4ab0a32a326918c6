"""CloudSEN12's U-Net for Sentinel-2 Level-2A, from the network file inside the package sentle.

Nothing of that package is imported, and nothing is copied. A TorchScript file holds code: only the one whose checksum
is written here is ever opened.

Source: Aybar et al. (2022), https://doi.org/10.1038/s41597-022-01878-2
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xr_cloudmask.cube.bands import BandDescriptor
from xr_cloudmask.extras import install_extra, shipped
from xr_cloudmask.models.base import FloatArray, ModelSpec

if TYPE_CHECKING:
    from torch import Tensor

    from xr_cloudmask.models.networks.runner import Runner

FILE = "data/cloudmodel.pt"
SHA256 = "3bd7e691020d6231309bc17665fedfebffcf08cb1fb4906c3ac905f080be2aee"
BYTES_PER_PIXEL = 4000  # of a window, on a GPU: an assumption; what does not fit is halved

SPEC = ModelSpec(
    name="cloudsen12",
    variant="12b_l2a",
    version="sentle 2026.10.2",
    bands=tuple(
        (role,)
        for role in (
            *("coastal", "blue", "green", "red", "rededge071", "rededge075", "rededge078"),
            *("nir", "nir08", "nir09", "swir16", "swir22"),
        )
    ),
    level="BOA",
    classes=("clear", "thick_cloud", "thin_cloud", "cloud_shadow"),
    window=736,
    halo=64,
    multiple=32,
    gsd=10.0,
    loader=f"{__name__}:load",
    requires=("sentle", "torch"),
    install=install_extra("cloudsen12"),
    licence="CC-BY-NC-4.0",
    citation="Aybar et al. (2022), doi:10.1038/s41597-022-01878-2",
    sha256=SHA256,
    note="the network of model 'cloudsen12' is licensed CC-BY-NC-4.0 by its authors: not for commercial use",
)
SPECS = (SPEC,)


@dataclass(frozen=True)
class Cloudsen12:
    """The network on a device: a `models.base.Model`."""

    module: Any
    runner: Runner
    batch_size: int

    def probabilities(self, windows: FloatArray, descriptors: Sequence[BandDescriptor]) -> FloatArray:  # noqa: ARG002
        """Return softmax probabilities; no data enters as 0, as in sentle."""

        def network(bands: Tensor) -> Tensor:
            logits: Tensor = self.module(bands)
            return logits.softmax(dim=1)

        return self.runner(network, np.nan_to_num(windows, nan=0.0))


def load(spec: ModelSpec, device: str | None) -> Cloudsen12:
    """Read the network from the installed package, after comparing it with its checksum.

    Raises
    ------
    WeightsError
        It is another file: it holds code, which is not run.
    """
    content = shipped(spec.requires[0], FILE, spec.sha256, spec.install)
    import torch

    from xr_cloudmask.models.networks import runner

    place = runner.device_named(device)
    with warnings.catch_warnings():  # newer versions of torch warn that the format is old
        warnings.simplefilter("ignore", DeprecationWarning)
        opened: Any = torch.jit
        module = opened.load(io.BytesIO(content), map_location=place).eval()
    run = runner.Runner(place, bf16=False)
    return Cloudsen12(module, run, runner.batch_size(place, BYTES_PER_PIXEL * spec.window**2))
