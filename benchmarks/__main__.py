"""Run every benchmark, each in a process of its own, and print one table.

``python -m benchmarks`` runs all of them, ``python -m benchmarks speed tile`` two, and ``python -m benchmarks soak 60``
one that takes as many minutes as it is told.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys

# The benchmarks in their order, and the modules that they are in.
BENCHMARKS = {
    "imports": "speed",
    "graph": "speed",
    "speed": "speed",
    "tile": "tile",
    "accuracy": "accuracy",
    "patches": "patches",
    "disguises": "disguises",
    "sensei": "networks",
    "universal": "networks",
    "worlds": "worlds",
    "scenes": "scenes",
    "surfaces": "accuracy",
    "screening": "screening",
    "catalog": "catalog",
    "cluster": "cluster",
    "composites": "series",
    "refinement": "series",
    "rows": "rows",
    "detectors": "detectors",
}


def main(arguments: list[str]) -> None:
    """Run some benchmarks in processes of their own; a function of a module (``tile.write``) runs here."""
    if arguments and arguments[0] == "soak":
        arguments = ["soak.soak", *arguments[1:]]
    if arguments and "." in arguments[0]:
        module, function = arguments[0].split(".")
        getattr(importlib.import_module(f"benchmarks.{module}"), function)(*arguments[1:])
        return
    print(f"{os.cpu_count()} cores\n\n| what | figure |\n| --- | --- |", flush=True)
    for name in arguments or BENCHMARKS:
        subprocess.run([sys.executable, "-m", "benchmarks", f"{BENCHMARKS[name]}.{name}"], check=True)


main(sys.argv[1:])
