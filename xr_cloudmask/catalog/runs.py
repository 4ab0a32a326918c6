"""Work through a queue of scenes with threads or a cluster; only this process touches the database and the masks."""

from __future__ import annotations

import hashlib
import inspect
import json
import math
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xr_cloudmask import stac
from xr_cloudmask.catalog.archive import file_name
from xr_cloudmask.catalog.interrupt import held_back
from xr_cloudmask.catalog.queue import Queue, Queued, open_queue
from xr_cloudmask.catalog.work import Failure, Made, Request, attempt
from xr_cloudmask.errors import CatalogError, close_to
from xr_cloudmask.extras import require
from xr_cloudmask.models import registry
from xr_cloudmask.models.base import ModelSpec
from xr_cloudmask.prediction import OPTIONS, predict
from xr_cloudmask.stac.searching import moment, ordered

if TYPE_CHECKING:
    from distributed import Client
    from pystac import Item

# Options that registry.configured takes, in its order.
CONFIGURING = {"weights": None, "precision": "auto", "thresholds": None}
NOT_PER_SCENE = {"model", "probabilities", "agreement", "descriptors"}  # of the keywords of predict
MADE_BY = ("name", "variant", "version", "sha256", "precision", "thresholds")  # of a ModelSpec
HOW = ("device", "batch_size", "cache", "patch_url", "chunks", "allow_local")  # a mask is made, not which
GLANCE = 0.2  # seconds between two looks for Ctrl-C


@dataclass(frozen=True)
class RunResult:
    """What became of the scenes of a run: their ids, by date.

    Attributes
    ----------
    done : tuple of str
        With a mask, made by this run or before.
    failed : tuple of str
        Without one; the table says why.
    running : tuple of str
        In the hands of another run that is still alive.
    made : int
        How many masks this run made.
    """

    done: tuple[str, ...]
    failed: tuple[str, ...]
    running: tuple[str, ...]
    made: int

    def __str__(self) -> str:
        elsewhere = f", {len(self.running)} in the hands of another run" * bool(self.running)
        return f"{len(self.done)} done ({self.made} of them now), {len(self.failed)} failed{elsewhere}"


@dataclass(frozen=True)
class Workers:
    """Who makes masks: an executor, how many scenes it is given at once, and how to tell it to stop."""

    executor: Executor
    scenes: int
    stop: threading.Event | None


def run(
    path: Path,
    items: Iterable[Item],
    request: Request,
    *,
    inside: bool,
    workers: int,
    client: Client | None,
    progress: bool,
) -> RunResult:
    """Make the masks that are missing; see `Catalog.run`."""
    rows = _rows(items, request)
    with held_back() as look, open_queue(path) as queue:
        queue.add(rows)
        before = len(queue.states().get("done", ()))
        pool = _threads(workers) if client is None else _cluster(client)
        with _bar(len(rows), before, progress) as advance, pool as working:
            made = 0
            while now := _work_off(queue, working, request, inside=inside, advance=advance, look=look):
                made += now
                queue.take_over()  # of runs that were killed meanwhile
        states = queue.states()
    done, failed, running = (tuple(states.get(status, ())) for status in ("done", "failed", "running"))
    return RunResult(done, failed, running, made)


def _work_off(
    queue: Queue,
    pool: Workers,
    request: Request,
    *,
    inside: bool,
    advance: Callable[[], object],
    look: Callable[[], None],
) -> int:
    """Hand out scenes and keep what comes back, until nothing is left that this run may do; return how many masks."""
    made = 0
    busy: dict[Future[Made | Failure], Queued] = {}
    while True:
        while len(busy) < pool.scenes and (scene := queue.claim()):
            busy[pool.executor.submit(attempt, scene.item, request, pool.stop)] = scene
        pause = queue.pause()
        if not busy and pause is None:
            return made
        for future in _finished(busy, pause if len(busy) < pool.scenes else None, look):
            made += _write_down(queue, busy.pop(future), _outcome(future), inside)
            advance()


def _finished(
    busy: Collection[Future[Made | Failure]], pause: float | None, look: Callable[[], None]
) -> Collection[Future[Made | Failure]]:
    """Wait until scenes are finished, or for `pause` seconds; return those that are."""
    end = math.inf if pause is None else time.monotonic() + pause
    while True:
        look()
        rest = min(GLANCE, max(0.0, end - time.monotonic()))
        if not busy:
            time.sleep(rest)
        finished = wait(busy, timeout=rest, return_when=FIRST_COMPLETED).done
        if finished or time.monotonic() >= end:
            return finished


def _outcome(future: Future[Made | Failure]) -> Made | Failure:
    """Return what a worker found; a worker that died is a failure too."""
    error = future.exception()
    return future.result() if error is None else Failure.of(error)


def _write_down(queue: Queue, scene: Queued, outcome: Made | Failure, inside: bool) -> bool:
    """Write an outcome down at once; return whether there is a mask."""
    if isinstance(outcome, Made):
        try:
            queue.finish(scene, outcome.columns, outcome.cog, outcome.class_names, inside)
        except OSError as error:  # such as a full disk
            outcome = Failure.of(error)
    if isinstance(outcome, Failure):
        queue.fail(scene, outcome.kind, outcome.text)
    return isinstance(outcome, Made)


@contextmanager
def _threads(count: int) -> Iterator[Workers]:
    """Give threads of this process; on leaving, also by Ctrl-C, they stop after the chunk at hand."""
    threads, stop = ThreadPoolExecutor(count, thread_name_prefix="xr-cloudmask"), threading.Event()
    try:
        yield Workers(threads, count + 1, stop)  # one waits, so that no thread does while a mask is written down
    finally:
        stop.set()
        threads.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _cluster(client: Any) -> Iterator[Workers]:
    """Give the threads of a cluster; on leaving, what they have not begun is cancelled."""
    executor = client.get_executor(pure=False)
    try:
        # Twice as many scenes as threads, so that none of them waits for this process.
        yield Workers(executor, 2 * sum(client.nthreads().values()), None)
    finally:
        executor.shutdown(wait=False)


@contextmanager
def _bar(total: int, done: int, progress: bool) -> Iterator[Callable[[], object]]:
    tqdm = require("tqdm", "catalog", "runs of a catalogue").tqdm
    with tqdm(total=total, initial=done, unit="scene", disable=not progress) as bar:
        yield bar.update


def asked_for(model: str | Sequence[str], options: Mapping[str, Any], loading: Mapping[str, Any]) -> Request:
    """Check what can be checked before the first scene is loaded.

    Raises
    ------
    CloudMaskError
        Unknown model or keyword, weights that are not there.
    """
    _require_known(options, {*_keywords(predict), *OPTIONS} - NOT_PER_SCENE, "Catalog.run({}=...)")
    _require_known(loading, _keywords(stac.load), "Catalog.run(load={{{!r}: ...}})")
    request = Request(registry.name_of(model), dict(options), dict(loading))
    _specs(request)
    return request


def _keywords(function: Callable[..., Any]) -> set[str]:
    """Return the keywords of a function, all its parameters but the first."""
    parameters = list(inspect.signature(function).parameters.values())[1:]
    return {parameter.name for parameter in parameters if parameter.kind is not inspect.Parameter.VAR_KEYWORD}


def _require_known(given: Mapping[str, Any], known: set[str], remedy: str) -> None:
    unknown = [name for name in given if name not in known]
    if unknown:
        close = close_to(unknown[0], known, min(known))
        raise CatalogError(f"unknown keyword {unknown[0]!r}", f"one of {sorted(known)}", remedy.format(close))


def _specs(request: Request) -> list[ModelSpec]:
    """Return the variants that may be used, with the checksums of their weights."""
    given = [request.options.get(name, default) for name, default in CONFIGURING.items()]
    return [registry.configured(spec, *given) for spec in registry.variants(request.model)]


def _rows(items: Iterable[Item], request: Request) -> list[dict[str, Any]]:
    """Return a row for every item, without what is not known yet."""
    options = {name: value for name, value in {**request.options, **request.loading}.items() if name not in HOW}
    digest = _digest(
        request.model,
        [[getattr(spec, name) for name in MADE_BY] for spec in _specs(request)],
        {name: value for name, value in options.items() if name not in CONFIGURING},
    )
    common = {"model": request.model, "options": _json(options), "request": digest}
    return [common | _of_item(item, digest) for item in ordered(items)]


def _digest(*parts: Any) -> str:
    return hashlib.sha256(_json(parts).encode()).hexdigest()[:16]


def _json(value: Any) -> str:
    return json.dumps(value, default=_plain, sort_keys=True)


def _plain(value: Any) -> Any:
    return getattr(value, "__geo_interface__", None) or repr(value)


def _of_item(item: Item, request: str) -> dict[str, str]:
    collection = item.collection_id or ""
    if not _encodable(item.id + collection):
        raise CatalogError(
            f"item {item.id!r} of collection {collection!r}", "ids that can be written in UTF-8", "leave the item out"
        )
    return {
        "id": item.id,
        "collection": collection,
        "datetime": moment(item).isoformat(),
        "item": json.dumps(item.to_dict(include_self_link=True, transform_hrefs=False)),
        "name": file_name(item.id, collection, request),
    }


def _encodable(text: str) -> bool:
    """Tell text from half a character, which JSON can hold and SQLite and file systems cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
