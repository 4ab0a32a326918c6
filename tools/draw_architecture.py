"""Draw the packages and who imports whom, from the code itself: docs/images/architecture.svg.

    python tools/draw_architecture.py

The order is that of the import contract in pyproject.toml. Needs grimp, which import-linter brings.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from html import escape
from pathlib import Path

import grimp

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "docs" / "images" / "architecture.svg"
PACKAGE = "xr_cloudmask"
STARTS = "__main__"  # the command line; in no layer
HELPERS = "helpers"  # the layers below the line, as one box

LINE = ("prediction", "masks", "engine", "models", "cube")
STEP, WIDTH, HEIGHT, MARGIN = 40, 142, 28, 16  # of a box and the next; of a box; around all
COLUMN = 0.85 * WIDTH  # where a box is reached from above
ORANGE, BLUE, GREY, WIRE = "#d9480f", "#364fc7", "#868e96", "#ced4da"
LEGEND = """\
Each box is a package, or a file, of xr_cloudmask.
A dot is an import: the box on the left of its row imports
the box at the foot of its column. Lines that cross without
a dot mean nothing.

Nothing imports what is above it: the order of the boxes is
the import contract of pyproject.toml.

Orange: the line from a cube to a mask.
Grey: the helpers are {}."""


def layers() -> list[str]:
    """Return what the import contract orders, from the top."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (contract,) = settings["contracts"]
    names = [name for layer in contract["layers"] for name in layer.split(":")]
    return [name.strip().removeprefix(f"{PACKAGE}.") for name in names]


def boxes() -> dict[str, str]:
    """Return the box of each package and file, from the top."""
    order = layers()
    last = order.index(LINE[-1])
    return {name: name if i <= last else HELPERS for i, name in enumerate(order)}


def imports() -> set[tuple[str, str]]:
    """Return which box imports which."""
    box_of, found = boxes(), set()
    graph = grimp.build_graph(PACKAGE, cache_dir=None)
    for module in graph.modules - {PACKAGE, f"{PACKAGE}.{STARTS}"}:
        importer = module.split(".")[1]
        if importer not in box_of:
            raise SystemExit(f"{importer!r} is in no layer of the import contract: add it to pyproject.toml")
        for imported in graph.find_modules_directly_imported_by(module) - {PACKAGE}:
            found.add((box_of[importer], box_of[imported.split(".")[1]]))
    return {(importer, imported) for importer, imported in found if importer != imported}


def draw() -> str:
    """Return the picture as SVG: boxes on a diagonal, imports as dots above it."""
    box_of = boxes()
    names = list(dict.fromkeys(box_of.values()))
    pairs = sorted((names.index(importer), names.index(imported)) for importer, imported in imports())
    length = MARGIN * 2 + STEP * (len(names) - 1)
    width, height = length + WIDTH, length + HEIGHT
    helpers = ", ".join(name for name, box in box_of.items() if box == HELPERS)
    legend = LEGEND.format(helpers).splitlines()
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif"'
        ' font-size="17">',
        "<title>The packages of xr_cloudmask and their imports</title>",
        f'<rect width="{width}" height="{height}" fill="white"/>',
        *(part for i in range(len(names)) for part in _wires(i, pairs, _colour(names[i]))),
        *(_dot(i, j, f"{names[i]} imports {names[j]}", _colour(names[i], names[j])) for i, j in pairs),
        *(_box(i, name, _colour(name)) for i, name in enumerate(names)),
        *(
            f'<text x="{MARGIN}" y="{height - MARGIN - 23 * below}" fill="#495057">{escape(line)}</text>'
            for below, line in enumerate(reversed(legend))
        ),
    ]
    return "\n".join([*parts, "</svg>", ""])


def _colour(*names: str) -> str:
    if HELPERS in names:
        return GREY
    return ORANGE if set(names) <= set(LINE) else BLUE


def _at(row: int, column: int) -> tuple[float, float]:
    return MARGIN + STEP * column + COLUMN, MARGIN + STEP * row + HEIGHT / 2


def _wires(i: int, pairs: list[tuple[int, int]], colour: str) -> Iterator[str]:
    """Yield the line to what a box imports, and the arrow from what imports it."""
    reached = [imported for importer, imported in pairs if importer == i]
    if reached:
        x, y = _at(i, max(reached))
        yield f'<path d="M{MARGIN + STEP * i + WIDTH} {y:g}H{x:g}" stroke="{WIRE}" fill="none"/>'
    users = [importer for importer, imported in pairs if imported == i]
    if users:
        (x, y), tip = _at(min(users), i), MARGIN + STEP * i
        yield f'<path d="M{x:g} {y:g}V{tip - 7}" stroke="{WIRE}" fill="none"/>'
        yield f'<path d="M{x - 4:g} {tip - 8}h8l-4 8z" fill="{colour}"/>'


def _dot(row: int, column: int, title: str, colour: str) -> str:
    x, y = _at(row, column)
    return f'<circle cx="{x:g}" cy="{y:g}" r="6" fill="{colour}"><title>{title}</title></circle>'


def _box(i: int, name: str, colour: str) -> str:
    place = MARGIN + STEP * i
    return (
        f'<rect x="{place}" y="{place}" width="{WIDTH}" height="{HEIGHT}" rx="5" fill="white" stroke="{colour}"'
        f' stroke-width="2"/><text x="{place + WIDTH / 2:g}" y="{place + 20}" text-anchor="middle"'
        f' fill="{colour}">{name}</text>'
    )


if __name__ == "__main__":
    PICTURE.write_text(draw())
    print(PICTURE.relative_to(ROOT))
