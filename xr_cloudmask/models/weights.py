"""Where a model's weights are, whether they are what they should be, and how to get them.

`resolve` is cheap and runs while a prediction is built: it looks for a path the caller gave, then at the environment,
then in the cache, which only `models.hub.fetch` fills. `verify` runs
where the model is loaded, on the worker.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn, TypeAlias

from xr_cloudmask import atomic
from xr_cloudmask.bounded import read_small
from xr_cloudmask.errors import MissingError, WeightsError, refusing
from xr_cloudmask.extras import require

WEIGHTS_VARIABLE, CACHE_VARIABLE = "XR_CLOUDMASK_WEIGHTS", "XR_CLOUDMASK_CACHE"
MANIFEST, CONFIG = "manifest.json", "config.yaml"
HUB = "https://huggingface.co"
SHA256 = r"[0-9a-f]{64}"

# What a folder of weights holds: one file (SEnSeIv2, `universal`), or the embedding and the segmenter (phicloudmask).
LAYOUTS = (
    ("weights.pt",),
    ("weights.safetensors",),
    ("universal.safetensors",),
    ("spectral_embedding.pt", "cloudmask_weights.pt"),
    ("spectral_embedding.safetensors", "cloudmask_weights.safetensors"),
)

Given: TypeAlias = "str | os.PathLike[str] | Sequence[str | os.PathLike[str]]"


@dataclass(frozen=True)
class OfficialWeights:
    """Official weights on the Hugging Face hub.

    Attributes
    ----------
    model : str
        The model they are for.
    repository : str
    folder : str
        In the repository; below it, a folder of that name for each set of weights.
    default : str
        Name of the set that is used where nobody names one.
    files : tuple of str
        What such a folder holds.
    licence, licence_url : str
    """

    model: str
    repository: str
    folder: str
    default: str
    files: tuple[str, ...]
    licence: str
    licence_url: str

    @property
    def url(self) -> str:
        """The page where the repository shows its files."""
        return f"{HUB}/{self.repository}/tree/main/{self.folder}"


SENSEI = OfficialWeights(
    model="sensei",
    repository="aliFrancis/SEnSeIv2",
    folder="full-models",
    default="SEnSeIv2-SegFormerB2-alldata-ambiguous",
    files=(CONFIG, "weights.pt"),
    licence="GPL-3.0",
    licence_url="https://www.gnu.org/licenses/gpl-3.0.html",
)
OFFICIAL: Mapping[str, OfficialWeights] = {source.model: source for source in (SENSEI,)}


@dataclass(frozen=True)
class WeightsFile:
    """A file of weights, by place and by content; small enough to travel in a dask graph.

    Attributes
    ----------
    path : str
        Absolute; every worker must see it.
    sha256 : str
        Of its content, 64 hexadecimal digits.
    """

    path: str
    sha256: str

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> WeightsFile:
        """Describe a file: its checksum comes from the manifest beside it, or else from its content.

        Raises
        ------
        WeightsError
            There is no such file, or it is not as long as its manifest says.
        """
        place = atomic.expanded(path).absolute()
        if not _is_file(place):
            raise WeightsError(f"no file {str(place)!r}", "a file of weights", "weights='path/to/weights.pt'")
        stat = place.stat()
        for record in _records_beside(place):
            if record.size != stat.st_size:
                _raise_damaged(str(place), f"{stat.st_size} bytes", f"{record.size} bytes, as its manifest says")
            return cls(str(place), record.sha256)
        return cls(str(place), _sha256(str(place), stat.st_size, stat.st_mtime_ns))


@dataclass(frozen=True)
class Record:
    """One file as it was when it was fetched.

    Attributes
    ----------
    name : str
    size : int
        Bytes.
    sha256 : str
    """

    name: str
    size: int
    sha256: str

    def __post_init__(self) -> None:
        """Refuse what describes no file of this folder."""
        plain = isinstance(self.name, str) and Path(self.name).name == self.name
        if not plain or type(self.size) is not int or not re.fullmatch(SHA256, str(self.sha256)):
            raise ValueError(f"{self} is no file with its size and checksum")


@dataclass(frozen=True)
class Manifest:
    """What is written beside fetched weights.

    Attributes
    ----------
    name, repository, commit, licence : str
        Which weights, from where, which state of it, under which licence.
    files : tuple of Record
    """

    name: str
    repository: str
    commit: str
    licence: str
    files: tuple[Record, ...]

    def __post_init__(self) -> None:
        """Refuse what is no text."""
        for text in (self.name, self.repository, self.commit, self.licence):
            if not isinstance(text, str):
                raise ValueError(f"{text!r} is no text")

    @classmethod
    def read(cls, folder: Path) -> Manifest | None:
        """Read a folder's manifest; None where there is none."""
        path = folder / MANIFEST
        try:
            said = read_small(path, WeightsError)
        except (FileNotFoundError, NotADirectoryError):
            return None
        expected = "a manifest that `fetch` wrote"
        with refusing(WeightsError, f"{str(path)!r}, which cannot be read", expected, again(folder.name)):
            content = json.loads(said)
            return cls(**{**content, "files": tuple(Record(**entry) for entry in content["files"])})

    def write(self, folder: Path) -> None:
        """Write the manifest so that a reader sees all of it or none."""
        atomic.write_bytes(folder / MANIFEST, (json.dumps(asdict(self), indent=2) + "\n").encode())


def resolve(spec_name: str, given: Given | None = None) -> tuple[WeightsFile, ...]:
    """Find the weights of a model. Reads no more than checksums, imports no framework, downloads nothing.

    The first that is there wins: `given`; the environment variable ``XR_CLOUDMASK_WEIGHTS``; the official weights in
    the cache.

    Parameters
    ----------
    spec_name : str
        Name of the model, such as ``'sensei'``.
    given : path, sequence of paths or str, optional
        A file, a pair of files, a folder that holds them, or the name of fetched weights. In a str, as in the
        environment variable, a pair is joined by ``os.pathsep``.

    Returns
    -------
    tuple of WeightsFile
        One file, or a pair in the order given; of a folder: embedding, segmenter.

    Raises
    ------
    WeightsError
        Nothing is there, or not what was named; the message says the ways to get weights and their licence.

    References
    ----------
    Francis (2024), https://doi.org/10.1109/TGRS.2024.3391625

    Examples
    --------
    >>> resolve("sensei", "missing.pt")
    Traceback (most recent call last):
    ...
    xr_cloudmask.errors.WeightsError: found: weights='missing.pt', which is no file and no folder ...
    """
    expected, remedy = "the path of a file, a pair of paths, or a folder", "weights='path/to/weights.pt'"
    with refusing(WeightsError, f"weights={str(given)[:80]!r}", expected, remedy):
        return tuple(WeightsFile.of(path) for path in _paths(spec_name, given))


def available(spec_name: str) -> bool:
    """Say whether `resolve` would find weights without being given any; reads nothing."""
    try:
        return bool(_paths(spec_name, None))
    except WeightsError:
        return False


def verify(file: WeightsFile) -> None:
    """Compare a file's content with its checksum.

    Raises
    ------
    WeightsError
        The file is not there, cannot be read, or has changed since it was fetched or the prediction was built.
    """
    path = Path(file.path)
    try:
        with path.open("rb") as content:
            found = hashlib.file_digest(content, "sha256").hexdigest()
    except (OSError, ValueError) as error:  # a path that no system takes is the latter
        raise WeightsError(
            f"weights {file.path!r}, which this process cannot read: {error}",
            "a path that every worker sees",
            "weights= on a shared file system, or the same XR_CLOUDMASK_WEIGHTS on every worker",
        ) from error
    if found != file.sha256:
        _raise_damaged(file.path, f"sha256 {found}", f"sha256 {file.sha256}")


def cache_folder() -> Path:
    """Return the folder of fetched weights: ``XR_CLOUDMASK_CACHE``, or the user's cache folder."""
    given = os.environ.get(CACHE_VARIABLE)
    if given:
        return atomic.expanded(given).absolute()
    folder: Path = require("platformdirs", "weights", "the folder of fetched weights").user_cache_path("xr-cloudmask")
    return folder / "weights"


def fetched() -> dict[str, Manifest]:
    """List the weights in the cache by name; computes no checksum."""
    folder = cache_folder()
    folders = sorted(entry for entry in folder.iterdir() if entry.is_dir()) if folder.is_dir() else []
    manifests = {entry.name: Manifest.read(entry) for entry in folders}
    return {name: manifest for name, manifest in manifests.items() if manifest is not None}


def damaged(folder: Path, manifest: Manifest) -> list[str]:
    """Name the files of a folder that are missing or whose content is not what was fetched."""
    wrong = []
    for record in manifest.files:
        try:
            verify(WeightsFile(str(folder / record.name), record.sha256))
        except WeightsError:
            wrong.append(record.name)
    return wrong


def _paths(spec_name: str, given: Given | None) -> tuple[Path, ...]:
    for origin, value in (("weights=", given), (f"{WEIGHTS_VARIABLE}=", os.environ.get(WEIGHTS_VARIABLE))):
        if value:
            return _named(spec_name, origin, value)
    source = OFFICIAL.get(spec_name)
    folder = None if source is None else _cached(source.default)
    if folder is None:
        raise absent(spec_name, f"no weights for model {spec_name!r}: neither weights= nor {WEIGHTS_VARIABLE} is set")
    return _in_folder(folder)


def _named(spec_name: str, origin: str, value: Given) -> tuple[Path, ...]:
    """Return the files that the caller or the environment names."""
    parts = [value] if isinstance(value, os.PathLike) else _split(value) if isinstance(value, str) else list(value)
    paths = [atomic.expanded(part) for part in parts]
    if len(paths) == 1 and not paths[0].exists():
        paths = [_cached(paths[0]) or paths[0]]
    if len(paths) == 1 and paths[0].is_dir():
        return _in_folder(paths[0])
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise absent(spec_name, f"{origin}{missing[0]!r}, which is no file and no folder")
    if len(paths) > 2:
        raise absent(spec_name, f"{origin}{[str(path) for path in paths]!r}: {len(paths)} files")
    return tuple(paths)


def _cached(name: str | Path) -> Path | None:
    """Return the folder of fetched weights of a name, where there is one."""
    try:
        folder = cache_folder() / name
    except MissingError:
        return None
    return folder if (folder / MANIFEST).is_file() else None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long
        return False


def _split(text: str) -> list[str]:
    return [text] if Path(text).exists() else [part for part in text.split(os.pathsep) if part]


def _in_folder(folder: Path) -> tuple[Path, ...]:
    for layout in LAYOUTS:
        paths = tuple(folder / name for name in layout)
        if all(path.is_file() for path in paths):
            return paths
    expected = " or ".join(" with ".join(layout) for layout in LAYOUTS)
    raise WeightsError(f"folder {str(folder)!r}, without weights", expected, "weights=('embedding.pt', 'segmenter.pt')")


def absent(spec_name: str, found: str) -> WeightsError:
    """Return the error that says every way to get weights, and their licence."""
    source = OFFICIAL.get(spec_name)
    yours = (
        "predict(weights='weights.pt') or weights=('spectral_embedding.pt', 'cloudmask_weights.pt')",
        f"{WEIGHTS_VARIABLE}=/path/to/weights.pt, a pair joined by {os.pathsep!r}, or their folder",
    )
    if source is None:
        return WeightsError(found, "a file of weights, a pair of files or a folder", "; or ".join(yours))
    return WeightsError(
        found,
        f"weights of your own, or the official ones of {source.repository} (licence {source.licence})",
        "; or ".join([*yours, _fetching()]),
    )


def _fetching() -> str:
    fetch = "xr-cloudmask weights fetch, which downloads the official ones"
    try:
        return f"{fetch} to {cache_folder()}"
    except MissingError as error:
        return f"{error.remedy}, and {fetch}"


def again(name: str) -> str:
    """Return what to type to fetch weights, or to mend them."""
    return f"xr-cloudmask weights fetch {name}"


def _records_beside(path: Path) -> list[Record]:
    manifest = Manifest.read(path.parent)
    return [] if manifest is None else [record for record in manifest.files if record.name == path.name]


@functools.lru_cache(maxsize=64)
def _sha256(path: str, size: int, modified: int) -> str:  # noqa: ARG001 - they tell when to hash a file anew
    with Path(path).open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _raise_damaged(path: str, found: str, expected: str) -> NoReturn:
    raise WeightsError(
        f"weights {path!r} with {found}",
        expected,
        "build the prediction anew if you changed the file; xr-cloudmask weights fetch mends fetched ones",
    )
