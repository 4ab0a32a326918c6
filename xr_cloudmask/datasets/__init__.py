"""Public sets of labelled scenes: what is in their files, what their codes mean, and what others have scored."""

from xr_cloudmask.datasets.labelled import Labelled
from xr_cloudmask.datasets.table import SETS, PublicSet, Published, scenes

__all__ = ["SETS", "Labelled", "PublicSet", "Published", "scenes"]
