"""Read safetensors files into NumPy arrays: a header in JSON, then numbers. Nothing in a file is ever run.

Format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

# bfloat16, which NumPy lacks, is the upper half of float32.
DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U8": "u1", "BOOL": "?",
}  # fmt: skip
LENGTH = 8  # bytes that say how long the header is
METADATA = "__metadata__"


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """Return what a file says of itself.

    Raises
    ------
    OSError, ValueError
        It cannot be read, or is no safetensors file.
    """
    header, _ = _header(Path(path).read_bytes())
    return dict(header.get(METADATA) or {})


def read_arrays(path: str | os.PathLike[str]) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of a file by name.

    Raises
    ------
    OSError, ValueError
        It cannot be read, or is no safetensors file.
    """
    content = Path(path).read_bytes()
    header, begin = _header(content)
    numbers = memoryview(content)[begin:]
    return {name: _array(name, entry, numbers) for name, entry in header.items() if name != METADATA}


def _header(content: bytes) -> tuple[Mapping[str, Any], int]:
    end = LENGTH + int.from_bytes(content[:LENGTH], "little")
    if len(content) < LENGTH or end > len(content):
        raise ValueError("no safetensors file, or the beginning of one")
    header = json.loads(content[LENGTH:end])
    if not isinstance(header, dict):
        raise ValueError("a header that names no tensors")
    return header, end


def _array(name: str, entry: Mapping[str, Any], numbers: memoryview) -> npt.NDArray[Any]:
    try:
        dtype, shape, (begin, end) = np.dtype(DTYPES[entry["dtype"]]), tuple(entry["shape"]), entry["data_offsets"]
        if not 0 <= begin <= end <= len(numbers) or end - begin != prod(shape) * dtype.itemsize:
            raise ValueError("it lies outside of the file, or has another size")
        array: npt.NDArray[Any] = np.frombuffer(numbers[begin:end], dtype).reshape(shape)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"tensor {name!r}: {error}") from error
    return (array.astype("<u4") << 16).view("<f4") if entry["dtype"] == "BF16" else array
