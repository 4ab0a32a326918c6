"""Texts of others on a terminal and in spreadsheets: they are shown, and never obeyed."""

from __future__ import annotations

import re
from typing import Any

# Control characters, which move a terminal's cursor and more, those that turn the direction of a text, and halves of
# characters, which cannot be written.
CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")  # how cells begin that spreadsheets compute


def shown(text: object) -> str:
    r"""Return a text with control characters spelt out; lines stay lines.

    Examples
    --------
    >>> shown("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    return CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), str(text))


def cell(value: Any) -> Any:
    """Return what a cell of CSV holds: a text that a spreadsheet would take for a formula gets an apostrophe.

    Examples
    --------
    >>> cell("=1+1"), cell("S2A_1"), cell(-5)
    ("'=1+1", 'S2A_1', -5)
    """
    if not isinstance(value, str):
        return value
    return shown(f"'{value}" if value.startswith(FORMULA) else value)
