"""How well a mask agrees with a reference: kappa, and intersection over union, recall and precision of a class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Agreement:
    """A confusion matrix, and what follows from it.

    Attributes
    ----------
    classes : tuple of str
    counts : ndarray
        int64 ``(class of the reference, class found)``: pixels.

    Examples
    --------
    >>> truth, found = np.uint8([0, 0, 1, 1, 255]), np.uint8([0, 1, 1, 1, 0])
    >>> agreement = Agreement.of(truth, found, ("clear", "cloud"))
    >>> agreement.kappa, agreement.iou("cloud"), agreement.recall("clear")
    (0.5, 0.6666666666666666, 0.5)
    """

    classes: tuple[str, ...]
    counts: npt.NDArray[np.int64]

    @classmethod
    def of(cls, truth: npt.NDArray[np.uint8], found: npt.NDArray[np.uint8], classes: Sequence[str]) -> Agreement:
        """Compare codes, which are places in `classes`; pixels whose code is none, in either, are left out.

        Parameters
        ----------
        truth, found : ndarray
            uint8, any shape, the same.
        classes : sequence of str
        """
        number = len(classes)
        both = (truth < number) & (found < number)
        pairs = truth[both].astype("int64") * number + found[both]
        return cls(tuple(classes), np.bincount(pairs, minlength=number**2).reshape(number, number))

    def __add__(self, other: Agreement) -> Agreement:
        """Pool the pixels of two comparisons."""
        return Agreement(self.classes, self.counts + other.counts)

    @property
    def kappa(self) -> float:
        """Cohen's kappa: 1 for full agreement, 0 for as much as chance gives; NaN where there is but one class."""
        share = self.counts / max(self.counts.sum(), 1)
        chance = float((share.sum(axis=0) * share.sum(axis=1)).sum())
        return _ratio(float(np.trace(share)) - chance, 1 - chance)

    def iou(self, name: str) -> float:
        """Intersection over union of a class; NaN where it is in neither."""
        hit, expected, found = self._sums(name)
        return _ratio(hit, expected + found - hit)

    def recall(self, name: str) -> float:
        """Share of the reference's pixels of a class that were found."""
        hit, expected, _ = self._sums(name)
        return _ratio(hit, expected)

    def precision(self, name: str) -> float:
        """Share of the pixels found that are of the class."""
        hit, _, found = self._sums(name)
        return _ratio(hit, found)

    def scores(self) -> Mapping[str, float]:
        """Return kappa, and the three ratios of every class but the first."""
        ratios = {"iou": self.iou, "recall": self.recall, "precision": self.precision}
        each = {f"{name} {key}": ratio(name) for name in self.classes[1:] for key, ratio in ratios.items()}
        return {"kappa": self.kappa, **each}

    def _sums(self, name: str) -> tuple[float, float, float]:
        place = self.classes.index(name)
        return tuple(
            float(n) for n in (self.counts[place, place], self.counts[place].sum(), self.counts[:, place].sum())
        )  # type: ignore[return-value]


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
