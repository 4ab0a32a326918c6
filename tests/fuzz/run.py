"""Inputs without number, and what becomes of each: read, refused by one clear error, or anything else."""

from __future__ import annotations

import random
import resource
import signal
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fuzz.base import Target
from fuzz.targets import prepared
from xr_cloudmask import CloudMaskError

READ, REFUSED, TRACEBACK, HANG, CRASH = "read", "refused", "tracebacks", "hangs", "crashes"
OUTCOMES = (READ, REFUSED, TRACEBACK, HANG, CRASH)
LONGEST = 30  # seconds that an input may take


class Hung(BaseException):
    """An input took too long. No Exception: nothing that reads may catch it."""


@dataclass
class Result:
    """What became of the inputs of a reader.

    Attributes
    ----------
    outcomes : Counter
    faults : dict of str to str
        By their kind and place: the first seed of each, and its traceback.
    slowest : float
        Seconds.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    faults: dict[str, str] = field(default_factory=dict)
    slowest: float = 0.0

    @property
    def bad(self) -> int:
        """Inputs that were neither read nor refused."""
        return sum(self.outcomes[name] for name in (TRACEBACK, HANG, CRASH))


def run(
    target: Target, folder: Path, count: int, first: int = 0, *, patience: int = LONGEST
) -> Iterator[tuple[int, Result]]:
    """Try the inputs of some seeds, one by one; yield the next seed and what became of those so far.

    `patience` are seconds after which an input is stopped, 0 for none: where others watch the time.
    """
    result = Result()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        attempt = prepared(target, folder)
        for seed in range(first, first + count):
            began = time.monotonic()
            outcome, fault = outcome_of(attempt, seed, patience)
            result.slowest = max(result.slowest, time.monotonic() - began)
            result.outcomes[outcome] += 1
            if fault:
                result.faults.setdefault(*(_place(fault), f"seed {seed}\n{fault}"))
            yield seed + 1, result


def outcome_of(attempt: Any, seed: int, patience: int) -> tuple[str, str]:
    """Try the input of a seed; return what became of it, and the traceback of a fault."""
    try:
        with no_longer_than(patience) if patience else nullcontext():
            attempt(random.Random(seed))
    except CloudMaskError:
        return REFUSED, ""
    except Hung:
        return HANG, traceback.format_exc()
    except KeyboardInterrupt:
        raise
    except BaseException:
        return TRACEBACK, traceback.format_exc()
    return READ, ""


@contextmanager
def no_longer_than(seconds: int) -> Iterator[None]:
    """Raise in the middle of what takes too long, as far as it runs in Python."""

    def stop(*_: Any) -> None:
        raise Hung

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _place(fault: str) -> str:
    """Return the last line of a traceback, and where in this package it came from."""
    lines = fault.splitlines()
    ours = [line.strip() for line in lines if "/xr_cloudmask/" in line and line.strip().startswith("File")]
    return f"{lines[-1].partition(':')[0]} {ours[-1] if ours else ''}"


def peak_memory() -> float:
    """Return the most memory that this process has had, MB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
