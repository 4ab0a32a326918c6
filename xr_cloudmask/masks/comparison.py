"""Where and how two masks agree: a table of classes, and a map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import xarray as xr

from xr_cloudmask.masks import blocks
from xr_cloudmask.masks.agreement import looked_up, ordered, stacked
from xr_cloudmask.masks.aligned import on_one_grid
from xr_cloudmask.masks.judging import JUDGINGS, NOT_JUDGED, gathered, judging_for, table_of
from xr_cloudmask.masks.labels import mask_of
from xr_cloudmask.masks.schemes import scheme_of

if TYPE_CHECKING:
    import pandas as pd

MAP_NAME = "mask_agreement"
AGREE = 0
NO_DATA = ("no_data_in_mask", "no_data_in_other", "no_data")
GREY, DARK = "#bdbdbd", "#000000"
# Of what differs, around the wheel.
COLORS = ("#d73027", "#4575b4", "#fdae61", "#74add1", "#984ea3", "#66a61e", "#e7298a", "#a6761d")


@dataclass(frozen=True, repr=False, eq=False)
class Comparison:
    """Where and how two masks agree. It shows itself as text, and as a table in notebooks, once it is computed.

    Attributes
    ----------
    map : DataArray
        uint8 on the mask's pixels, with CF flags: 0 where they agree, a code for each way to differ, and three where
        one or both have no data.
    counts : DataArray
        int64 ``(in_mask, in_other)``: pixels of every class in either, no data last.
    """

    map: xr.DataArray
    counts: xr.DataArray

    def compute(self) -> Comparison:
        """Return it with its values in memory: the masks are read once."""
        both = xr.Dataset({"map": self.map, "counts": self.counts}).compute()
        return Comparison(both["map"].rename(self.map.name), both["counts"])

    def table(self) -> pd.DataFrame:
        """Return the counts: a row for each class of the mask, a column for each of the other; computes them."""
        import pandas as pd

        names = (pd.Index(self.counts[dim].values, name=dim) for dim in self.counts.dims)
        return pd.DataFrame(self.counts.values, *names)

    def agreement(self) -> float:
        """Return the share of the pixels with data in both that agree; computes the counts."""
        judged = self.counts.values[:-1, :-1]
        return float(np.trace(judged) / judged.sum()) if judged.sum() else float("nan")

    def __repr__(self) -> str:
        return f"{self._title()}\n{self.table().to_string()}" if self._is_known else self._title()

    def _repr_html_(self) -> str:
        return f"<p>{self._title()}</p>{self.table().to_html() if self._is_known else ''}"

    @property
    def _is_known(self) -> bool:
        return self.counts.chunks is None

    def _title(self) -> str:
        size = " × ".join(f"{size} {dim}" for dim, size in self.map.sizes.items())
        if not self._is_known:
            return f"Comparison of two masks of {size}, not computed yet: .compute()"
        return f"Comparison of two masks of {size}: {self.agreement():.1%} of the pixels with data in both agree"


def compare(
    mask: xr.Dataset | xr.DataArray, other: xr.Dataset | xr.DataArray, *, classes: str | None = None
) -> Comparison:
    """Compare two masks of the same pixels, of which neither need be true; lazy where one of them is.

    Parameters
    ----------
    mask, other : Dataset or DataArray
        Predict's Dataset, a mask or a quality band, uint8 ``(time, y, x)`` or ``(y, x)``, dimensions in any order.
    classes : str, optional
        What is compared, as of `score`: by default clear, cloud and cloud shadow, cloud alone where one of them does
        not tell shadows.

    Returns
    -------
    Comparison
        ``map``, uint8 with CF flags, ``counts``, and ``table()``.

    Raises
    ------
    CloudMaskError
        Other pixels, dates or reference systems; classes that either puts together.

    Examples
    --------
    >>> from xr_cloudmask.masks.schemes import SCHEMES, flag_attrs
    >>> mask = xr.DataArray(np.uint8([[0, 1, 3, 255]]), dims=("y", "x"), attrs=flag_attrs(SCHEMES["cloudsen12"]))
    >>> other = mask.copy(data=np.uint8([[0, 0, 3, 0]]))
    >>> compare(mask, other).map.values
    array([[  0,   3,   0, 253]], dtype=uint8)
    """
    ours, theirs = mask_of(mask), mask_of(other)
    theirs = on_one_grid(ours, theirs)
    schemes = scheme_of(ours), scheme_of(theirs)
    judging = JUDGINGS[judging_for([*gathered(schemes[0]), *gathered(schemes[1])], classes)]
    names, dims = (*judging, "no_data"), ordered(ours)
    places = [_filled(table_of(scheme, judging), len(judging)) for scheme in schemes]
    pair = [looked_up(each.transpose(*dims), table) for each, table in zip((ours, theirs), places, strict=True)]
    size = len(names), len(names)
    counted = blocks.counted(stacked(pair[0]), stacked(pair[1]), size, blocks.LARGEST)
    counts = counted.astype("int64").sum(axis=(0, 1, 2)).reshape(size)
    named = [xr.Variable(dims, each) for each in pair]
    codes = xr.apply_ufunc(_coded, *named, dask="parallelized", output_dtypes=["uint8"], kwargs={"count": len(judging)})
    made = ours.transpose(*dims).copy(data=codes.data)
    made.attrs = _flags(tuple(judging))
    made.encoding = {key: value for key, value in ours.encoding.items() if key == "grid_mapping"}
    labels = {"in_mask": list(names), "in_other": list(names)}
    return Comparison(
        made.transpose(*ours.dims).rename(MAP_NAME), xr.DataArray(counts, labels, tuple(labels), name="pixels")
    )


def _filled(table: npt.NDArray[np.uint8], last: int) -> npt.NDArray[np.uint8]:
    return np.where(table == NOT_JUDGED, last, table).astype("uint8")


def _coded(ours: npt.NDArray[np.uint8], theirs: npt.NDArray[np.uint8], *, count: int) -> npt.NDArray[np.uint8]:
    """Return the code of every pair of classes; `count` stands for no data."""
    codes = np.zeros((count + 1, count + 1), "uint8")
    codes[:count, :count][~np.eye(count, dtype=bool)] = range(1, count * (count - 1) + 1)
    codes[count, :], codes[:, count], codes[count, count] = 253, 254, 255
    return codes[ours, theirs]


def _flags(names: Sequence[str]) -> dict[str, object]:
    ways = [f"{one}_but_{other}_in_other" for one in names for other in names if one != other]
    meanings = ["agree", *ways, *NO_DATA]
    values = [AGREE, *range(1, len(ways) + 1), 253, 254, 255]
    colors = ["#f0f0f0", *(COLORS[i % len(COLORS)] for i in range(len(ways))), GREY, GREY, DARK]
    return {
        "standard_name": "status_flag",
        "long_name": "agreement of two cloud masks",
        "flag_values": np.array(values, "uint8"),
        "flag_meanings": " ".join(meanings),
        "flag_colors": " ".join(colors),
        "nodata": 255,
    }
