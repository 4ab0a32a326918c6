"""Models as STAC items with the machine learning model extension, for catalogues and programs.

Source: https://github.com/stac-extensions/mlm, version 1.4.0.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from xr_cloudmask.models import registry
from xr_cloudmask.models.base import ModelSpec
from xr_cloudmask.models.cards import card_of

if TYPE_CHECKING:
    from pystac import Item

EXTENSION = "https://stac-extensions.github.io/mlm/v1.4.0/schema.json"
BANDS = "https://stac-extensions.github.io/eo/v1.1.0/schema.json"
WORLD = (-180.0, -90.0, 180.0, 90.0)
LANDSAT_1, NO_END = "1972-07-23T00:00:00Z", "9999-12-31T23:59:59Z"
TASK = "semantic-segmentation"
ORDER = ["batch", "channel", "height", "width"]
ANY_SIZE = -1
LICENCE = r"[\w.+-]+"  # an identifier, such as those of SPDX


def model_items() -> list[Item]:
    """Describe every model variant for machines: its input, output, licence and files.

    Returns
    -------
    list of pystac.Item
        With the fields ``mlm:*``: the bands in their order, the shape of a window, the classes. Nothing is loaded.

    Examples
    --------
    >>> [item.id for item in model_items()][:2]
    ['csmask-6b_l1c', 'csmask-6b_l2a']
    """
    return [item_of(spec) for spec in registry.specs()]


def item_of(spec: ModelSpec) -> Item:
    """Describe a model variant."""
    from pystac import Asset, Item
    from pystac.utils import str_to_datetime

    west, south, east, north = WORLD
    corners = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    card = card_of(spec)
    item = Item(
        _named(f"{spec.name}-{spec.variant}", "-"),
        {"type": "Polygon", "coordinates": [corners]},
        list(WORLD),
        None,
        _properties(spec),
        start_datetime=str_to_datetime(LANDSAT_1),
        end_datetime=str_to_datetime(NO_END),
        stac_extensions=[EXTENSION, BANDS] if spec.bands else [EXTENSION],
    )
    fields: dict[str, Any] = {"mlm:artifact_type": card.artefact}
    if spec.sha256:
        fields["xr-cloudmask:sha256"] = spec.sha256
    if spec.bands:
        fields["eo:bands"] = [{"name": roles[0], "description": " or ".join(roles)} for roles in spec.bands]
    item.add_asset("model", Asset(card.where, title=card.summary, roles=["mlm:model"], extra_fields=fields))
    return item


def _properties(spec: ModelSpec) -> dict[str, Any]:
    card = card_of(spec)
    size = {"gsd": spec.gsd} if spec.gsd else {}
    return size | {
        "title": f"{spec.name} {spec.variant}",
        "description": f"{card.summary} {card.limits}",
        "license": spec.licence if re.fullmatch(LICENCE, spec.licence) else "other",
        "sci:citation": spec.citation,
        "version": spec.version,
        "mlm:name": _named(f"xr-cloudmask {spec.name} {spec.variant}", " "),
        "mlm:architecture": card.architecture,
        "mlm:framework": card.framework,
        "mlm:tasks": [TASK],
        "mlm:input": [_input(spec)],
        "mlm:output": [_output(spec)],
        "mlm:hyperparameters": {
            "window": spec.window,
            "halo": spec.halo,
            "multiple": spec.multiple,
            "level": spec.level,
            "precisions": list(spec.precisions),
        },
    }


def _input(spec: ModelSpec) -> dict[str, Any]:
    bands = [roles[0] for roles in spec.bands]
    return {
        "name": "reflectance",
        "description": f"{spec.needs}; level {spec.level}",
        "bands": bands,
        "input": _array(len(bands) or ANY_SIZE, spec, "float32"),
    }


def _output(spec: ModelSpec) -> dict[str, Any]:
    classes = [
        {"value": code, "name": name, "description": name.replace("_", " ")} for code, name in enumerate(spec.classes)
    ]
    return {
        "name": "probability of each class",
        "tasks": [TASK],
        "result": _array(len(spec.classes), spec, "float32"),
        "classification:classes": classes,
    }


def _array(channels: int, spec: ModelSpec, dtype: str) -> dict[str, Any]:
    side = spec.window if spec.context == "window" else ANY_SIZE
    return {"shape": [ANY_SIZE, channels, side, side], "dim_order": ORDER, "data_type": dtype}


def _named(text: str, filling: str) -> str:
    """Return a name of the characters that the extension allows."""
    return re.sub(r"[^a-zA-Z0-9_.\- ]+", filling, text)
