"""The rule of ``model="auto"``, as a table: which model takes a cube with which bands, and why.

The page of models has the measurements that defend it. To change the rule is to change a line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xr_cloudmask.cube.bands import BandDescriptor
from xr_cloudmask.models.base import ModelSpec

NAME = "auto"


@dataclass(frozen=True)
class Choice:
    """A line of the rule.

    Attributes
    ----------
    model : str
    why : str
        What the mask's attribute ``model_choice`` says.
    needs : tuple of str
        Roles of bands without which the line is passed over, whatever the model itself needs.
    variants : tuple of str
        Of the model, where not all of them are meant.
    """

    model: str
    why: str
    needs: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()

    def meant(self, known: Mapping[str, Sequence[ModelSpec]]) -> list[ModelSpec]:
        """Return the model's variants that are meant, best first."""
        return [spec for spec in known[self.model] if not self.variants or spec.variant in self.variants]

    def fitting(
        self, known: Mapping[str, Sequence[ModelSpec]], descriptors: Sequence[BandDescriptor]
    ) -> list[ModelSpec]:
        """Return those of them that fit a cube's bands."""
        if not {band.role for band in descriptors} >= set(self.needs):
            return []
        return [spec for spec in self.meant(known) if spec.inputs(descriptors)]


# The first line that fits the cube's bands, whatever is installed. On labelled patches and simulated worlds the four
# bands of csmask find overcast skies that its six miss, and call less sand, salt and turbid water cloud.
CHOICES = (
    Choice(
        "csmask",
        "of single networks its four bands agreed best with labelled scenes, mixed, clear and overcast",
        variants=("4b_l1c", "4b_l2a"),
    ),
    Choice("universal", "it takes any bands, and csmask's are not all there"),
)


def fitting(
    known: Mapping[str, Sequence[ModelSpec]], descriptors: Sequence[BandDescriptor], choices: Sequence[Choice] = CHOICES
) -> list[ModelSpec]:
    """Return the variants that fit, of the first line that has any."""
    found = (choice.fitting(known, descriptors) for choice in choices)
    return next(filter(None, found), [])


def reason(spec: ModelSpec) -> str:
    """Say why a model is taken."""
    return next(
        one.why for one in CHOICES if one.model == spec.name and spec.variant in (one.variants or [spec.variant])
    )
