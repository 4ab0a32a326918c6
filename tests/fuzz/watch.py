"""Every reader in a process of its own, one after another; prints a table of what became of its inputs."""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

from fuzz.base import Target
from fuzz.run import CRASH, HANG, LONGEST, OUTCOMES, Result, peak_memory, run
from fuzz.targets import targets

MOST_MEMORY = 1000  # MB
ADDRESSES = 24 << 30  # bytes that a reader may ask for at once: an input that asks for all of them must not get them
STARTING = 120  # seconds until the first input


def main() -> int:
    """Run, print, and return 1 where anything but CloudMaskErrors came out."""
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=20_000, help="in all; default: %(default)s")
    parser.add_argument("--first", type=int, default=0, help="seed of the first input of every reader")
    parser.add_argument("--only", default="", help="readers whose names hold this")
    parser.add_argument("--show", action="store_true", help="print the traceback of every kind of fault")
    arguments = parser.parse_args()
    chosen = [target for target in targets() if arguments.only in target.name]
    shares = sum(target.share for target in chosen)
    print(
        f"{'reader':20}{''.join(f'{name:>12}' for name in OUTCOMES)}{'slowest s':>12}{'peak MB':>10}{'s':>8}",
        flush=True,
    )
    results = []
    for target in chosen:
        began = time.monotonic()
        result, memory = watched(target, -(-arguments.inputs * target.share // shares), arguments.first)
        results.append((result, memory))
        print(row(target.name, result, memory) + f"{time.monotonic() - began:8.0f}", flush=True)
        for place, fault in result.faults.items():
            print(f"    {place}, {fault.partition(chr(10))[0]}")
            if arguments.show:
                print(fault)
    whole = Result(
        sum((result.outcomes for result, _ in results), Result().outcomes), {}, max(r.slowest for r, _ in results)
    )
    most = max(memory for _, memory in results)
    print(row("all", whole, most))
    print(f"{whole.outcomes.total()} inputs")
    return int(whole.bad > 0 or most > MOST_MEMORY)


def row(name: str, result: Result, memory: float) -> str:
    """Return a line of the table."""
    counts = "".join(f"{result.outcomes[outcome]:12d}" for outcome in OUTCOMES)
    return f"{name:20}{counts}{result.slowest:12.1f}{memory:10.0f}"


def watched(target: Target, count: int, first: int) -> tuple[Result, float]:
    """Try inputs in another process; one that dies or no longer answers is replaced by the next, a seed later."""
    whole, memory, seed, end = Result(), 0.0, first, first + count
    while seed < end:
        ours, theirs = multiprocessing.get_context("spawn").Pipe()
        worker = multiprocessing.get_context("spawn").Process(target=work, args=(target.name, end - seed, seed, theirs))
        worker.start()
        theirs.close()
        reached, result, used, fault = listen(ours, seed)
        if fault:
            worker.kill()
        worker.join()
        add(whole, result)
        memory, seed = max(memory, used), reached
        if seed < end and not result.outcomes and not fault:
            raise RuntimeError(f"reader {target.name!r} does not start")
        if seed < end:
            fault = fault or CRASH
            whole.outcomes[fault] += 1
            whole.faults.setdefault(f"{fault}, exit code {worker.exitcode}", f"seed {seed}\n")
            seed += 1
    return whole, memory


def listen(ours: Connection, seed: int) -> tuple[int, Result, float, str]:
    """Return how far a worker came, with which results, how much memory it had, and whether it hung."""
    reached, result, memory, patience = seed, Result(), 0.0, STARTING
    while ours.poll(patience):
        try:
            reached, result, memory = ours.recv()
        except EOFError:
            return reached, result, memory, ""
        patience = 2 * LONGEST
    return reached, result, memory, HANG


def work(name: str, count: int, first: int, theirs: Connection) -> None:
    """Try inputs, and tell after each."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    target = next(target for target in targets() if target.name == name)
    with tempfile.TemporaryDirectory() as folder:
        for reached, result in run(target, Path(folder) / "input", count, first):
            theirs.send((reached, result, peak_memory()))


def add(whole: Result, part: Result) -> None:
    """Add results."""
    whole.outcomes += part.outcomes
    whole.faults |= {place: fault for place, fault in part.faults.items() if place not in whole.faults}
    whole.slowest = max(whole.slowest, part.slowest)
