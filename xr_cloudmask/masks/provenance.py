"""How a mask was made, in attributes that every file format can hold."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from xr_cloudmask.cube.described import TOLD
from xr_cloudmask.engine.tile import Job
from xr_cloudmask.models.fit import Fit


def of_model(fit: Fit) -> dict[str, Any]:
    """Say which model made a mask, of which bands, and what the caller said of the cube."""
    spec, told = fit.spec, fit.cube.told
    return {
        "model": spec.name,
        "model_variant": spec.variant,
        "model_version": spec.version,
        "model_classes": " ".join(spec.classes),
        "model_licence": spec.licence,
        "model_citation": spec.citation,
        "bands": " ".join(band.name for band in fit.used),
        "software": f"xr-cloudmask {version('xr-cloudmask')}",
    } | ({TOLD: told.text()} if told else {})
