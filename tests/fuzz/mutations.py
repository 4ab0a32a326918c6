"""Small changes of files, JSON and values, each decided by a random generator alone."""

from __future__ import annotations

import copy
import datetime as dt
import math
import re
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np

if TYPE_CHECKING:
    from random import Random

NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
WORD = re.compile(rb"[A-Za-z_][\w:.-]{2,}")
NUMBERS = (
    b"0",
    b"-1",
    b"1e999",
    b"-1e999",
    b"NaN",
    b"nan",
    b"inf",
    b"1e-320",
    b"9" * 400,
    b"99999999999",
    b"2147483648",
    b"-9223372036854775809",
    b"0x10",
    b"1,5",
    b"",
    b"1.5",
    b"1e6",
    b"\xd9\xa3",
    b"1_000",
    b"true",
    b"null",
)
WORDS = (
    b"",
    b"null",
    b"a" * 3000,
    b"\xff\xfe",
    "ü€😀".encode(),
    b"\x00",
    b"../../../etc/passwd",
    b"%s%n{0}",
    b"NaT",
    b"]]>",
    b"<a><a><a>",
    b"&amp;&lt;",
    b"&#0;",
    b"0000-00-00T99:99:99Z",
    b"EPSG:0",
    b"-",
    b"[[[[",
    b"\r\n",
    b"'\"",
)


def deep(levels: int = 3000) -> list[Any]:
    """Return lists in lists."""
    nested: list[Any] = []
    for _ in range(levels):
        nested = [nested]
    return nested


# What JSON can hold where something else was expected.
JSON_VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    0.5,
    math.inf,
    -math.inf,
    math.nan,
    10**30,
    -(2**63),
    10**400,
    "",
    " ",
    "abc",
    "1e999",
    "NaN",
    "0",
    "-1",
    "2020-01-01",
    "x" * 2000,
    "ü\u0000",
    "\ud800",
    [],
    {},
    [None],
    [[]],
    [1, 2],
    [1, "a", None],
    [[1], [2, 3]],
    {"a": None},
    {"name": "B02"},
    {"": ""},
    "EPSG:32632",
    "http://127.0.0.1:9/x.tif",
    "file:///dev/null",
    "uint16",
    "nan",
)
# What Python objects hold besides.
VALUES: tuple[Any, ...] = (
    *JSON_VALUES,
    b"bytes",
    b"\xff",
    np.nan,
    np.float32(0.5),
    np.int64(3),
    np.array([]),
    np.array(5),
    np.array([1.0, np.nan]),
    np.zeros((2, 3)),
    np.array(["a", "b"]),
    np.array([None, 1], object),
    np.datetime64("NaT", "ns"),
    np.datetime64("2020-01-01"),
    1 + 2j,
    (),
    (1, 2),
    ("a",),
    {1, 2},
    frozenset(),
    dt.datetime(2020, 1, 1),
    dt.timedelta(1),
    object(),
    type,
    len,
    ...,
    np.ma.masked,
    range(3),
    memoryview(b"abc"),
    np.bool_(True),
    np.str_("text"),
    deep(50),
    {"a": {"b": {"c": []}}},
    {1: 2},
)


def mutate_bytes(random: Random, content: bytes, times: int | None = None) -> bytes:
    """Return content with one to four changes: numbers, words, bytes, parts."""
    for _ in range(times or random.choice((1, 1, 1, 2, 4))):
        content = random.choice(CHANGES)(random, content)
    return content


def _number(random: Random, content: bytes) -> bytes:
    return _replaced(random, content, NUMBER, random.choice(NUMBERS))


def _word(random: Random, content: bytes) -> bytes:
    return _replaced(random, content, WORD, random.choice(WORDS))


def _swap(random: Random, content: bytes) -> bytes:
    found = list(WORD.finditer(content))
    return _replaced(random, content, WORD, random.choice(found)[0]) if found else content


def _replaced(random: Random, content: bytes, pattern: re.Pattern[bytes], by: bytes) -> bytes:
    found = list(pattern.finditer(content))
    if not found:
        return by
    match = random.choice(found)
    return content[: match.start()] + by + content[match.end() :]


def _flip(random: Random, content: bytes) -> bytes:
    changed = bytearray(content or b"\0")
    for _ in range(random.choice((1, 1, 3, 20))):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _cut(random: Random, content: bytes) -> bytes:
    return content[: random.randrange(len(content) + 1)]


def _part(random: Random, content: bytes) -> tuple[int, int]:
    begin = random.randrange(len(content) + 1)
    return begin, min(len(content), begin + random.choice((1, 4, 16, 200, 4000)))


def _without(random: Random, content: bytes) -> bytes:
    begin, end = _part(random, content)
    return content[:begin] + content[end:]


def _repeated(random: Random, content: bytes) -> bytes:
    begin, end = _part(random, content)
    return content[:end] + content[begin:end] * random.choice((1, 1, 50)) + content[end:]


def _line(random: Random, content: bytes) -> bytes:
    lines = content.splitlines(keepends=True)
    if not lines:
        return b"\n"
    at = random.randrange(len(lines))
    lines[at : at + 1] = random.choice(([], [lines[at]] * 2, [random.choice(lines)]))
    return b"".join(lines)


def _whole(random: Random, content: bytes) -> bytes:
    return random.choice(
        (
            b"",
            b"\0" * 100,
            b"null",
            b"[]",
            b"{}",
            b'"x"',
            b"5",
            b"[" * 100_000,
            b'{"a":' * 50_000,
            b"<a>" * 50_000,
            b"<a/>",
            content.decode("latin-1").encode("utf-16"),
            b"\xef\xbb\xbf" + content,
            b"\x89HDF\r\n\x1a\n" + content[:100],
            b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
            content[::-1],
        )
    )


CHANGES = (
    _number,
    _number,
    _number,
    _word,
    _word,
    _swap,
    _flip,
    _flip,
    _cut,
    _without,
    _repeated,
    _line,
    _line,
    _whole,
)


def mutate_binary(random: Random, content: bytes) -> bytes:
    """Return content of the same length with some of its bytes changed; or any bytes now and then."""
    if random.random() < 0.2:
        return mutate_bytes(random, content)
    changed = bytearray(content)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        begin = random.randrange(random.choice((len(content), min(len(content), 2000))))
        end = min(len(content), begin + random.choice((1, 1, 2, 4, 8, 40)))
        changed[begin:end] = random.choice(
            (bytes(end - begin), b"\xff" * (end - begin), random.randbytes(end - begin), content[:1] * (end - begin))
        )
    return bytes(changed)


def mutate_xml(random: Random, content: bytes) -> bytes:
    """Return XML that is still well formed, with one to four of its elements changed; or any bytes now and then."""
    if random.random() < 0.3:
        return mutate_bytes(random, content)
    root = ElementTree.fromstring(content)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        parent = random.choice(list(root.iter()))
        element = random.choice([*parent, parent])
        how = random.randrange(7)
        if how == 0 and element is not parent:
            parent.remove(element)
        elif how == 1 and element is not parent:
            parent.append(copy.deepcopy(element))
        elif how == 2:
            element.tag = random.choice(("x", f"{element.tag}x", parent.tag))
        elif how == 3 and element.attrib:
            element.set(random.choice(sorted(element.attrib)), _xml_text(random))
        elif how == 4:
            del element[:]
        else:
            element.text = _xml_text(random)
    return ElementTree.tostring(root)


def _xml_text(random: Random) -> str:
    text = random.choice((*NUMBERS, *WORDS)).decode("latin-1")
    return re.sub("[\x00-\x08\x0b-\x1f]", "", text)


def mutate_json(random: Random, node: Any, values: tuple[Any, ...] = JSON_VALUES) -> Any:
    """Return a copy of a tree of mappings and lists with one to four of its places changed."""
    tree = copy.deepcopy(node)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        tree = _changed(random, tree, values)
    return tree


def _changed(random: Random, node: Any, values: tuple[Any, ...]) -> Any:
    places = [(parent, name) for parent, name in _places(node)]
    if not places or random.random() < 0.02:
        return random.choice(values)
    parent, name = random.choice(places)
    how = random.random()
    if how < 0.15:
        del parent[name]
    elif how < 0.25:
        parent[name] = [parent[name]] if random.random() < 0.5 else {"value": parent[name]}
    elif how < 0.35:
        other, key = random.choice(places)
        parent[name] = (
            copy.deepcopy(other[key]) if key in (other if isinstance(other, dict) else range(len(other))) else None
        )
    elif how < 0.4 and isinstance(parent, dict):
        parent[random.choice(("", "x" * 300, "\ud800", f"{name} ", str(name).upper()))] = parent.pop(name)
    else:
        parent[name] = random.choice(values)
    return node


def _places(node: Any) -> list[tuple[Any, Any]]:
    names = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
    return [(node, name) for name in names] + [place for name in names for place in _places(node[name])]
