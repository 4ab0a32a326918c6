"""What a torch module is: its weights, its attributes and what its functions do, as one checksum.

Where a function is written, in which cell or line, does not count. What nothing tells apart from another object makes
a module unlike any other.
"""

from __future__ import annotations

import dis
import functools
import hashlib
import io
import pickle
import re
import sys
import uuid
import zipfile
from collections.abc import Callable, Iterator, Mapping
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import nn

PLAIN = (bool, int, float, complex, str, bytes, type(None), type(...), range, slice)
# Attributes that every module has and that change nothing of what it returns.
BESIDE = frozenset(("training", "call_super_init", "dump_patches"))
MANGLED = re.compile(rb"[./]_*torch_mangle_\d+")  # in names of classes that are scripted more than once
ELSEWHERE = (".debug_pkl", "serialization_id")  # in a scripted module's file: where it was written, and a sum of that
FOREIGN = {"torch", "numpy", *sys.stdlib_module_names}  # packages, alike by their names and versions


def fingerprint(module: nn.Module) -> str:
    """Return the checksum of a module, 64 hexadecimal digits; the same for a copy and in every process."""
    digest = hashlib.sha256()
    try:
        for part in _Walk().of(module):
            digest.update(len(part).to_bytes(8, "little") + part)
    except RecursionError:  # objects inside of objects without end
        digest.update(uuid.uuid4().bytes)
    return digest.hexdigest()


class _Walk:
    """One walk through an object; what it comes across again is only counted."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[int, Any]] = {}  # objects too: an id is free again when its object is gone

    def of(self, value: Any) -> Iterator[bytes]:
        """Yield what an object is."""
        if isinstance(value, PLAIN) or value is NotImplemented:
            yield repr((type(value).__name__, value)).encode()
            return
        if id(value) in self._seen:
            yield b"again %d" % self._seen[id(value)][0]
            return
        self._seen[id(value)] = len(self._seen), value
        yield f"{type(value).__module__}.{type(value).__qualname__}".encode()
        yield from next((read for kinds, read in self._readers() if isinstance(value, kinds)), self._object)(value)

    def _readers(self) -> Iterator[tuple[Any, Callable[[Any], Iterator[bytes]]]]:
        import torch

        yield torch.jit.ScriptModule, _scripted
        yield torch.nn.Module, self._module
        yield torch.Tensor, _tensor
        yield np.ndarray, self._array
        yield np.generic, _pickled
        yield Mapping, lambda value: self._all(part for pair in value.items() for part in pair)
        yield (list, tuple), self._all
        yield (set, frozenset), lambda value: iter(sorted(b"".join(_Walk().of(entry)) for entry in value))
        yield FunctionType, self._function
        yield MethodType, lambda value: self._all((value.__func__, value.__self__))
        yield functools.partial, lambda value: self._all((value.func, value.args, value.keywords))
        yield CodeType, self._code
        yield type, self._class
        yield torch.fx.Graph, lambda value: iter([str(value).encode()])
        yield (ModuleType, BuiltinFunctionType), lambda value: iter([value.__name__.encode()])
        yield (staticmethod, classmethod), lambda value: self.of(value.__func__)
        yield property, lambda value: self._all((value.fget, value.fset))

    def _all(self, values: Any) -> Iterator[bytes]:
        for value in values:
            yield from self.of(value)
        yield b"end"

    def _module(self, value: nn.Module) -> Iterator[bytes]:
        yield from self.of(type(value))
        for name, attribute in vars(value).items():
            if name not in BESIDE:
                yield name.encode()
                # Hooks are kept by numbers that count all hooks of the process.
                hooks = name.endswith("_hooks") and isinstance(attribute, Mapping)
                yield from self.of(list(attribute.values()) if hooks else attribute)

    def _array(self, value: np.ndarray) -> Iterator[bytes]:
        yield repr((value.dtype.str, value.shape)).encode()
        yield from self._all(value.ravel().tolist()) if value.dtype.hasobject else iter([value.tobytes()])

    def _function(self, value: FunctionType) -> Iterator[bytes]:
        cells = [_cell(cell) for cell in value.__closure__ or ()]
        yield from self._all((value.__code__, value.__defaults__, value.__kwdefaults__, cells))
        if value.__module__.partition(".")[0] not in FOREIGN:
            names = (name for name in _names(value.__code__) if name in value.__globals__)
            yield from self._all(part for name in names for part in (name, value.__globals__[name]))

    def _code(self, value: CodeType) -> Iterator[bytes]:
        yield value.co_code
        constants = value.co_consts[1:] if value.co_consts and isinstance(value.co_consts[0], str) else value.co_consts
        yield from self._all((value.co_names, constants))

    def _class(self, value: type) -> Iterator[bytes]:
        for one in value.__mro__:
            yield f"{one.__module__}.{one.__qualname__}".encode()
            if one.__module__.partition(".")[0] not in FOREIGN:
                own = {name: entry for name, entry in vars(one).items() if not _is_written(name)}
                yield from self._all(part for pair in own.items() for part in pair)

    def _object(self, value: Any) -> Iterator[bytes]:
        if hasattr(value, "__dict__"):
            yield from self.of(type(value))
            yield from self._all(part for pair in vars(value).items() for part in pair)
        else:
            yield from _pickled(value)


def _scripted(value: Any) -> Iterator[bytes]:
    import torch

    saved = io.BytesIO()
    torch.jit.save(value, saved)
    with zipfile.ZipFile(saved) as files:
        for name in sorted(files.namelist()):
            if not name.endswith(ELSEWHERE):
                yield MANGLED.sub(b"", name.encode())
                yield MANGLED.sub(b"", files.read(name))


def _tensor(value: Any) -> Iterator[bytes]:
    import torch

    plain = value.detach().cpu().contiguous()
    yield repr((str(plain.dtype), tuple(plain.shape))).encode()
    yield plain.reshape(-1).view(torch.uint8).numpy().tobytes()


def _pickled(value: Any) -> Iterator[bytes]:
    try:
        yield pickle.dumps(value)
    except Exception:  # whatever an object raises that cannot be told
        yield uuid.uuid4().bytes


def _cell(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # it is empty yet
        return None


def _names(code: CodeType) -> Iterator[str]:
    """Yield the globals that a function reads; the names in its code are those of attributes, too."""
    yield from (step.argval for step in dis.get_instructions(code) if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"))
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _is_written(name: str) -> bool:
    """Tell whether a class has an entry because of how or where it is written."""
    return name.startswith("__") and name.endswith("__") and name not in ("__init__", "__call__")
