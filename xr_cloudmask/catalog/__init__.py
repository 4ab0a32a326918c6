"""A crash-proof catalogue of processed scenes: items go in, masks and what is known of them stay.

`Catalog` is what people use. Behind it: `schema` (the database), `queue` (which scene is next), `work` (from an item to
the bytes of a mask), `runs` (who does it), `archive` (where masks are), `filters` (which are clear enough), `cube`
(masks along time), `items` and `formats` (what others read), `stream`, `parquet` and `pgstac` (the same for millions).
"""

from xr_cloudmask.catalog.catalog import Catalog
from xr_cloudmask.catalog.filters import FILTERS
from xr_cloudmask.catalog.runs import RunResult

__all__ = ["FILTERS", "Catalog", "RunResult"]
