"""Probabilities that mean what they say: one temperature for all logits, found on worlds that are kept aside.

Source: Guo et al. (2017), https://arxiv.org/abs/1706.04599
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from xr_cloudmask import atomic
from xr_cloudmask.extras import require
from xr_cloudmask.models import universal
from xr_cloudmask.models.networks.universal import UniversalNetwork
from xr_cloudmask.training.loss import cross_entropy
from xr_cloudmask.training.samples import Patch, collate

HEAD = "trunk.head."
COARSEST, FINEST = 0.25, 4.0  # temperatures
STRIDE = 4  # of the pixels that are asked


def temperature(network: UniversalNetwork, patches: Iterable[Patch]) -> float:
    """Return what logits are divided by, so that the true classes are the most probable: the least cross-entropy.

    Parameters
    ----------
    network : UniversalNetwork
        In evaluation mode.
    patches : iterable of Patch
        With truth as bits, of no scene that it learnt from.
    """
    from scipy import optimize

    seen = [_logits(network, patch) for patch in patches]
    logits, truth = (torch.cat(parts, dim=-1) for parts in zip(*seen, strict=True))
    alike = [1.0] * logits.shape[1]

    def cost(log_temperature: float) -> float:
        return float(cross_entropy(logits / float(np.exp(log_temperature)), truth, alike, 0.0))

    found = optimize.minimize_scalar(cost, bounds=np.log([COARSEST, FINEST]), method="bounded")
    return float(np.exp(found.x))


@torch.inference_mode()
def _logits(network: UniversalNetwork, patch: Patch) -> tuple[Tensor, Tensor]:
    """Return logits ``(1, class, 1, pixel)`` and truth ``(1, 1, pixel)`` of some pixels of a patch."""
    batch = collate([patch])
    out = network(batch.values, batch.wavelengths, batch.present)[..., ::STRIDE, ::STRIDE]
    return out.flatten(2)[:, :, None], batch.truth[:, ::STRIDE, ::STRIDE].flatten(1)[:, None]


def calibrate(weights: str | os.PathLike[str], out: str | os.PathLike[str], patches: Iterable[Patch]) -> float:
    """Write weights whose logits are divided by their `temperature`, and return it.

    The most probable class of a pixel stays; which of several classes together are most probable may change a little.

    Parameters
    ----------
    weights : path
        As `train` writes them.
    out : path
        The new file, which says its ``temperature``; may be the same.
    patches : iterable of Patch
        See `temperature`.
    """
    save = require("safetensors.torch", "train", "files of weights").save
    architecture = universal.architecture_of(weights)
    arrays = universal.arrays_of(weights, architecture)
    network = UniversalNetwork(architecture)
    network.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
    found = temperature(network.eval(), patches)
    tensors = {
        name: torch.from_numpy(array / np.float32(found) if name.startswith(HEAD) else array)
        for name, array in arrays.items()
    }
    halves = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    facts = universal.facts_of(weights) | {"temperature": f"{found:.4f}"}
    with atomic.replacing(Path(out)) as path:
        path.write_bytes(save(halves, facts))
    return found
