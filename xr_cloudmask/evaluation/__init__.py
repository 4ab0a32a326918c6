"""Score models on scenes whose truth is known: labelled patches, cubes that carry a mask, public sets."""

from xr_cloudmask.datasets.labelled import Labelled
from xr_cloudmask.evaluation.benchmarks import benchmark
from xr_cloudmask.evaluation.report import Report
from xr_cloudmask.evaluation.scenes import CODES, PatchLayout, evaluate, read
from xr_cloudmask.masks.judging import most_probable

__all__ = ["CODES", "Labelled", "PatchLayout", "Report", "benchmark", "evaluate", "most_probable", "read"]
