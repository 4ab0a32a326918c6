"""How well a mask agrees with a reference over clear, cloud and cloud shadow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xr_cloudmask.errors import CloudMaskError
from xr_cloudmask.masks.schemes import CLOUDS, SURFACES, scheme_of

if TYPE_CHECKING:
    import pandas as pd

# What masks of every kind are judged by, and the words of schemes.VOCABULARY that each stands for.
JUDGED: Mapping[str, tuple[str, ...]] = {"clear": SURFACES, "cloud": CLOUDS, "cloud_shadow": ("cloud_shadow",)}
NOT_JUDGED = 255


@dataclass(frozen=True)
class Agreement:
    """A confusion matrix over `JUDGED`, and what follows from it.

    Attributes
    ----------
    counts : ndarray
        int64 ``(class of the reference, class found)``: pixels.

    Examples
    --------
    >>> agreement = Agreement.of(np.uint8([0, 0, 1, 1, 255]), np.uint8([0, 1, 1, 1, 0]))
    >>> round(agreement.kappa, 2)
    0.5
    >>> agreement.table().loc["cloud", "recall"]
    np.float64(1.0)
    """

    counts: npt.NDArray[np.int64]

    @classmethod
    def of(cls, reference: npt.NDArray[np.uint8], found: npt.NDArray[np.uint8]) -> Agreement:
        """Compare codes, which are places in `JUDGED`; pixels of any other code, in either, are left out.

        Parameters
        ----------
        reference, found : ndarray
            uint8, of one shape.
        """
        number = len(JUDGED)
        both = (reference < number) & (found < number)
        pairs = reference[both].astype("int64") * number + found[both]
        return cls(np.bincount(pairs, minlength=number**2).reshape(number, number))

    def __add__(self, other: Agreement) -> Agreement:
        """Pool the pixels of two comparisons."""
        return Agreement(self.counts + other.counts)

    @property
    def kappa(self) -> float:
        """Cohen's kappa: 1 for full agreement, 0 for as much as chance gives; NaN where only one class is.

        Source: Cohen (1960), https://doi.org/10.1177/001316446002000104
        """
        with np.errstate(invalid="ignore"):
            share = self.counts / self.counts.sum()
            chance = (share.sum(axis=0) * share.sum(axis=1)).sum()
            return float((np.trace(share) - chance) / (1 - chance))

    def table(self) -> pd.DataFrame:
        """Return intersection over union, recall and precision of every class; NaN where there is nothing to count."""
        import pandas as pd

        hits, reference, found = np.diag(self.counts), self.counts.sum(axis=1), self.counts.sum(axis=0)
        with np.errstate(invalid="ignore"):
            scores = {"IoU": hits / (reference + found - hits), "recall": hits / reference, "precision": hits / found}
        return pd.DataFrame(scores, index=list(JUDGED))


def compare(mask: xr.DataArray, reference: xr.DataArray) -> Agreement:
    """Compare a mask with a reference, each in any scheme that tells clear, cloud and shadow apart; computes both.

    Parameters
    ----------
    mask, reference : DataArray
        uint8 with flag attributes, of the same dimensions in any order.

    Raises
    ------
    CloudMaskError
        A scheme puts together what is judged apart, or the dimensions are others.

    Examples
    --------
    >>> from xr_cloudmask.masks.schemes import SCHEMES, flag_attrs
    >>> mask = xr.DataArray(np.uint8([[0, 1, 2, 3]]), dims=("y", "x"), attrs=flag_attrs(SCHEMES["cloudsen12"]))
    >>> compare(mask, mask).kappa
    1.0
    """
    truth, found = (judged(laid_out(each, reference.sizes)) for each in (reference, mask))
    return Agreement.of(truth, found)


def laid_out(mask: xr.DataArray, sizes: Mapping[Any, int]) -> xr.DataArray:
    """Return a mask with its dimensions in the order of `sizes`.

    Raises
    ------
    CloudMaskError
        It has others, such as no time, they are longer or shorter, or it is not uint8.
    """
    if dict(mask.sizes) != dict(sizes):
        raise CloudMaskError(
            f"a mask of {dict(mask.sizes)}", f"the dimensions {dict(sizes)}", "mask.sel(...) or mask.expand_dims(...)"
        )
    if mask.dtype != "uint8":
        raise CloudMaskError(f"a mask of {mask.dtype}", "uint8 codes", "mask.fillna(255).astype('uint8')")
    return mask.transpose(*sizes)


def judged(mask: xr.DataArray) -> npt.NDArray[np.uint8]:
    """Return the place in `JUDGED` of every pixel; `NOT_JUDGED` where there are no data."""
    scheme = scheme_of(mask)
    places = np.full(256, NOT_JUDGED, "uint8")
    for entry in scheme.classes:
        places[entry.code] = place_of(entry.gathers, f"class {entry.name!r} of scheme {scheme.name!r}")
    codes: npt.NDArray[np.uint8] = places[mask.values]
    return codes


def place_of(words: Sequence[str], title: str) -> int:
    """Return the place in `JUDGED` of what stands for some words of the vocabulary.

    Raises
    ------
    CloudMaskError
        It puts together what is judged apart.
    """
    for place, members in enumerate(JUDGED.values()):
        if set(words) <= set(members):
            return place
    raise CloudMaskError(
        f"{title}, which stands for {list(words)}",
        f"classes that tell {', '.join(JUDGED)} apart",
        "a mask of scheme 'cloudsen12' or 'sensei'",
    )
