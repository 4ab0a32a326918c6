"""Read files of weights: tensors by name, and the configuration beside them. Nothing in a file is ever run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from xr_cloudmask.bounded import read_small
from xr_cloudmask.errors import MissingError, WeightsError, in_words
from xr_cloudmask.extras import require
from xr_cloudmask.models.weights import CONFIG, WeightsFile, verify

if TYPE_CHECKING:
    import torch


def read_state(path: str | os.PathLike[str]) -> dict[str, torch.Tensor]:
    """Read a state dict into the memory of the CPU. Runs no code that the file may hold.

    Parameters
    ----------
    path : path
        ``.pt`` or ``.pth`` (PyTorch, read with ``weights_only=True``), or ``.safetensors``.

    Returns
    -------
    dict of str to torch.Tensor

    Raises
    ------
    WeightsError
        Unknown suffix, a damaged file, or one that holds anything but tensors by name.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in READERS:
        raise WeightsError(
            f"weights {os.fspath(path)!r}", f"a file that ends in one of {list(READERS)}", "weights='weights.pt'"
        )
    import torch

    try:
        state = READERS[suffix](os.fspath(path))
    except MissingError:
        raise
    # Damaged or malicious content surfaces as any of a dozen types, from zipfile's to the unpickler's.
    except Exception as error:
        _raise_unreadable(path, in_words(error), error)
    tensors = isinstance(state, Mapping) and all(isinstance(value, torch.Tensor) for value in state.values())
    if not tensors:
        _raise_unreadable(path, f"a {type(state).__name__} of more than tensors")
    return dict(state)


def _read_torch(path: str) -> Any:
    import torch

    return torch.load(path, map_location="cpu", weights_only=True)


def _read_safetensors(path: str) -> Any:
    return require("safetensors.torch", "weights", "files of weights").load_file(path)


READERS = {".pt": _read_torch, ".pth": _read_torch, ".safetensors": _read_safetensors}


def read_config(path: str | os.PathLike[str]) -> Mapping[str, Any]:
    """Read the ``config.yaml`` beside a file of weights.

    Parameters
    ----------
    path : path
        The file of weights.

    Returns
    -------
    mapping
        Empty where there is no such file: phicloudmask's weights come without.

    Raises
    ------
    WeightsError
        It is no YAML mapping, or not the one that was fetched.
    """
    config = Path(path).with_name(CONFIG)
    if not config.is_file():
        return {}
    yaml = require("yaml", "weights", f"{CONFIG} beside weights")
    verify(WeightsFile.of(config))
    try:
        content = yaml.safe_load(read_small(config, WeightsError))
    except WeightsError:
        raise
    except Exception as error:  # the parser's own, and those of the kinds it makes: numbers, dates, recursion
        _raise_unreadable(config, in_words(error), error)
    if not isinstance(content, Mapping):
        _raise_unreadable(config, f"a {type(content).__name__} where a mapping was expected")
    return content


def _raise_unreadable(path: str | os.PathLike[str], problem: str, cause: Exception | None = None) -> NoReturn:
    raise WeightsError(
        f"weights {os.fspath(path)!r}, which cannot be read: {problem}",
        "a whole file of nothing but tensors by name; code inside of a file is never run",
        "torch.save(model.state_dict(), 'weights.pt') where they come from, or download them again",
    ) from cause
