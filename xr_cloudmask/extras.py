"""Optional dependencies: which extra brings a package, and the error where it is missing."""

from __future__ import annotations

import hashlib
import importlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from xr_cloudmask.errors import MissingError, WeightsError

DISTRIBUTION = "xr-cloudmask"
TORCH, INSTALL_TORCH = "torch", "pip install torch"


def has(module: str) -> bool:
    """Return whether a module could be imported; imports at most the packages around it.

    Examples
    --------
    >>> has("numpy"), has("no_such_package.part")
    (True, False)
    """
    try:
        return find_spec(module) is not None
    # A package around it is missing, was never really imported, or ends the process when it is imported.
    except (Exception, SystemExit):
        return False


def install_extra(extra: str) -> str:
    """Return what to type to install an extra."""
    return f"pip install '{DISTRIBUTION}[{extra}]'"


def shipped(package: str, file: str, sha256: str, install: str) -> bytes:
    """Return a file that an installed package ships; the package is not imported.

    Raises
    ------
    MissingError
        It is not installed.
    WeightsError
        It has no such file, or another one.
    """
    found = find_spec(package)
    if found is None or found.origin is None:
        raise MissingError(f"no package {package!r}", "it, for the files that it ships", install)
    path = Path(found.origin).parent / file
    content = path.read_bytes() if path.is_file() else b""
    digest = hashlib.sha256(content).hexdigest()
    if digest != sha256:
        raise WeightsError(f"{str(path)!r} with sha256 {digest}", f"sha256 {sha256}", install)
    return content


def require(module: str, extra: str, purpose: str) -> Any:
    """Import a module that may be missing.

    Parameters
    ----------
    module : str
        What to import.
    extra : str
        The extra that brings it.
    purpose : str
        What needs it, in the user's words.

    Returns
    -------
    module

    Raises
    ------
    MissingError
        It is not installed; the message says what to type.

    Examples
    --------
    >>> require("no_such_package", "plot", "pictures")
    Traceback (most recent call last):
    ...
    xr_cloudmask.errors.MissingError: found: no package 'no_such_package'
    expected: it, for pictures
    try: pip install 'xr-cloudmask[plot]'
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        name = module.partition(".")[0]
        if error.name is not None and error.name.partition(".")[0] != name:
            raise  # it is there, and lacks something itself
        raise MissingError(f"no package {name!r}", f"it, for {purpose}", install_extra(extra)) from error


def require_torch(purpose: str) -> None:
    """Refuse where there is no torch: a base dependency that small environments leave out.

    Raises
    ------
    MissingError
        The message says what to type.
    """
    if not has(TORCH):
        raise MissingError(f"no package {TORCH!r}", f"it, for {purpose}", INSTALL_TORCH)
