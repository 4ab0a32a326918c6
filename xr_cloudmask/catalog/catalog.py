"""The catalogue as people use it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from xr_cloudmask.catalog import archive, parquet, pgstac, schema
from xr_cloudmask.catalog.cube import cube_of
from xr_cloudmask.catalog.filters import FILTERS
from xr_cloudmask.catalog.formats import COLLECTION, FORMATS, TABLE, require_folder, writing_to
from xr_cloudmask.catalog.runs import RunResult, asked_for, run
from xr_cloudmask.catalog.selection import Selection
from xr_cloudmask.catalog.table import as_table
from xr_cloudmask.errors import CatalogError
from xr_cloudmask.export import open_mask
from xr_cloudmask.masks.coverage import limit, warn_of
from xr_cloudmask.models.registry import name_of, warning_of
from xr_cloudmask.names import CLOUD_FRACTION, CLOUD_SHADOW_FRACTION, VALID_FRACTION

if TYPE_CHECKING:
    import pandas as pd
    from distributed import Client
    from geopandas import GeoDataFrame
    from odc.geo.geobox import GeoBox
    from pystac import Item

SHOWN = ("datetime", "model", "status", CLOUD_FRACTION, CLOUD_SHADOW_FRACTION, VALID_FRACTION, "error")
SHOWN_ROWS = 20  # in a notebook


class Catalog:
    """Scenes, each processed once: their masks, what was measured, and why others have none.

    A database of a row per scene and model (SQLite) with masks beside it, in ``<name>.masks/``, as cloud-optimised
    GeoTIFFs. Every scene is kept as it is finished; a process that ends, however it ends, loses no other than those it
    was at, which the next run takes up. Several processes may use a database at once, on one machine and on a local
    disk: SQLite's write-ahead log is not made for network folders.

    Parameters
    ----------
    path : path
        The database; made where there is none.
    masks : {'files', 'database'}
        Where masks of this catalogue's runs are kept: beside the database, or inside it (a single file to carry around;
        for scenes of a few megapixels).

    Raises
    ------
    CatalogError
        The file is no catalogue, or of a newer version, or its folder does not exist.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> catalog = Catalog(f"{folder.name}/scenes.db")
    >>> len(catalog)
    0
    >>> folder.cleanup()
    """

    def __init__(self, path: str | Path, masks: str = "files") -> None:
        if masks not in archive.KINDS:
            raise CatalogError(f"masks={masks!r}", f"one of {list(archive.KINDS)}", "masks='files'")
        if not isinstance(path, str | os.PathLike):
            raise CatalogError(f"a catalogue at {path!r}", "the path of a file", "Catalog('scenes.db')")
        self.path = Path(path)
        self._inside = masks == "database"
        self._chosen = Selection(self.path)
        with schema.connect(self.path, reading=True):
            pass

    def run(
        self,
        items: Iterable[Item],
        model: str | Sequence[str] = "auto",
        *,
        load: Mapping[str, Any] | None = None,
        workers: int | None = None,
        client: Client | None = None,
        progress: bool = True,
        **options: Any,
    ) -> RunResult:
        """Make the masks that are missing, and keep each as it is finished.

        A scene is done once per collection, model, version, checksum of the weights, and options. What is done is
        skipped, what failed before is tried again: not sooner than 2 s after the first failure, 4 s after the second,
        … 5 min. Ctrl-C, or Jupyter's interrupt, stops after the chunks at hand: what is finished is kept, what is not
        is queued again.

        Parameters
        ----------
        items : iterable of pystac.Item
            As `stac.search` returns them.
        model : str or sequence of str, default 'auto'
            As in `predict`; in the table an ensemble is one name, ``'csmask+universal'``.
        load : mapping, optional
            Keywords of `stac.load`: ``{"patch_url": planetary_computer.sign, "bbox": (...)}``.
        workers : int, optional
            Threads of this process, a scene each; by default as many as there are cores.
        client : distributed.Client, optional
            A cluster that works instead, or processes of this machine: ``Client(n_workers=4, threads_per_worker=1)``.
            It needs no shared disk: masks come back to this process, compressed.
        progress : bool
            Whether to show a bar.
        **options
            Other keywords of `predict`.

        Returns
        -------
        RunResult
            Ids that are done, failed, and in the hands of another run.

        Raises
        ------
        CatalogError
            An unknown keyword; the database cannot be written.
        CloudMaskError
            An unknown model, or weights that are missing. What is wrong with a scene is not raised but in the table.
        """
        from dask.system import CPU_COUNT

        request = asked_for(model, options, load or {})
        threads = CPU_COUNT if workers is None else workers
        if threads < 1:
            raise CatalogError(f"workers={workers}", "one or more", "workers=2")
        return run(self.path, items, request, inside=self._inside, workers=threads, client=client, progress=progress)

    def filter(
        self,
        max_cloud: float | None = None,
        max_shadow: float | None = None,
        min_valid: float | None = None,
        *,
        model: str | Sequence[str] | None = None,
        collection: str | None = None,
    ) -> Catalog:
        """Return the scenes that are clear enough, as a catalogue of its own: a view, nothing is copied.

        Parameters
        ----------
        max_cloud, max_shadow : float, optional
            Largest fraction of cloud, thick and thin, and of cloud shadow in the valid pixels.
        min_valid : float, optional
            Smallest fraction of valid pixels. All three are fractions from 0 to 1.
        model : str or sequence of str, optional
        collection : str, optional
            As they were asked for.

        Returns
        -------
        Catalog
            What it is asked for it answers for these scenes alone. A limit leaves out scenes without a mask, and those
            of which the fraction is not known.

        Raises
        ------
        CloudMaskError
            A limit that is no fraction.

        Warns
        -----
        CoverageWarning
            Scenes are kept by the cloud of masks whose model cannot tell how cloudy a scene is, as ``'4-4A'``.
        """
        given = {"max_cloud": max_cloud, "max_shadow": max_shadow, "min_valid": min_valid}
        limits = {name: limit(name, value) for name, value in given.items() if value is not None}
        conditions = [f"{column} {side} ?" for name, (column, side) in FILTERS.items() if name in limits]
        values: list[Any] = list(limits.values())
        for column, wanted in (("model", None if model is None else name_of(model)), ("collection", collection)):
            if wanted is not None:
                conditions.append(f"{column} = ?")
                values.append(wanted)
        view = object.__new__(type(self))
        view.path, view._inside = self.path, self._inside
        view._chosen = self._chosen.narrowed(conditions, values)
        if limits.keys() - {"min_valid"}:
            warn_of(map(warning_of, view._chosen.models()))
        return view

    def to_dataframe(self) -> GeoDataFrame:
        """Return the table: a row per scene and model, by date.

        Returns
        -------
        geopandas.GeoDataFrame
            Index ``id``. ``scene`` (the row's number), what was asked for, ``status`` (``'queued'``, ``'running'``,
            ``'done'``, ``'failed'``), ``attempts``, ``error``, times, the fractions (0–1), ``band_mismatch`` and
            ``statistics`` where the model has them, grid, ``provenance``, ``mask`` (the path of the file, or
            ``'database'``), its size and SHA-256, and the footprint, in longitude and latitude, as RFC 7946 has it.

        Warns
        -----
        UserWarning
            Of rows that cannot be read; the table has the others.
        """
        with schema.connect(self.path, reading=True) as database:
            names = [column[1] for column in database.execute("PRAGMA table_info(scenes)")]
            rows = self._chosen.rows(database)
        return as_table(rows, names, archive.folder_of(self.path))

    def open(self, scene: str | int) -> xr.Dataset:
        """Open the mask of a scene; lazy.

        Parameters
        ----------
        scene : str or int
            The id of an item; the number of its row (``scene`` in the table) where it has several masks.

        Returns
        -------
        Dataset
            As `export.open_mask` gives it: ``cloud_mask`` uint8 ``(y, x)``, with coverage and provenance.

        Raises
        ------
        CatalogError
            There is no mask, there are several, or it is missing or damaged.
        """
        with schema.connect(self.path, reading=True) as database:
            ((_, path),) = self._chosen.whole(database, [self._chosen.one(database, scene)])
            return open_mask(path)

    def verify(self) -> pd.DataFrame:
        """Compare every mask with its size and its checksum; reads them all.

        Returns
        -------
        DataFrame
            A row for each scene that is done, and for each row of the database that cannot be read: index ``id``,
            ``scene`` (the row's number), ``model``, and ``problem``, which is empty where the mask is whole. `run`
            makes again what has a problem.

        Raises
        ------
        CatalogError
            The database itself is damaged.

        Examples
        --------
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> len(Catalog(f"{folder.name}/scenes.db").verify())
        0
        >>> folder.cleanup()
        """
        import pandas as pd

        with schema.connect(self.path, reading=True) as database:
            found = database.execute("PRAGMA integrity_check").fetchone()[0]
            if found != "ok":
                raise CatalogError(f"{str(self.path)!r}: {found}", "a whole database", "a copy from before")
            rows = [(row, self._chosen.problem(database, row)) for row in self._chosen.all(database)]
        table = [(row["id"], row["scene"], row["model"], problem) for row, problem in rows if problem is not None]
        return pd.DataFrame(table, columns=["id", "scene", "model", "problem"]).set_index("id")

    def cube(
        self,
        scenes: Sequence[str | int] | None = None,
        *,
        geobox: GeoBox | None = None,
        crs: Any = None,
        resolution: float | None = None,
        chunks: Mapping[str, int] | None = None,
    ) -> xr.Dataset:
        """Return masks as one cube with time; lazy.

        Parameters
        ----------
        scenes : sequence of str or int, optional
            As in `open`; by default all that are done.
        geobox, crs, resolution : optional
            The grid, as in `stac.load`; by default the union of the masks' grids. Labels are never mixed: a pixel has
            the nearest one.
        chunks : mapping of str to int, optional
            Chunk sizes of ``y`` and ``x``, by default 2048.

        Returns
        -------
        Dataset
            ``cloud_mask`` uint8 ``(time, y, x)``, no data outside of a scene, and the coordinates ``id``, ``scene`` and
            the fractions along time: those of the whole scenes.

        Raises
        ------
        CatalogError
            There are no masks, some are missing or damaged, they are of several schemes, or of several grids and there
            is no `geobox`.
        """
        with schema.connect(self.path, reading=True) as database:
            rows = self._chosen.done(database, scenes)
        return cube_of(rows, {"geobox": geobox, "crs": crs, "resolution": resolution}, chunks)

    def export(self, folder: str | Path, fmt: str = "tif", *, masks_at: str | None = None) -> tuple[Path, ...]:
        """Write the masks that are done in a format of others.

        Parameters
        ----------
        folder : path
            Made where there is none. Files of the same names are replaced.
        fmt : {'tif', 'gpkg', 'stac', 'geoparquet'}
            GeoTIFFs with colours and class names; a GeoPackage of footprints (layer ``scenes``) and outlines of cloud
            and shadow (layer ``classes``); a STAC collection of items and COGs; one GeoParquet table of STAC items
            (stac-geoparquet), for millions of scenes: rows are read one after the other, masks are not.
        masks_at : str, optional
            For ``'geoparquet'``: the folder or URL where others find what ``fmt='tif'`` wrote. By default items name
            the masks where the catalogue keeps them; those inside the database are written beside the table.

        Returns
        -------
        tuple of Path
            The files written.

        Raises
        ------
        CatalogError
            An unknown format, nothing to write, a mask that is missing or damaged, or no room. A table notices masks
            that are missing or of another size; the other formats compare checksums.
        MissingError
            GeoParquet needs ``pip install 'xr-cloudmask[database]'``.
        """
        require_folder(folder)
        if fmt not in (*FORMATS, TABLE):
            raise CatalogError(f"fmt={fmt!r}", f"one of {[*FORMATS, TABLE]}", "fmt='tif'")
        if fmt == TABLE:
            return (parquet.write(self._chosen.stream(masks_at), Path(folder), masks_at),)
        if masks_at is not None:
            raise CatalogError(f"masks_at={masks_at!r} with fmt={fmt!r}", f"fmt={TABLE!r}", "leave masks_at out")
        with schema.connect(self.path, reading=True) as database:
            rows = self._chosen.done(database, None)
        numbers = [row["scene"] for row, _ in rows]
        table = self.to_dataframe()
        with writing_to(Path(folder)):
            return tuple(FORMATS[fmt](rows, table[table["scene"].isin(numbers)], Path(folder)))

    def to_pgstac(self, dsn: str, *, masks_at: str | None = None, collection: str = COLLECTION) -> int:
        """Write the masks that are done as STAC items to PostgreSQL with pgstac.

        Items that are there are replaced, so that it can be called again after every run. All are written, or none.

        Parameters
        ----------
        dsn : str
            The database, ``postgresql://user@host:5432/database``; what it leaves out is as libpq has it, from
            ``PGHOST``, ``PGUSER``, ``PGPASSWORD`` or ``~/.pgpass``. It is in no message.
        masks_at : str, optional
            The folder or URL where others find what ``export(fmt='tif')`` wrote. By default items name the files
            where the catalogue keeps them.
        collection : str, default 'cloudmasks'
            Id of the collection; made where there is none. One that is there keeps what it says, but for its extent.

        Returns
        -------
        int
            How many items were written.

        Warns
        -----
        UserWarning
            Of rows that cannot be read, and of scenes without a footprint, which pgstac cannot hold.

        Raises
        ------
        CatalogError
            No such database, no pgstac in it, no permission; nothing to write; masks that are missing, of another size,
            or inside the database of the catalogue where `masks_at` does not say where others find them.
        MissingError
            It needs ``pip install 'xr-cloudmask[database]'``.
        """
        return pgstac.write(self._chosen.stream(masks_at), dsn, masks_at, collection)

    def __len__(self) -> int:
        return sum(self._chosen.counts().values())

    def __repr__(self) -> str:
        return f"<Catalog {str(self.path)!r}: {self._summary()}>"

    def _repr_html_(self) -> str:
        table = self.to_dataframe()
        shown = table.head(SHOWN_ROWS)[list(SHOWN)].fillna({"error": ""})
        more = f"<p>and {len(table) - SHOWN_ROWS} more</p>" if len(table) > SHOWN_ROWS else ""
        html: str = shown.to_html(float_format="{:.3f}".format, na_rep="", max_rows=SHOWN_ROWS)
        return f"<p><b>{_escaped(self.path.name)}</b>: {self._summary()}</p>{html}{more}"

    def _summary(self) -> str:
        return ", ".join(f"{count} {status}" for status, count in self._chosen.counts().items()) or "empty"


def _escaped(text: str) -> str:
    from html import escape

    return escape(text)
