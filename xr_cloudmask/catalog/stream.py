"""Items of masks one after the other: for tables of millions of scenes, which are never in memory at once.

All that an item says is in its row; no mask is read.
"""

from __future__ import annotations

import sqlite3
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from xr_cloudmask.catalog import archive, schema
from xr_cloudmask.catalog.items import json_of, scheme_in
from xr_cloudmask.catalog.table import unreadable
from xr_cloudmask.errors import CatalogError, CloudMaskError, listed
from xr_cloudmask.masks.schemes import Scheme

# From a row, and where its mask is kept, to where others find the mask.
Address: TypeAlias = Callable[[sqlite3.Row, Callable[[], Path]], str]
T = TypeVar("T")

FEW = ("scene", "id", "name", "mask", "mask_bytes")  # that tell whether a mask is there
DAMAGED = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)  # pyproj's: Runtime


@dataclass(frozen=True)
class Stream:
    """The masks of a catalogue that are done, by date.

    Attributes
    ----------
    path : Path
        The database.
    condition : str
        Which rows, as SQL.
    values : sequence
        What its question marks stand for.
    """

    path: Path
    condition: str
    values: Sequence[Any]

    def __len__(self) -> int:
        with schema.connect(self.path, reading=True) as database:
            return int(self._select(database, "count(*)").fetchone()[0])

    def require_masks(self) -> None:
        """Refuse masks that are missing or of another size; `Catalog.verify` compares checksums too."""
        folder = archive.folder_of(self.path)
        with schema.connect(self.path, reading=True) as database:
            rows = self._select(database, ", ".join(FEW))
            wrong = {row["id"]: found for row in rows if (found := archive.absent(database, folder, row))}
        if wrong:
            raise archive.refusal(self.path, wrong, len(self))

    def items(self, address: Address, collection: str) -> Iterator[dict[str, Any]]:
        """Yield STAC items as JSON has them; warn at the end of rows that cannot be read, which are left out."""
        folder = archive.folder_of(self.path)
        schemes: dict[tuple[Any, ...], Scheme] = {}
        bad: dict[int, str] = {}
        with schema.connect(self.path, reading=True) as database:
            for row in self._select(database, "*", "ORDER BY datetime, id, scene"):
                wrong = unreadable(row)
                if wrong is not None:
                    bad[row["scene"]] = wrong
                    continue
                try:
                    item = self._item(database, folder, row, schemes, address)
                except CloudMaskError:
                    raise
                except DAMAGED as error:
                    bad[row["scene"]] = f"{type(error).__name__}: {str(error)[:80]}"
                    continue
                yield item | {"collection": collection}
        if bad:
            left_out(self.path, bad)

    def _item(
        self,
        database: sqlite3.Connection,
        folder: Path,
        row: sqlite3.Row,
        schemes: dict[tuple[Any, ...], Scheme],
        address: Address,
    ) -> dict[str, Any]:
        def kept() -> Path:
            return archive.path_of(database, folder, row)

        # Masks of one request and network have the same classes; a scheme of ours is known by its name.
        alike = tuple(row[name] for name in ("request", "variant", "version", "weights_sha256", "scheme"))
        if alike not in schemes:
            schemes[alike] = scheme_in(row, kept)
        return json_of(row, address(row, kept), schemes[alike])

    def _select(self, database: sqlite3.Connection, what: str, order: str = "") -> sqlite3.Cursor:
        """Ask for columns; condition and order are words of this package."""
        query = f"SELECT {what} FROM scenes WHERE {self.condition} AND status = 'done' {order}"  # noqa: S608
        return database.execute(query, tuple(self.values))


def left_out(path: Path, bad: dict[int, str]) -> None:
    """Say which rows are left out."""
    told = listed(f"{scene} ({wrong})" for scene, wrong in bad.items())
    warnings.warn(f"rows of {str(path)!r} that cannot be read are left out: {told}", stacklevel=5)


def at(place: str) -> Address:
    """Return the address of masks that were exported as GeoTIFFs and lie at `place`, a folder or a URL."""
    start = place.rstrip("/") if "://" in place else str(Path(place).absolute())
    return lambda row, _: f"{start}/{row['name']}.tif"


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield lists of at most `size`.

    Examples
    --------
    >>> list(batches("abc", 2))
    [['a', 'b'], ['c']]
    """
    left = iter(items)
    while batch := list(islice(left, size)):
        yield batch


def nothing() -> CatalogError:
    """Return the error of an export without a mask."""
    return CatalogError("no scene that is done", "at least one", "catalog.run(items), or a filter that is wider")
