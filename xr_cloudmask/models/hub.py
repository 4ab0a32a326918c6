"""Official weights from the Hugging Face hub: the only place that downloads, and only when it is asked to.

A download lands beside its place in the cache, is compared with the checksums that the hub announced, and only then
moves in. A manifest with the commit, the licence and the checksums goes with it, so that a later change of a byte is
noticed without the hub.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from xr_cloudmask.errors import WeightsError
from xr_cloudmask.extras import require
from xr_cloudmask.limits import limits, raised
from xr_cloudmask.models.weights import (
    CACHE_VARIABLE,
    SENSEI,
    Manifest,
    OfficialWeights,
    Record,
    WeightsFile,
    absent,
    again,
    cache_folder,
    damaged,
    resolve,
)

if TYPE_CHECKING:
    from huggingface_hub import HfApi


FETCHING = "downloads of weights"
GLANCE = 0.5  # seconds between two looks at a download
SPARE = 1 << 20  # bytes that the hub's client writes beside a file


def fetch(name: str = SENSEI.default, revision: str | None = None) -> tuple[WeightsFile, ...]:
    """Download official weights into the cache, after showing their licence on stderr.

    What is there already, whole and of that revision, is not downloaded again, and then nothing is written. The hub's
    own environment variables are respected: ``HF_ENDPOINT`` for a mirror, ``HF_HUB_OFFLINE``, ``HF_TOKEN``.

    Parameters
    ----------
    name : str
        One of the folders of https://huggingface.co/aliFrancis/SEnSeIv2/tree/main/full-models.
    revision : str, optional
        Branch, tag or commit. By default whatever is there already, else ``'main'``.

    Returns
    -------
    tuple of WeightsFile
        What `weights.resolve` finds from now on.

    Raises
    ------
    WeightsError
        The hub cannot be reached or has no such weights, what came is not what the hub announced, or the cache cannot
        be written. Whole weights that were in the cache before are still there.

    References
    ----------
    Francis (2024), https://doi.org/10.1109/TGRS.2024.3391625
    """
    if not name or Path(name).name != name or name.startswith("."):
        raise WeightsError(f"name {name!r}", f"the name of a folder of {SENSEI.url}", again(SENSEI.default))
    require("huggingface_hub", "weights", FETCHING)
    folder = cache_folder() / name
    if not _is_whole(folder, revision):
        print(_notice(SENSEI, name, folder), file=sys.stderr, flush=True)
        _fetch_locked(SENSEI, name, revision, folder)
    return resolve(SENSEI.model, folder)


def _notice(source: OfficialWeights, name: str, folder: Path) -> str:
    return (
        f"weights: {name} of {source.repository} on the Hugging Face hub\n"
        f"licence of these weights: {source.licence}, {source.licence_url}\n"
        f"to: {folder}"
    )


def _fetch_locked(source: OfficialWeights, name: str, revision: str | None, folder: Path) -> None:
    """Let one process at a time fetch the same weights; the next one finds them there."""
    lock = require("filelock", "weights", FETCHING).FileLock
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with lock(folder.with_name(f".{name}.lock")):
            if not _is_whole(folder, revision):
                _download(source, name, revision or "main", folder)
    except OSError as error:
        raise WeightsError(
            f"cache {str(folder)!r}, which cannot be written: {error}",
            "a folder to write to, with room for the weights",
            f"{CACHE_VARIABLE}=/another/folder {again(name)}",
        ) from error


def _is_whole(folder: Path, revision: str | None) -> bool:
    try:
        manifest = Manifest.read(folder)
    except WeightsError:
        return False  # fetching again mends it
    return manifest is not None and revision in (None, manifest.commit) and not damaged(folder, manifest)


@dataclass(frozen=True)
class _Announced:
    """A file as the hub describes it: where it is in the repository, in which commit, and its checksum.

    The checksum of a large file is its sha256, that of a small one the name that git gives its content.
    """

    path: str
    commit: str
    checksum: str
    size: int


def _download(source: OfficialWeights, name: str, revision: str, folder: Path) -> None:
    client = require("huggingface_hub", "weights", FETCHING)
    # Read at each call: the hub's client looks at HF_ENDPOINT only when it is imported.
    hub = client.HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None, library_name="xr-cloudmask")
    staging = folder.with_name(f".{name}.partial")
    files = _announced(hub, source, name, revision)
    if _is_whole(folder, files[0].commit):
        return
    records = [_download_file(hub, source, file, staging) for file in files]
    for file, record in zip(files, records, strict=True):
        (staging / file.path).replace(folder / record.name)
    Manifest(name, source.repository, files[0].commit, source.licence, tuple(records)).write(folder)
    shutil.rmtree(staging, ignore_errors=True)


def _announced(hub: HfApi, source: OfficialWeights, name: str, revision: str) -> list[_Announced]:
    try:
        info = hub.model_info(source.repository, revision=revision, files_metadata=True, timeout=limits().idle)
    # The client's own errors, and those of the HTTP library of its version.
    except Exception as error:
        _raise_unreachable(hub, source, error)
    siblings = {sibling.rfilename: sibling for sibling in info.siblings or []}
    wanted = [f"{source.folder}/{name}/{file}" for file in source.files]
    if not set(wanted) <= set(siblings):
        names = sorted({path.split("/")[1] for path in siblings if path.startswith(f"{source.folder}/")})
        raise WeightsError(
            f"name {name!r}, without {' and '.join(source.files)} in {source.repository}",
            f"one of {names}",
            again(source.default),
        )
    files = [siblings[path] for path in wanted]
    return [
        _Announced(
            file.rfilename, str(info.sha), file.lfs.sha256 if file.lfs else str(file.blob_id), int(file.size or 0)
        )
        for file in files
    ]


def _download_file(hub: HfApi, source: OfficialWeights, file: _Announced, staging: Path) -> Record:
    if file.size > limits().weights:
        raise WeightsError(
            f"{file.path}, announced with {file.size} bytes",
            f"at most {limits().weights:.6g} bytes",
            raised("weights", 2 * file.size),
        )
    get = partial(hub.hf_hub_download, source.repository, file.path, revision=file.commit, local_dir=staging)
    try:
        place = Path(_watched(get, staging, file))
    except WeightsError:
        raise
    except Exception as error:
        _raise_unreachable(hub, source, error)
    content = place.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    if file.checksum not in (sha256, _git_name(content)):
        shutil.rmtree(staging, ignore_errors=True)
        raise WeightsError(
            f"a download of {place.name!r} that is not what {hub.endpoint} announced: sha256 {sha256}",
            f"checksum {file.checksum}",
            f"{again(place.parent.name)}; if it happens again, a mirror or proxy changes files",
        )
    return Record(place.name, len(content), sha256)


def _watched(get: Callable[[], str], staging: Path, file: _Announced) -> str:
    """Download while bytes come, and no more of them than were announced: the hub's client would wait for ever."""
    outcome: Future[str] = Future()
    threading.Thread(target=_fulfil, args=(outcome, get), daemon=True).start()
    before, looked = _bytes_in(staging), time.monotonic()
    allowed = before + (file.size or limits().weights) + SPARE
    while not outcome.done():
        wait((outcome,), timeout=GLANCE)
        size, now = _bytes_in(staging), time.monotonic()
        if size > allowed:
            raise WeightsError(
                f"{file.path}, of more bytes than the {file.size} that were announced",
                "what the hub announced",
                f"{again(Path(file.path).parent.name)}; if it happens again, a mirror or proxy changes files",
            )
        if now - looked > limits().connect + limits().idle:
            if size - before < limits().slowest * limits().idle and not outcome.done():
                raise WeightsError(
                    f"{file.path}, of which {size - before} bytes came in {now - looked:.0f} s",
                    f"{limits().slowest:g} bytes a second",
                    f"the same again later, or {raised('idle', 2 * limits().idle)}",
                )
            before, looked = size, now
    return outcome.result()


def _fulfil(outcome: Future[str], get: Callable[[], str]) -> None:
    try:
        outcome.set_result(get())
    except BaseException as error:  # raised where it is waited for
        outcome.set_exception(error)


def _bytes_in(folder: Path) -> int:
    sizes = 0
    for path in folder.rglob("*"):
        with suppress(OSError):  # moved meanwhile
            sizes += path.stat().st_size if path.is_file() else 0
    return sizes


def _git_name(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _raise_unreachable(hub: HfApi, source: OfficialWeights, error: Exception) -> NoReturn:
    from huggingface_hub.errors import LocalEntryNotFoundError

    # "An error happened": the client keeps what it was as the cause.
    cause = (isinstance(error, LocalEntryNotFoundError) and error.__cause__) or error
    first = (str(cause).splitlines() or [""])[0]
    found = f"{hub.endpoint} does not give {source.repository}: {type(cause).__name__}: {first}"
    raise absent(source.model, found) from error
