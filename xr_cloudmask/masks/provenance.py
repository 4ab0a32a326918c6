"""How a mask was made, in attributes that every file format can hold."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from xr_cloudmask.cube.described import TOLD
from xr_cloudmask.engine.tile import Job
from xr_cloudmask.models.fit import Fit
from xr_cloudmask.models.merging import summary
from xr_cloudmask.names import MODEL_WARNING


def of_model(fit: Fit) -> dict[str, Any]:
    """Say which model made a mask, of which bands, and what the caller said of the cube."""
    spec, told = fit.spec, fit.cube.told
    said = {"model_choice": fit.why and f"auto: {fit.why}", "model_note": spec.note, MODEL_WARNING: spec.warning}
    return (
        {
            "model": spec.name,
            "model_variant": spec.variant,
            "model_version": spec.version,
            "model_classes": " ".join(spec.classes),
            "model_licence": spec.licence,
            "model_citation": spec.citation,
            "bands": summary(fit.used, fit.merged),
            "software": f"xr-cloudmask {version('xr-cloudmask')}",
        }
        | ({TOLD: told.text()} if told else {})
        | {name: text for name, text in said.items() if text}
    )


def of_scenes(fit: Fit) -> dict[str, Any]:
    """Say how a mask was made of whole scenes."""
    return of_model(fit) | {"resolution": fit.ground.spelt(unknown="native"), "thresholds": repr(fit.spec.thresholds)}


def of_windows(fit: Fit, job: Job, note: str | None) -> dict[str, Any]:
    """Say how a mask was made window by window, from reflectance."""
    shadows = _of_shadows(fit.ground.pixel is None, job) if job.spec.casts_shadows else {}
    limits = {} if job.spec.thresholds is None else {"thresholds": repr(job.spec.thresholds)}
    return (
        of_model(fit)
        | {
            "weights_sha256": job.spec.sha256,
            "precision": job.spec.precision,
            "level": fit.cube.level or "unknown",
            "reflectance_provenance": fit.cube.provenance_of(fit.used),
            "window": f"{job.rows.window} x {job.columns.window}",
            "resolution": fit.ground.spelt(job.factor, unknown="native"),
        }
        | ({} if note is None else {"resolution_note": note})
        | limits
        | shadows
    )


def _of_shadows(unknown_size: bool, job: Job) -> dict[str, Any]:
    """Say by which thresholds, and where shadows were looked for."""
    limits, known = job.spec.thresholds, [one for one in job.suns if one.shift is not None]
    blind = [one for one in job.suns if one.shift is None]
    where = []
    if known:
        highest = min(one.highest(limits.height[1]) for one in known)
        where.append(f"along the sun's direction, of clouds up to {highest:.0f} m")
    if blind:
        furthest = min(one.furthest(limits.reach) for one in blind)
        why = f"{len(blind)} of {len(job.suns)} sun directions are unknown"
        if unknown_size:
            why = f"the pixel size is unknown, and taken for {job.spec.gsd:g} m"
        where.append(f"on all sides of clouds, up to {furthest:.0f} m from them: {why}")
    return {"shadows_looked_for": "; ".join(where)}
