"""What errors suggest to type in Python, as it is typed in a shell."""

from __future__ import annotations

import ast
import os
import re
import shlex
from collections.abc import Collection
from typing import Any

CALL = r"(?P<called>[\w.]+)\((?P<arguments>(?:[^()]|\([^()]*\))*)\)"
VALUE = r"'[^']*'|\[[^\[\]]*\]|\([^()]*\)|-?\d+(?:\.\d+)?(?:e-?\d+)?|True|False"
CALLED = "predict"  # whose arguments may all be options
FIRST = "model"  # its argument without a name
JOINED = {"weights": os.pathsep, "model": "+"}  # a sequence; of other options by a comma


def in_shell(remedy: str, options: Collection[str]) -> str:
    """Return a remedy with keywords as a command spells them; what is no option of it stays.

    Parameters
    ----------
    remedy : str
        Keywords, with or without a value, and calls of predict.
    options : collection of str
        What the command takes, by the names of keywords.

    Examples
    --------
    >>> in_shell("predict(level='BOA', halo=32), or scale=1e-4 and offset=", ["level", "halo", "scale", "offset"])
    '--level BOA --halo 32, or --scale 0.0001 and --offset'
    >>> in_shell("mask.assign_attrs(scheme='binary')", ["scheme"])
    "mask.assign_attrs(scheme='binary')"
    """
    keyword = rf"\b(?P<keyword>{'|'.join(options)})=(?P<value>{VALUE})?(?![\w{{(])"

    def spelled(found: re.Match[str]) -> str:
        if found["called"]:
            return _arguments(found["called"], found["arguments"], options) or found[0]
        return _option(found["keyword"], found["value"]) or found[0]

    return re.sub(r"(--[a-z-]+ \S+), (?=--)", r"\1 ", re.sub(f"{CALL}|{keyword}", spelled, remedy))


def _arguments(called: str, text: str, options: Collection[str]) -> str | None:
    """Return the arguments of a call of predict as options; None where one of them is none."""
    if not called.endswith(CALLED):
        return None
    call: Any = ast.parse(f"called({text})", mode="eval").body
    arguments = [(FIRST, node) for node in call.args if ast.unparse(node) != "..."]
    arguments += [(keyword.arg, keyword.value) for keyword in call.keywords]
    typed = [_option(name, ast.unparse(node)) if name in options else None for name, node in arguments]
    return " ".join(map(str, typed)) if all(typed) else None


def _option(name: str, text: str | None) -> str | None:
    """Return an option, with its value if it has one; None where that cannot be typed."""
    option = f"--{name.replace('_', '-')}"
    if text is None or "..." in text:
        return option if text is None else f"{option} {name.upper()}"
    try:
        value = ast.literal_eval(text)
    except ValueError:
        return None
    if isinstance(value, bool):
        return option if value else f"no {option}"
    if isinstance(value, list | tuple):
        value = JOINED.get(name, ",").join(map(str, value))
    return f"{option} {shlex.quote(str(value))}"
