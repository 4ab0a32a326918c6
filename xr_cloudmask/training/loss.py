"""What a network is asked for: the class of every pixel, or one of those it may be."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def permitted(truth: Tensor, classes: int) -> Tensor:
    """Return where the bits of ``(patch, y, x)`` allow a class, ``(patch, class, y, x)``."""
    bits = torch.arange(classes, device=truth.device, dtype=torch.uint8)[:, None, None]
    return (truth[:, None] >> bits & 1).bool()


def cross_entropy(logits: Tensor, truth: Tensor, weights: Sequence[float], smoothing: float) -> Tensor:
    """Return the mean of ``-log p``, p being the probability of the classes that a pixel may be, together.

    Parameters
    ----------
    logits : Tensor
        ``(patch, class, y, x)``
    truth : Tensor
        ``(patch, y, x)`` uint8 bits; pixels without any are left out.
    weights : sequence of float
        Of the classes; a pixel that may be one of several counts with their mean.
    smoothing : float
        Share of the loss that asks for every class alike.

    Examples
    --------
    >>> logits = torch.zeros(1, 4, 1, 1)
    >>> several = torch.tensor([[[0b0011]]], dtype=torch.uint8)
    >>> cross_entropy(logits, several, (1, 1, 1, 1), 0.0)  # log 2
    tensor(0.6931)
    """
    logits = logits.float()
    allowed = permitted(truth, logits.shape[1])
    number = allowed.sum(dim=1)
    whole = logits.logsumexp(dim=1)
    # A pixel that allows none would be infinite: it allows all, and counts nothing.
    inside = logits.masked_fill(~(allowed | (number == 0)[:, None]), -torch.inf).logsumexp(dim=1)
    weight = torch.einsum("pcyx,c->pyx", allowed.float(), logits.new_tensor(weights)) / number.clamp_min(1)
    loss = (1 - smoothing) * (whole - inside) + smoothing * (whole - logits.mean(dim=1))
    return (loss * weight).sum() / weight.sum().clamp_min(1)
