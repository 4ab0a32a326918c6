"""What a training run consists of: a frozen recipe, read from TOML."""

from __future__ import annotations

import hashlib
import json
import os
import tomllib
from dataclasses import asdict, dataclass, fields
from importlib.resources import files
from typing import Any

from xr_cloudmask.bounded import read_text
from xr_cloudmask.errors import CloudMaskError, FileError, refusing
from xr_cloudmask.models.networks.architecture import Architecture
from xr_cloudmask.models.universal import CLASSES, SPEC

PRECISIONS = ("fp32", "bf16")
LARGEST = 2**53  # whole numbers up to it are exact as floats
# All other numbers are positive.
MAY_BE_ZERO = frozenset(
    {"seed", "weight_decay", "warm_up", "balance", "smoothing", "distillation", "validate_every", "save_minutes"}
)


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a run learns; on one machine to the bit, since others round differently.

    Attributes
    ----------
    seed : int
        Of the weights at the start, the scenes and their order.
    widths, dilations : tuple of int
        Of the network, as `models.networks.universal.Architecture` says.
    surfaces, skies, world : int
        How many surfaces and skies are prepared, and their size in pixels, out of which scenes are put together.
    size : int
        Of a patch, pixels.
    patches : int
        Shown in the whole run; the learning rate falls to 0 over them. A run that is resumed with another number is
        planned anew from where it is.
    batch : int
        Patches of a step.
    repeats : int
        How often a scene is shown, each time turned otherwise, and after the first time with some of its bands left
        out. Rendering a scene takes longer than learning from it.
    lag : int
        Steps between one showing and the next.
    rate, weight_decay, clip : float
        Highest learning rate, weight decay, and largest norm of the gradient.
    warm_up : int
        Patches until the learning rate is highest.
    averaging : int
        Patches over which the weights are averaged; the average is what is kept.
    weights : tuple of float
        Of the classes land, water, snow, thin cloud, thick cloud, cloud shadow in the loss.
    balance : float
        How much of these weights is taken out of the probabilities again when the average is written: 0 none of it, so
        that rare classes are called too often; 1 all, as if they were as rare everywhere as in the worlds of training.
    smoothing : float
        Share of the loss that asks for every class alike.
    distillation : float
        Weight of the agreement with csmask's probabilities of clear, cloud and shadow in the loss, where a patch has
        the bands it takes; 0: it is not asked.
    precision : {'fp32', 'bf16'}
        What networks multiply in.
    validate_every : int
        Patches between two looks at worlds kept aside; 0: never.
    validation : int
        Scenes of these.
    save_minutes : float
        Between two checkpoints.
    """

    seed: int
    widths: tuple[int, ...]
    dilations: tuple[int, ...]
    surfaces: int
    skies: int
    world: int
    size: int
    patches: int
    batch: int
    repeats: int
    lag: int
    rate: float
    weight_decay: float
    clip: float
    warm_up: int
    averaging: int
    weights: tuple[float, ...]
    balance: float
    smoothing: float
    distillation: float
    precision: str
    validate_every: int
    validation: int
    save_minutes: float

    def __post_init__(self) -> None:
        """Refuse what cannot be followed."""
        for field in fields(self):
            if field.type != "str":
                self._require_numbers(field.name, str(field.type))
        stride = Architecture(self.widths, self.dilations).multiple
        rules = {
            "widths": (
                SPEC.multiple % stride == 0,
                f"at most {SPEC.multiple.bit_length()}: it predicts in steps of {SPEC.multiple}",
            ),
            "batch": (self.batch % self.repeats == 0, f"a multiple of repeats, {self.repeats}"),
            "size": (
                self.size % stride == 0 and self.size <= self.world,
                f"a multiple of {stride}, at most {self.world}",
            ),
            "precision": (self.precision in PRECISIONS, f"one of {list(PRECISIONS)}"),
            "weights": (len(self.weights) == len(CLASSES), f"a number for each of {list(CLASSES)}"),
        }
        for name, (kept, expected) in rules.items():
            if not kept:
                raise self._refused(name, expected)

    def _require_numbers(self, name: str, kind: str) -> None:
        """Refuse what is not of the kind that an annotation says, or not positive."""
        value, many, whole, zero = getattr(self, name), "tuple" in kind, "int" in kind, name in MAY_BE_ZERO
        numbers: Any = value if many else (value,)
        if not (isinstance(numbers, tuple) and numbers and all(_is_number(n, whole, zero) for n in numbers)):
            expected = f"{'non-negative' if zero else 'positive'}{' whole' * whole} number"
            raise self._refused(name, f"a list of {expected}s" if many else f"a {expected}")

    def _refused(self, name: str, expected: str) -> CloudMaskError:
        return CloudMaskError(f"{name} = {getattr(self, name)!r} in a recipe", expected, f"another {name}")

    @classmethod
    def read(cls, path: str | os.PathLike[str], base: str = "recipe") -> Recipe:
        """Read a recipe from TOML; what it does not say is as in a recipe of this package.

        Parameters
        ----------
        path : path
        base : {'recipe', 'finetune'}
            The recipe of this package.

        Raises
        ------
        FileError
            There is no such file, it is no TOML, or it says what no recipe says.
        CloudMaskError
            An entry cannot be followed.

        Examples
        --------
        >>> Recipe.packaged().widths
        (16, 32, 64, 128, 192)
        """
        with refusing(FileError, f"recipe {os.fspath(path)!r}", "a TOML file", "recipe='recipe.toml'"):
            given = tomllib.loads(read_text(path))
        return cls.of({**_packaged(base), **given})

    @classmethod
    def packaged(cls, name: str = "recipe") -> Recipe:
        """Return a recipe of this package: ``'recipe'``, which trains from nothing, or ``'finetune'``."""
        return cls.of(_packaged(name))

    @classmethod
    def of(cls, given: dict[str, object]) -> Recipe:
        """Return the recipe that trains from nothing with some entries replaced."""
        base = _packaged("recipe")
        unknown = sorted(set(given) - set(base))
        if unknown:
            raise FileError(f"recipe entries {unknown}", f"some of {sorted(base)}", f"leave out {unknown[0]}")
        entries: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in {**base, **given}.items()
        }
        return cls(**entries)

    @property
    def sha256(self) -> str:
        """Checksum of all its entries."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def _is_number(value: Any, whole: bool, zero: bool) -> bool:
    kinds = (int,) if whole else (int, float)
    return type(value) in kinds and abs(value) <= LARGEST and (value > 0 or (zero and value == 0))  # NaN is not


def _packaged(name: str) -> dict[str, Any]:
    return tomllib.loads(files(__package__).joinpath(f"{name}.toml").read_text())
