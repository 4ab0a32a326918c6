"""Learning from what csmask's networks, which were trained on real scenes, say of simulated ones: distillation.

Source: Hinton, Vinyals & Dean (2015), https://arxiv.org/abs/1503.02531
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from xr_cloudmask.masks.judging import JUDGED
from xr_cloudmask.models import csmask, registry
from xr_cloudmask.models.universal import CLASSES
from xr_cloudmask.simulate import worlds
from xr_cloudmask.training.samples import Batch

# csmask's three classes are those that masks are judged by, in their order.
MEMBERS = torch.tensor([[name in words for name in CLASSES] for words in JUDGED.values()])


class Teacher:
    """csmask's networks for the top of the atmosphere, asked where a patch has the bands that one of them takes."""

    def __init__(self) -> None:
        self._reference = worlds.bands_of("sentinel-2", worlds.SIX)
        specs = [spec for spec in csmask.SPECS if spec.level == "TOA"]
        self._models = {len(spec.bands): registry.load(spec) for spec in specs}

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """Return the mean cross-entropy between csmask's probabilities and those of the same three classes here.

        Parameters
        ----------
        logits : Tensor
            ``(patch, class, y, x)``
        batch : Batch
        """
        whole = logits.float().log_softmax(dim=1)
        losses = []
        for i in range(len(logits)):
            number = int(batch.present[i].sum())
            bands = batch.values[i, :number].cpu().numpy()
            taught = self.probabilities(bands, batch.wavelengths[i, :number].cpu().numpy())
            if taught is not None:
                members = MEMBERS.to(whole.device)
                found = torch.stack([whole[i, member].logsumexp(dim=0) for member in members])
                valid = torch.from_numpy(np.isfinite(bands).all(axis=0)).to(whole.device)
                losses.append(
                    -(torch.from_numpy(taught).to(whole.device) * found).sum(dim=0)[valid].sum() / valid.numel()
                )
        return torch.stack(losses).mean() if losses else whole.sum() * 0

    def probabilities(self, bands: np.ndarray, wavelengths: np.ndarray) -> np.ndarray | None:
        """Return csmask's probabilities ``(class, y, x)`` of a patch; None where it lacks the bands."""
        places = self.places(wavelengths)
        size = max((count for count in self._models if len(places) >= count), default=0)
        if not size:
            return None
        chances: np.ndarray = self._models[size].probabilities(bands[None, places[:size]], ())[0]
        return chances

    def places(self, wavelengths: np.ndarray) -> Sequence[int]:
        """Return where blue, green, red, nir, swir16 and swir22 are; none from the first on that is missing."""
        centres = wavelengths.mean(axis=1)
        places: list[int] = []
        for low, high in self._reference:
            inside = np.flatnonzero((centres >= low) & (centres <= high))
            if not len(inside):
                break
            places.append(int(inside[0]))
        return places
