"""What a model is, what it learnt from and what it cannot do: a card for people, and facts for machines."""

from __future__ import annotations

from dataclasses import dataclass

from xr_cloudmask.models import registry
from xr_cloudmask.models.base import ANY_LEVEL, ModelSpec


@dataclass(frozen=True)
class Card:
    """What a model's specification does not say.

    Attributes
    ----------
    summary : str
        What it is.
    architecture, framework : str
    learnt_from : str
        Data that it was trained on, or what its rules were made for.
    limits : str
        Where it is wrong, or cannot be used.
    artefact : str
        What its files are.
    where : str
        Address of its files, or of the package that brings them.
    """

    summary: str
    architecture: str = "unknown"
    framework: str = "unknown"
    learnt_from: str = "unknown"
    limits: str = "unknown"
    artefact: str = "unknown"
    where: str = "https://pypi.org/project/xr-cloudmask/"


CARDS = {
    "csmask": Card(
        summary="Four U-Nets of the German Aerospace Center, from the package ukis-csmask.",
        architecture="U-Net",
        framework="ONNX",
        learnt_from="SPARCS (Landsat 8) and CloudSEN12+ (Sentinel-2), at about 30 m",
        limits="It needs blue, green, red and near infrared, and the level. It has one class of cloud: "
        "thin cloud that it sees is called thick.",
        artefact="onnx",
        where="https://pypi.org/project/ukis-csmask/",
    ),
    "universal": Card(
        summary="A network of this package for any two or more optical bands, one of them visible.",
        architecture="residual U-Net whose first convolution is generated from wavelengths",
        framework="ONNX",
        learnt_from="simulated worlds of this package; no real scene",
        limits="Fewer bands make it worse. It was measured on few real scenes; see its page in the documentation.",
        artefact="safetensors",
    ),
    "universal-1": Card(
        summary="The first version of universal, kept for results that must be as they were.",
        architecture="residual U-Net whose first convolution is generated from wavelengths",
        framework="ONNX",
        learnt_from="simulated worlds of this package as they were at first; no real scene",
        limits="It calls cold ice cloud snow, misses overcast scenes, and uses no thermal bands.",
        artefact="safetensors",
    ),
    "ensemble": Card(
        summary="The mean of csmask's two networks and of universal's with and without short-wave infrared.",
        architecture="mean of the probabilities of U-Nets",
        framework="ONNX",
        learnt_from="what its networks have learnt from",
        limits="It takes as long as all of its networks together. A model whose bands are not there is left out, "
        "and the mask says so.",
        artefact="onnx",
    ),
    "sensei": Card(
        summary="SEnSeIv2, a sensor-independent network. The user brings its weights.",
        architecture="SEnSeIv2 with SegFormer",
        framework="PyTorch",
        learnt_from="labelled scenes of several sensors; see the paper",
        limits="It needs torch. The licence of the official weights is GPL-3.0.",
        artefact="torch.save",
        where="https://huggingface.co/aliFrancis/SEnSeIv2",
    ),
    "4-4A": Card(
        summary="The pipeline of spectral indices of the 4-4A notebook, exact in every step.",
        architecture="thresholds on spectral indices of a whole scene",
        framework="xr-cloudmask",
        learnt_from="nothing: its rules were made for scenes of CBERS-4A",
        limits="It stretches each scene: a crop has other labels, and a scene that is all cloud may seem clear.",
        artefact="python",
    ),
    "physical": Card(
        summary="Rules of reflectance and temperature, each from a published source.",
        architecture="thresholds on spectral indices and temperature",
        framework="xr-cloudmask",
        learnt_from="nothing: its thresholds are from the literature",
        limits="It needs reflectance. Without short-wave infrared, concrete, salt and snow look like cloud to it; "
        "with thermal infrared, polar plateaus below 235 K.",
        artefact="python",
    ),
    "s2cloudless": Card(
        summary="Sentinel Hub's cloud detector. The user's package s2cloudless brings the model.",
        architecture="gradient-boosted trees on the ten bands of a pixel",
        framework="LightGBM",
        learnt_from="Sentinel-2 Level-1C scenes with masks of MAJA; see its documentation",
        limits="It has no shadow and no thin cloud. It takes Sentinel-2 Level-1C alone, with B10.",
        artefact="lightgbm",
        where="https://pypi.org/project/s2cloudless/",
    ),
    "cloudsen12": Card(
        summary="CloudSEN12's network for Sentinel-2 Level-2A. The user's package sentle brings it.",
        architecture="U-Net",
        framework="PyTorch",
        learnt_from="CloudSEN12 (Sentinel-2)",
        limits="It is not for commercial use. It needs torch, and twelve bands of Level-2A at 10 m.",
        artefact="torch.jit.save",
        where="https://pypi.org/project/sentle/",
    ),
}


def card_of(spec: ModelSpec) -> Card:
    """Return the card of a model; of another package's model what its specification says."""
    return CARDS.get(spec.name, Card(f"Model {spec.name}, which another package or the user registered."))


def model_card(name: str) -> str:
    """Describe a model for people.

    Parameters
    ----------
    name : str
        As in ``predict(model=name)``.

    Returns
    -------
    str
        Markdown. Nothing is loaded.

    Raises
    ------
    ModelError
        Unknown name.

    Examples
    --------
    >>> print(model_card("csmask").splitlines()[0])
    ## csmask
    """
    variants = registry.variants(name)
    first = variants[0]
    card = card_of(first)
    levels = sorted({spec.level for spec in variants})
    facts = {
        "bands": "; or ".join(dict.fromkeys(spec.needs for spec in variants)),
        "level": "any" if levels == [ANY_LEVEL] else " or ".join(levels),
        "classes": ", ".join(first.classes),
        "pixel size": f"{first.gsd:g} m, at which it was trained" if first.gsd else "any",
        "architecture": card.architecture,
        "learnt from": card.learnt_from,
        "limits": card.limits,
        "licence": first.licence or "unknown",
        "source": first.citation or "unknown",
        "sha256": ", ".join(f"`{one[:12]}…`" for spec in variants for one in spec.sha256.split()) or "none",
    }
    lines = [f"## {name}", "", card.summary, "", "| | |", "|---|---|"]
    return "\n".join([*lines, *(f"| {fact} | {text} |" for fact, text in facts.items())])
