"""The spectral embedding of SEnSeIv2: any number of bands of any sensor → 32 channels.

Every window and band gets a frequency f, a phase p and a gain g for each channel, from the band's descriptor and from
quantiles of its values; a channel is Σ g · sin(f · (value + p)) over the bands.

Two habits of the public codes are kept because trained weights depend on them: every layer of `fcl_block` returns its
output twice over, and the inputs are normalised before, not after, each layer. One is not: there, attention runs
across the windows of a batch. Here every window attends to itself alone, which is what they compute for a batch of one.

Source: Francis (2024), IEEE TGRS, https://doi.org/10.1109/TGRS.2024.3391625
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from xr_cloudmask.models.csmask import threads_of_this_worker
from xr_cloudmask.models.networks import encoding

QUANTILES = (0.01, 0.1, 0.5, 0.9, 0.99)
WIDTH, HEADS, FEED_FORWARD, LAYERS = 128, 4, 256, 2
CHANNELS = 32
CPU_BLOCK = 8192  # pixels at a time, which with their 32 channels stay in the cache


class Doubled(nn.Module):
    """A skip connection around nothing."""

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return x + x


class FullyConnected(nn.Module):
    """Layers of LayerNorm → ReLU → Linear, each doubled or not."""

    def __init__(self, *sizes: int, doubled: bool) -> None:
        super().__init__()
        skip = [Doubled()] if doubled else []
        layers = [m for a, b in pairwise(sizes) for m in (nn.LayerNorm(a), nn.ReLU(), nn.Linear(a, b), *skip)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        out: Tensor = self.layers(x)
        return out


class BandAttention(nn.Module):
    """Transformer layers over a sequence of one: attention is then its value path alone."""

    def __init__(self) -> None:
        super().__init__()
        layers = (nn.TransformerEncoderLayer(WIDTH, HEADS, FEED_FORWARD, batch_first=True) for _ in range(LAYERS))
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        tokens = x.reshape(-1, 1, WIDTH)
        for layer in self.layers:
            tokens = layer(tokens)
        return tokens.reshape(x.shape)


class BandEmbedding(nn.Module):
    """Sum of the bands' sinusoids, without a full-size temporary."""

    def __init__(self) -> None:
        super().__init__()
        self.frequency_head = FullyConnected(WIDTH, WIDTH, CHANNELS, doubled=False)
        self.phase_offset_head = FullyConnected(WIDTH, WIDTH, CHANNELS, doubled=False)
        self.gain_head = FullyConnected(WIDTH, WIDTH, CHANNELS, doubled=False)
        self.norm = nn.BatchNorm2d(CHANNELS)

    def forward(self, bands: Tensor, described: Tensor) -> Tensor:
        """Embed bands ``(window, band, y, x)`` described by ``(window, band, 128)``."""
        scale, shift = self._normalisation()
        frequency = self.frequency_head(described)
        phase = frequency * self.phase_offset_head(described)
        gain = self.gain_head(described) * scale
        windows, _, *size = bands.shape
        values = bands.flatten(2)
        out = values.new_empty(windows, CHANNELS, values.shape[-1])
        fill = _fill_on_cpu if values.device.type == "cpu" else _fill
        for window in range(windows):
            fill(out[window], values[window], (frequency[window], phase[window], gain[window]), shift)
        return out.reshape(windows, CHANNELS, *size)

    def _normalisation(self) -> tuple[Tensor, Tensor]:
        """Return BatchNorm as a factor and a summand per channel."""
        mean, variance = self.norm.running_mean, self.norm.running_var
        assert mean is not None  # noqa: S101 - it tracks them
        assert variance is not None  # noqa: S101
        scale = self.norm.weight / torch.sqrt(variance + self.norm.eps)
        return scale, self.norm.bias - mean * scale


def _fill(out: Tensor, values: Tensor, parameters: tuple[Tensor, Tensor, Tensor], shift: Tensor) -> None:
    """Fill ``out (channel, pixel)`` from ``values (band, pixel)`` and three parameters ``(band, channel)`` each."""
    out[:] = shift[:, None]
    wave = torch.empty_like(out)
    for value, frequency, phase, gain in zip(values, *parameters, strict=True):
        torch.addcmul(phase[:, None], frequency[:, None], value, out=wave).sin_()
        out.addcmul_(wave, gain[:, None])


def _fill_on_cpu(out: Tensor, values: Tensor, parameters: tuple[Tensor, Tensor, Tensor], shift: Tensor) -> None:
    """Do the same with NumPy, whose vectorised sine takes half the time of torch's, in threads."""
    target, source, start = out.numpy(), values.numpy(), shift[:, None].numpy()
    columns = [parameter[..., None].numpy() for parameter in parameters]

    def fill(begin: int) -> None:
        part = slice(begin, begin + CPU_BLOCK)
        block = target[:, part]
        block[:] = start
        wave = np.empty_like(block)
        for value, frequency, phase, gain in zip(source[:, part], *columns, strict=True):
            np.multiply(frequency, value, out=wave)
            wave += phase
            np.sin(wave, out=wave)
            wave *= gain
            block += wave

    with ThreadPoolExecutor(threads_of_this_worker()) as pool:
        list(pool.map(fill, range(0, target.shape[1], CPU_BLOCK)))


class SpectralEmbedding(nn.Module):
    """Embed the bands of windows, each window on its own.

    For inference: BatchNorm uses what it has learnt, and nothing is recorded for gradients.
    """

    def __init__(self) -> None:
        super().__init__()
        self.fcl_block = FullyConnected(encoding.SIZE + len(QUANTILES), WIDTH, WIDTH, WIDTH, doubled=True)
        self.attention_block = BandAttention()
        self.band_embedding = BandEmbedding()

    def forward(self, bands: Tensor, descriptors: Tensor) -> Tensor:
        """Embed bands ``(window, band, y, x)`` described by ``(band, 74)`` → ``(window, 32, y, x)``."""
        # One window at a time: a product of matrices rounds differently for other sizes, and sines amplify that.
        return torch.cat([self._embed(window[None], descriptors) for window in bands])

    def _embed(self, bands: Tensor, descriptors: Tensor) -> Tensor:
        described = torch.cat([descriptors[None], quantiles(bands)], dim=-1)
        embedded: Tensor = self.band_embedding(bands, self.attention_block(self.fcl_block(described)))
        return embedded


def quantiles(bands: Tensor) -> Tensor:
    """Return the quantiles of every band ``(window, band, quantile)``, interpolated linearly between pixels."""
    flat = bands.flatten(2)
    # NumPy sorts with vector instructions, more than ten times faster than torch on a CPU.
    ordered = flat.sort().values if flat.is_cuda else torch.from_numpy(np.sort(flat.numpy()))
    rank = torch.tensor(QUANTILES, dtype=torch.float64) * (flat.shape[-1] - 1)
    below = rank.floor().long()
    low, high = ordered[..., below], ordered[..., (below + 1).clamp_max(flat.shape[-1] - 1)]
    return torch.lerp(low, high, (rank - below).to(low))
