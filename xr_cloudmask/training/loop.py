"""Train a network: scenes in, weights out. Read `train` first."""

from __future__ import annotations

import json
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import torch

from xr_cloudmask.errors import FileError
from xr_cloudmask.models import universal
from xr_cloudmask.models.networks import runner
from xr_cloudmask.training import loss, validation
from xr_cloudmask.training.recipe import Recipe
from xr_cloudmask.training.samples import Batch, PatchSource, Simulated, prepared, stream
from xr_cloudmask.training.state import CHECKPOINT, WEIGHTS, TrainingState
from xr_cloudmask.training.teacher import Teacher

LOG = "log.jsonl"
LOG_EVERY = 50  # steps
ENDLESS = 10**9
Say = Callable[[dict[str, Any]], None]


def train(
    recipe: Recipe,
    out: str | os.PathLike[str],
    *,
    source: PatchSource | None = None,
    start: str | os.PathLike[str] | None = None,
    resume: bool = False,
    minutes: float | None = None,
    workers: int | None = None,
    device: str | None = None,
    say: Say | None = None,
) -> Path:
    """Train the sensor-independent network, or go on training it.

    The run ends when all patches of the recipe were shown. At an interrupt (Ctrl-C) or SIGTERM it writes a checkpoint
    first. Interrupted and resumed it learns, to the bit, what it would have learnt on that machine anyway.

    Parameters
    ----------
    recipe : Recipe
        Such as ``Recipe.packaged()``.
    out : path
        Folder of the run, made where it is not there: ``universal.safetensors``, weights to predict with;
        ``checkpoint``, a folder to resume from; ``log.jsonl``, a line for each loss and each validation; the prepared
        worlds.
    source : PatchSource, optional
        Labelled patches, such as `LabelledCubes`, in place of simulated worlds.
    start : path, optional
        Weights to start from, or ``'universal'`` for those of this package; by default random ones.
    resume : bool
        Whether to go on from the checkpoint in `out`. With another number of patches in the recipe, the learning rate
        falls to 0 over what remains to that number.
    minutes : float, optional
        End after so long, whatever the machine can show until then, instead of after the recipe's patches. The learning
        rate falls to 0 over this time, also of a run that is resumed. What is learnt then depends on the machine's
        speed.
    workers : int, optional
        Processes that make patches; by default one for each core, and none for a `source`, whose scenes each process
        would get a copy of. What is learnt does not depend on it. A script whose patches other processes make needs
        ``if __name__ == "__main__":`` around the call: they import it.
    device : str, optional
        ``'cpu'``, ``'cuda'`` …; by default the best that is installed.
    say : callable, optional
        Gets every line of the log as a dict.

    Returns
    -------
    Path
        The weights, for ``predict("universal", weights=...)``.

    Raises
    ------
    FileError
        There is a run in `out` already, or none to resume, or one of another recipe.
    WeightsError
        The weights to start from are of another network.
    KeyboardInterrupt
        The run was interrupted, by either signal, and is saved.
    """
    clock = Clock(minutes)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / CHECKPOINT).exists() and not resume:
        raise FileError(f"a run in {str(folder)!r}", "a folder without one", "resume=True, or another folder")
    place = runner.device_named(device)
    run = TrainingState(recipe, place)
    if start is not None:
        arrays = universal.arrays_of(start, run.network.architecture)
        run.start_from({name: torch.from_numpy(array) for name, array in arrays.items()})
    if resume:
        run.load(folder)
    given = source is not None
    if source is None:
        source = Simulated(prepared(recipe, folder), recipe.seed, recipe.size)
    check = validation.Validation.prepare(recipe, folder) if recipe.validate_every else None
    teacher = Teacher() if recipe.distillation else None
    crew = (0 if given else os.cpu_count() or 1) if workers is None else workers
    last = recipe.patches // recipe.batch if minutes is None else ENDLESS
    saved = clock.start()
    with (folder / LOG).open("a") as file, _interrupts() as interrupted:
        diary = Diary(run, file, say)
        for batch in stream(source, recipe, run.step, last, crew):
            diary.learnt(learn(run, batch.to(place), teacher, clock.done()))
            if check is not None and run.step * recipe.batch % recipe.validate_every < recipe.batch:
                diary.note(check.scores(run.average))
            if time.monotonic() - saved > 60 * recipe.save_minutes:
                run.save(folder)
                saved = time.monotonic()
            if interrupted.is_set() or clock.over():
                break
    run.save(folder)
    if interrupted.is_set():
        raise KeyboardInterrupt
    return folder / WEIGHTS


class Clock:
    """The time of a run that has only so many minutes.

    Parameters
    ----------
    minutes : float, optional
        From now on.
    """

    def __init__(self, minutes: float | None) -> None:
        self._end = None if minutes is None else time.monotonic() + 60 * minutes
        self._start = time.monotonic()

    def start(self) -> float:
        """Begin to learn, all being prepared; return when."""
        self._start = time.monotonic()
        return self._start

    def done(self) -> float | None:
        """Return the share of the time that is over, 0 to 1; None where patches are counted, not minutes."""
        if self._end is None:
            return None
        return min(1.0, (time.monotonic() - self._start) / max(self._end - self._start, 1e-6))

    def over(self) -> bool:
        """Return whether the time is up."""
        return self._end is not None and time.monotonic() >= self._end


class Diary:
    """Writes a line of JSON for every note, and one every so many steps for what they cost and how long they took.

    Parameters
    ----------
    run : TrainingState
    file : file
    say : callable, optional
        Gets every line as a dict.
    """

    def __init__(self, run: TrainingState, file: TextIO, say: Say | None) -> None:
        self._run, self._file, self._say = run, file, say
        self._losses: list[torch.Tensor] = []
        self._since = time.monotonic()

    def learnt(self, value: torch.Tensor) -> None:
        """Take in the loss of a step."""
        self._losses.append(value)
        if self._run.step % LOG_EVERY:
            return
        recipe, now = self._run.recipe, time.monotonic()
        speed = len(self._losses) * recipe.batch / (now - self._since)
        used = self._run.optimiser.param_groups[0]["lr"]
        facts = {"loss": round(float(torch.stack(self._losses).mean()), 4), "rate": used}
        self.note({**facts, "patches_per_second": round(speed, 2)})
        self._losses, self._since = [], now

    def note(self, facts: Mapping[str, float]) -> None:
        """Write facts about the run as it is now."""
        line = {"step": self._run.step, "patches": self._run.step * self._run.recipe.batch, **facts}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        if self._say is not None:
            self._say(line)


def learn(run: TrainingState, batch: Batch, teacher: Teacher | None = None, done: float | None = None) -> torch.Tensor:
    """Do one step, and return its loss; `done` is the share of a run that is over, where time measures it."""
    recipe, network = run.recipe, run.network.train()
    for group in run.optimiser.param_groups:
        group["lr"] = rate(recipe, run.step, done)
    with torch.autocast(batch.values.device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
        logits = network(batch.values, batch.wavelengths, batch.present)
    value = loss.cross_entropy(logits, batch.truth, recipe.weights, recipe.smoothing)
    if teacher is not None:
        value = value + recipe.distillation * teacher.loss(logits, batch)
    run.optimiser.zero_grad()
    value.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(network.parameters(), recipe.clip)
    run.optimiser.step()
    run.step += 1
    run.take_into_average()
    return value.detach()


def rate(recipe: Recipe, step: int, done: float | None = None) -> float:
    """Return the learning rate of a step: a linear rise, then half a cosine down to 0.

    `done` is the share of the run that is over; by default that of its patches.

    Examples
    --------
    >>> recipe = Recipe.packaged()
    >>> [round(rate(recipe, patches // recipe.batch) / recipe.rate, 2) for patches in (0, 2000, 4000, 100000, 200000)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    patches = (step + 1) * recipe.batch
    rise = min(1.0, patches / max(recipe.warm_up, 1))
    share = step * recipe.batch / recipe.patches if done is None else done
    return recipe.rate * rise * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))


@contextmanager
def _interrupts() -> Iterator[threading.Event]:
    """Catch SIGINT and SIGTERM, so that a step ends and is saved; only the main thread can."""
    caught = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return
    signals = signal.SIGINT, signal.SIGTERM
    before = [signal.signal(number, lambda *_: caught.set()) for number in signals]
    try:
        yield caught
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)
