"""Public sets in one call: every scene and model once, whatever interrupts."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from xr_cloudmask.atomic import expanded, write_bytes
from xr_cloudmask.datasets import SETS, Labelled, PublicSet, scenes
from xr_cloudmask.errors import CloudMaskError, FileError
from xr_cloudmask.evaluation.report import Report
from xr_cloudmask.evaluation.scenes import judged_by, predicted, scored
from xr_cloudmask.evaluation.store import Store, key_of
from xr_cloudmask.masks.agreement import Agreement
from xr_cloudmask.masks.judging import USUAL
from xr_cloudmask.models.registry import name_of
from xr_cloudmask.names import MASK_NAME

SUFFIXES = {".json": Report.to_json, ".md": Report.to_markdown}
KEPT = ".scenes.sqlite"


def benchmark(
    dataset: str,
    path: str | os.PathLike[str],
    models: Sequence[str | Sequence[str]] = ("auto",),
    *,
    output: str | os.PathLike[str] | None = None,
    threshold: float | None = None,
    limit: int | None = None,
    workers: int = 1,
    progress: Callable[[str, str, bool], object] | None = None,
    **keywords: Any,
) -> Report:
    """Score models on a public set of labelled scenes.

    Parameters
    ----------
    dataset : str
        One of `datasets.SETS`: ``'l8biome'``, ``'pixbox-s2'``, ``'cloudsen12'`` …
    path : path
        The folder where it was unpacked.
    models : sequence of str
        As of `predict`, one after the other: ``'auto'``, ``'csmask+universal'`` …
    output : path, optional
        ``.json`` and ``.md`` of this name are written. Counts of every scene are kept beside them, in
        ``.scenes.sqlite``: the same call goes on where another ended.
    threshold : float, optional
        Cloud is what is cloud with at least this probability.
    limit : int, optional
        Of scenes: the first ones, to see that it runs.
    workers : int, default 1
        Scenes at once. Each is computed by dask, on its cluster where there is one.
    progress : callable, optional
        Called after every scene with its name, the model, and whether it was kept from before.
    **keywords
        As of `predict`; they come before what the set says of its files.

    Returns
    -------
    Report
        Intervals are drawn by scene.

    Raises
    ------
    CloudMaskError
        An unknown set, files that are missing or damaged, no scenes, or what `predict` says.

    Examples
    --------
    >>> benchmark("l8biome", "no-such-folder")
    Traceback (most recent call last):
    ...
    xr_cloudmask.errors.FileError: found: no folder 'no-such-folder'
    ...
    """
    for name, value in (("workers", workers), ("limit", 1 if limit is None else limit)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise CloudMaskError(f"{name}={value!r}", "a whole number from 1", f"{name}=2")
    names = tuple(dict.fromkeys(name_of(model) for model in models))
    store = None if output is None else _store(expanded(output))
    asked = {"threshold": threshold, "dataset": dataset}
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    found = islice(scenes(dataset, path), limit)

    def work(labelled: Labelled) -> list[dict[str, Any]]:
        return [_scored(SETS[dataset], labelled, name, store, asked, keywords, progress) for name in names]

    for rows in _several(work, found, workers):
        for name, row in zip(names, rows, strict=True):
            results[name].append(row)
    report = _report(SETS[dataset], results, str(path))
    for suffix, written in SUFFIXES.items():
        if output is not None:
            target = expanded(output)
            write_bytes(target.with_name(_stem(target) + suffix), written(report).encode())
    return report


def _stem(target: Path) -> str:
    return target.stem if target.suffix in SUFFIXES else target.name


def _store(target: Path) -> Store:
    if not target.parent.is_dir():
        raise FileError(f"no folder {str(target.parent)!r}", "a folder for the results", f"mkdir -p {target.parent}")
    return Store(target.with_name(_stem(target) + KEPT))


def _several(work: Any, found: Iterator[Labelled], workers: int) -> Iterator[Any]:
    """Work on some scenes at once; no more of them are open than there are workers, and results are in order."""
    with ThreadPoolExecutor(workers) as pool:
        running: deque[Future[Any]] = deque()
        try:
            for scene in found:
                if len(running) == workers:
                    yield running.popleft().result()
                running.append(pool.submit(work, scene))
            while running:
                yield running.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _scored(  # noqa: PLR0917 - one call
    one: PublicSet,
    labelled: Labelled,
    model: str,
    store: Store | None,
    asked: dict[str, Any],
    keywords: dict[str, Any],
    progress: Callable[[str, str, bool], object] | None,
) -> dict[str, Any]:
    mask = predicted(labelled, model, **keywords)
    key = "" if store is None else key_of(labelled, mask, asked)
    kept = None if store is None else store.get(key)
    if kept is None:
        classes = judged_by(labelled, mask, (one.classes, *USUAL))
        score = scored(labelled, mask, classes, asked["threshold"])
        version = " ".join(str(mask[MASK_NAME].attrs.get(name, "")) for name in ("model", "model_version", "software"))
        fresh: dict[str, Any] = {
            "scene": labelled.name,
            "classes": list(score.classes),
            "rows": [list(names) for names in score.rows],
            "counts": score.counts.tolist(),
            "version": version,
        }
        if store is not None:
            store.put(key, fresh)
    if progress is not None:
        progress(labelled.name, model, kept is not None)
    return fresh if kept is None else kept


def _report(one: PublicSet, results: dict[str, list[dict[str, Any]]], path: str) -> Report:
    scores, versions = {}, {}
    for model, rows in results.items():
        if not rows:
            raise FileError(f"no scene of {one.title} in {path!r}", one.layout, f"ls {path}")
        agreements = [
            Agreement.pooled(
                [np.array(row["counts"], "int64")[None]],
                classes=tuple(row["classes"]),
                rows=tuple(map(tuple, row["rows"])),
                by="scene",
            )
            for row in rows
        ]
        scores[model] = sum(agreements[1:], agreements[0])
        versions[model] = ", ".join(dict.fromkeys(row["version"] for row in rows))
    return Report(one, scores, versions)
