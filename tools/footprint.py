"""Print what each way to install weighs: distributions and MB, of those in this environment.

Run it in an environment that has ``xr-cloudmask[all]`` and nothing else: ``python tools/footprint.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PACKAGE = "xr-cloudmask"
WAYS = {
    "": (),
    "[plot]": ("plot",),
    "[catalog]": ("catalog",),
    "[database]": ("database",),
    "[indices]": ("indices",),
    "[weights]": ("weights",),
    "[train]": ("train",),
    "[all]": ("all",),
}


def needed(name: str, extras: frozenset[str], without: frozenset[str], seen: dict[str, frozenset[str]]) -> None:
    """Collect a distribution and what it needs, with its extras."""
    key = canonicalize_name(name)
    if key in without or (key in seen and extras <= seen[key]):
        return
    try:
        found = distribution(name)
    except PackageNotFoundError:
        return
    seen[key] = seen.get(key, frozenset()) | extras
    for line in found.requires or ():
        requirement = Requirement(line)
        asked = (extra for extra in ("", *extras))
        if requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in asked):
            needed(requirement.name, frozenset(requirement.extras), without, seen)


def size(found: Distribution) -> int:
    """Return the bytes of a distribution's files, without compiled bytecode."""
    places = (file.locate() for file in found.files or () if file.suffix != ".pyc")
    return sum(place.stat().st_size for place in places if place.is_file())


def rows() -> Iterator[tuple[str, int, float]]:
    """Yield each way to install, its number of distributions and its MB."""
    for without in (frozenset[str](), frozenset({"torch"})):
        for way, extras in WAYS.items():
            seen: dict[str, frozenset[str]] = {}
            needed(PACKAGE, frozenset(extras), without, seen)
            yield way + " without torch" * bool(without), len(seen), sum(size(distribution(n)) for n in seen) / 1e6


if __name__ == "__main__":
    for way, count, megabytes in rows():
        print(f"| `pip install xr-cloudmask{way}` | {count} | {megabytes:.0f} |")
