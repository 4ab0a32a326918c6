"""Where labelled patches come from, simulated worlds or cubes with labels, and how they are shown to a network.

A truth is a set of classes for each pixel, as bits: simulated worlds know the class, a label "clear" allows land, water
and snow, and a pixel without any bit is left out.
"""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from xr_cloudmask import atomic
from xr_cloudmask.models.base import FloatArray, is_visible
from xr_cloudmask.simulate import worlds
from xr_cloudmask.training.recipe import Recipe

# Bits of the classes, by truth code; codes that stand for no data have none.
BITS = np.zeros(256, "uint8")
BITS[: len(worlds.CLASSES)] = 1 << np.arange(len(worlds.CLASSES))
HELD_OUT = 60, 120  # surfaces and skies to score on
# Random numbers of their own for each purpose; scenes are drawn by seed and number alone.
TURNING, WINDOWS = 1, 2
TURNS = 8  # four rotations, mirrored or not


class Patch(NamedTuple):
    """A labelled patch.

    Attributes
    ----------
    values : ndarray
        Reflectance ``(band, y, x)`` float32, NaN where no data.
    wavelengths : ndarray
        ``(band, 2)`` float32, shortest and longest, nanometres.
    truth : ndarray
        ``(y, x)`` uint8: a bit for every class that the pixel may be, in the order of `simulate.worlds.CLASSES`.
    """

    values: FloatArray
    wavelengths: FloatArray
    truth: npt.NDArray[np.uint8]


class Batch(NamedTuple):
    """Patches side by side; bands that a patch lacks are filled up and not `present`.

    Attributes
    ----------
    values : Tensor
        ``(patch, band, y, x)``
    wavelengths : Tensor
        ``(patch, band, 2)``
    present : Tensor
        ``(patch, band)``, 1 or 0.
    truth : Tensor
        ``(patch, y, x)`` uint8 bits.
    """

    values: Tensor
    wavelengths: Tensor
    present: Tensor
    truth: Tensor

    def to(self, device: torch.device) -> Batch:
        """Return it on a device."""
        return Batch(*(tensor.to(device, non_blocking=True) for tensor in self))


class PatchSource(Protocol):
    """Patches without end. Each is a pure function of its number, so that any process can make it at any time."""

    def __getitem__(self, number: int) -> Patch:
        """Make a patch."""
        ...


@dataclass(frozen=True)
class Simulated(Dataset[Patch]):
    """Patches of simulated worlds.

    Attributes
    ----------
    pool : str
        Folder of a saved `simulate.worlds.Pool`.
    seed : int
    size : int
        Pixels.
    """

    pool: str
    seed: int
    size: int

    def __getitem__(self, number: int) -> Patch:
        """Render a patch."""
        rng = np.random.default_rng([self.seed, number])
        sample = worlds.sample(_pool(self.pool), rng, self.size)
        return Patch(sample.values, sample.wavelengths, BITS[sample.truth])


@cache
def _pool(folder: str) -> worlds.Pool:
    return worlds.Pool.load(folder)


def prepared(recipe: Recipe, folder: Path, *, held_out: bool = False) -> str:
    """Return the folder of a recipe's worlds, which are made where they are not there.

    Worlds that are held out have spectra and clouds that the others lack.
    """
    surfaces, skies = HELD_OUT if held_out else (recipe.surfaces, recipe.skies)
    path = folder / f"worlds-{recipe.seed + held_out}-{surfaces}-{skies}-{recipe.world}"
    if not path.exists():
        pool = worlds.Pool.prepare(recipe.seed + held_out, surfaces, skies, recipe.world, held_out)
        folder.mkdir(parents=True, exist_ok=True)
        with atomic.replacing(path) as made:
            pool.save(made)
    return str(path)


def stream(source: PatchSource, recipe: Recipe, first: int, last: int, workers: int) -> Iterator[Batch]:
    """Yield the batches of the steps from `first` to before `last`, the same whoever renders them.

    A scene comes back after `lag` steps until it was shown `repeats` times. To start in the middle of a run, the
    scenes of the steps before are rendered once more.
    """
    fresh = recipe.batch // recipe.repeats
    span = recipe.lag * (recipe.repeats - 1) + 1  # steps whose scenes are still needed
    begin = max(0, first - span + 1)
    scenes = iter(
        DataLoader(
            cast("Dataset[Patch]", source),
            batch_size=None,
            sampler=range(begin * fresh, last * fresh),
            collate_fn=cast("Any", _as_it_is),  # its type is for lists of samples
            num_workers=workers,
            prefetch_factor=2 * fresh if workers else None,
            multiprocessing_context="spawn" if workers else None,
            worker_init_fn=_leave_signals_to_parent,
        )
    )
    recent: deque[list[Patch]] = deque(maxlen=span)
    for step in range(begin, last):
        recent.append([next(scenes) for _ in range(fresh)])
        if step >= first:
            shown = [
                recent[-1 - turn * recipe.lag] for turn in range(recipe.repeats) if turn * recipe.lag < len(recent)
            ]
            yield collate(list(_varied(shown, recipe.seed, step)))


def _as_it_is(patch: Patch) -> Patch:
    return patch


def _leave_signals_to_parent(_: int) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):  # it goes to the whole group of processes
        signal.signal(number, signal.SIG_IGN)


def _varied(shown: Sequence[Sequence[Patch]], seed: int, step: int) -> Iterator[Patch]:
    rng = np.random.default_rng([seed, step, TURNING])
    for showing, patches in enumerate(shown):
        for patch in patches:
            yield turned(patch if showing == 0 else with_fewer_bands(patch, rng), int(rng.integers(TURNS)))


def turned(patch: Patch, turn: int) -> Patch:
    """Rotate a patch by right angles, and mirror it for turns from 4 on. Suns shine from everywhere."""

    def turn_one(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        rotated = np.rot90(values, turn % 4, axes=(-2, -1))
        return rotated if turn < TURNS // 2 else rotated[..., ::-1]

    return Patch(turn_one(patch.values), patch.wavelengths, turn_one(patch.truth))


def with_fewer_bands(patch: Patch, rng: np.random.Generator) -> Patch:
    """Leave out bands by chance in half of the cases, but keep two, of which one is visible if any is."""
    count = len(patch.wavelengths)
    if count <= 2 or rng.random() < 0.5:
        return patch
    visible = [i for i, limits in enumerate(patch.wavelengths) if is_visible(*limits)]
    first = rng.choice(visible or count)
    others = rng.permutation(np.delete(np.arange(count), first))[: rng.integers(1, count)]
    kept = np.sort([first, *others])
    return patch._replace(values=patch.values[kept], wavelengths=patch.wavelengths[kept])


def collate(patches: Sequence[Patch]) -> Batch:
    """Put patches side by side."""
    most = max(len(patch.values) for patch in patches)
    size = patches[0].truth.shape
    values = np.zeros((len(patches), most, *size), "float32")
    wavelengths = np.full((len(patches), most, 2), 550, "float32")  # of what fills up: anything finite
    present = np.zeros((len(patches), most), "float32")
    for i, patch in enumerate(patches):
        count = len(patch.values)
        values[i, :count], wavelengths[i, :count], present[i, :count] = patch.values, patch.wavelengths, 1
    truth = np.stack([patch.truth for patch in patches])
    return Batch(*(torch.from_numpy(array) for array in (values, wavelengths, present, truth)))
