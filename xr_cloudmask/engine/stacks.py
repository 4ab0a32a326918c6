"""All dates of a pixel together: one task per chunk of pixels takes the chunks of every date, none is joined first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

# What a task is given of an array with dates: its blocks ``(date, y, x)``, one after the other along the dates.
Blocks = Sequence[np.ndarray[Any, Any]]


def reduce_dates(
    function: Callable[..., Any], dated: Sequence[Any], undated: Sequence[Any] = (), *, dtype: Any, layers: int = 0
) -> Any:
    """Reduce arrays with dates to one without.

    Parameters
    ----------
    function : callable
        ``function(*blocks of each dated array, *block of each undated array)``; returns ``(y, x)``, or
        ``(layer, y, x)`` where there are `layers`. Its options are a `functools.partial`'s, which dask can name.
    dated : sequence of arrays
        ``(date, y, x)`` each; NumPy arrays are reduced now, dask arrays when computed.
    undated : sequence of arrays
        ``(y, x)`` each.
    dtype : dtype
        Of the result.
    layers : int
        Length of the first axis of the result; 0 for a result without one.

    Returns
    -------
    array
        Lazy where one of the arrays is, with the chunks that suit all of them.
    """
    arrays = [*dated, *undated]
    if all(isinstance(array, np.ndarray) for array in arrays):
        return function(*([array] for array in dated), *undated)
    import dask.array as da

    pairs = [part for array in dated for part in (array, "tyx")] + [part for array in undated for part in (array, "yx")]
    return da.blockwise(
        function,
        "lyx" if layers else "yx",
        *pairs,
        new_axes={"l": layers} if layers else {},
        dtype=dtype,
        meta=np.empty((0,) * (3 if layers else 2), dtype),
        concatenate=None,
    )
