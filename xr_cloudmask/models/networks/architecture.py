"""The sizes of model universal's network, the constants of its stem, and the shapes of its weights."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

SHORTEST, LONGEST = 400.0, 2400.0  # nanometres, which the embedding maps to 0 and 1
OCTAVES = 7  # of sines over that range; the shortest wave is 12 % of a wavelength
TYPICAL_BANDS = 6
SQUEEZE_OFFSET, BRIGHTEST = 0.01, 1.6
WARMTH = 3000.0  # nanometres, from which on a band is thermal: kelvin, not reflectance
MEAN_KELVIN, KELVIN_SPAN = 275.0, 20.0  # which enter as 0 and 1

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Architecture:
    """Sizes of the network.

    Attributes
    ----------
    widths : tuple of int
        Feature maps at strides 1, 2, 4 …
    dilations : tuple of int
        Of the convolutions that widen the view at the coarsest stride.
    embedding : int
        Numbers that describe a band.
    classes : int
    thermal : bool
        Whether it takes thermal bands.
    """

    widths: tuple[int, ...] = (16, 32, 64, 128, 192)
    dilations: tuple[int, ...] = (2, 3)
    embedding: int = 64
    classes: int = 6
    thermal: bool = False

    def __post_init__(self) -> None:
        """Refuse sizes of no network."""
        if not self.widths or any(
            type(n) is not int or n < 1 for n in (*self.widths, *self.dilations, self.embedding, self.classes)
        ):
            raise ValueError(f"sizes of a network are positive whole numbers, which {self} are not")

    @property
    def multiple(self) -> int:
        """What the height and width of a window are multiples of."""
        return int(2 ** (len(self.widths) - 1))


def shapes_of(architecture: Architecture) -> dict[str, Shape]:
    """Return the shapes of the network's weights by name, as its state dict has them."""
    first, last, size = architecture.widths[0], architecture.widths[-1], architecture.embedding
    shapes: dict[str, Shape] = {"stem.valid": (first, 1, 3, 3)}
    if architecture.thermal:
        shapes |= {"stem.warm": (first, 3, 3), "stem.warm_bias": (first,)}
    shapes |= _linear("stem.describe.0", 4 * OCTAVES + 2, size) | _linear("stem.describe.2", size, size)
    shapes |= _linear("stem.generate.0", 2 * size + 1, 2 * size) | _linear("stem.generate.2", 2 * size, 9 * first)
    shapes |= _linear("stem.bias.0", size, size) | _linear("stem.bias.2", size, first) | _norm("stem.norm", first)
    for level, (fine, coarse) in enumerate(pairwise(architecture.widths)):
        down, up = f"trunk.down.{level}", f"trunk.up.{level}"
        shapes |= _conv_norm(f"{down}.0", fine, coarse)
        for name in residual_names(f"{down}.1") if level else (f"{down}.1",):
            shapes |= _conv_norm(name, coarse, coarse)
        shapes |= _conv(f"{up}.project", coarse, fine, 1) | _conv_norm(f"{up}.mix", fine, fine)
    for step in range(len(architecture.dilations)):
        shapes |= _conv_norm(f"trunk.context.body.{step}", last, last)
    return shapes | _conv("trunk.head", first, architecture.classes, 1)


def residual_names(name: str) -> tuple[str, str]:
    """Return the names of the two convolutions around which a residual block's input passes."""
    return f"{name}.body.0", f"{name}.body.1"


def _linear(name: str, inputs: int, outputs: int) -> dict[str, Shape]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _conv(name: str, inputs: int, outputs: int, size: int) -> dict[str, Shape]:
    return {f"{name}.weight": (outputs, inputs, size, size), f"{name}.bias": (outputs,)}


def _norm(name: str, width: int) -> dict[str, Shape]:
    learnt = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{part}": (width,) for part in learnt} | {f"{name}.num_batches_tracked": ()}


def _conv_norm(name: str, inputs: int, outputs: int) -> dict[str, Shape]:
    return {f"{name}.conv.weight": (outputs, inputs, 3, 3)} | _norm(f"{name}.norm", outputs)
