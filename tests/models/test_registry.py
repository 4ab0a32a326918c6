"""Models explain themselves: to people by cards, to programs by STAC items, and a broken one leaves the others be."""

from __future__ import annotations

import copy
import json
import pickle
import re
from importlib.metadata import EntryPoint

import pystac
import pytest
from paths import ROOT, TESTS
from pystac.validation import JsonSchemaSTACValidator, RegisteredValidator

import xr_cloudmask
from xr_cloudmask.errors import ModelError
from xr_cloudmask.models import cards, items, registry

SCHEMAS = TESTS / "stac_schemas"
# The extension refers to an older version than that of the schema that is here; the fields used are the same.
CLASSIFICATION = "https://stac-extensions.github.io/classification/v1.1.0/schema.json"


@pytest.fixture
def _published_schemas(monkeypatch):
    """Let pystac find the schemas of extensions on disk."""
    validator = JsonSchemaSTACValidator()
    for path in SCHEMAS.glob("*.json"):
        published = json.loads(path.read_text())
        validator.schema_cache[published["$id"].rstrip("#")] = published
        if path.name.startswith("classification"):
            validator.schema_cache[CLASSIFICATION] = {**published, "$id": CLASSIFICATION}
    monkeypatch.setattr(RegisteredValidator, "_validator", validator)


@pytest.mark.usefixtures("_published_schemas")
def test_every_model_is_a_valid_item():
    made = xr_cloudmask.model_items()
    assert len(made) == len({item.id for item in made}) == len(xr_cloudmask.models())
    for item in made:
        item.validate()


@pytest.mark.usefixtures("_published_schemas")
@pytest.mark.parametrize(
    "spoil",
    [
        lambda item: item.properties.pop("mlm:input"),
        lambda item: item.properties.update({"mlm:name": "4-4A"}),
        lambda item: item.properties["mlm:output"][0]["classification:classes"][0].pop("value"),
        lambda item: item.assets["model"].extra_fields.pop("mlm:artifact_type"),
    ],
)
def test_the_schema_would_notice(spoil):
    (item, *_) = xr_cloudmask.model_items()
    spoil(item)
    with pytest.raises(pystac.STACValidationError):
        item.validate()


def test_an_item_says_what_goes_in_and_what_comes_out():
    item = next(item for item in xr_cloudmask.model_items() if item.id == "csmask-4b_l1c")
    (enters,), (leaves,) = item.properties["mlm:input"], item.properties["mlm:output"]
    assert enters["bands"] == ["blue", "green", "red", "nir"]
    assert enters["input"] == {
        "shape": [-1, 4, 768, 768], "dim_order": ["batch", "channel", "height", "width"], "data_type": "float32"
    }  # fmt: skip
    assert [entry["name"] for entry in leaves["classification:classes"]] == ["clear", "thick_cloud", "cloud_shadow"]
    assert item.properties["license"] == "Apache-2.0"
    assert item.assets["model"].extra_fields["xr-cloudmask:sha256"] == registry._SPECS["csmask"][2].sha256


def test_an_item_of_any_bands_names_none():
    item = next(item for item in xr_cloudmask.model_items() if item.id == "universal-v2")
    (enters,) = item.properties["mlm:input"]
    assert enters["bands"] == []
    assert enters["input"]["shape"][1] == -1


def test_every_model_of_this_package_has_a_card():
    assert {spec.name for spec in registry.specs() if "xr_cloudmask" in spec.loader} >= set(cards.CARDS)
    for name in cards.CARDS:
        assert "unknown" not in xr_cloudmask.model_card(name)


@pytest.mark.parametrize("name", sorted(cards.CARDS))
def test_the_page_of_models_has_their_cards(name):
    assert xr_cloudmask.model_card(name) in (ROOT / "docs" / "models.md").read_text()


def test_a_card_of_no_model():
    with pytest.raises(ModelError, match="csmask"):
        xr_cloudmask.model_card("csmsk")


SPEC = """from xr_cloudmask import ModelSpec
SPEC = ModelSpec(name="plugged", variant="v", version="1", bands=(("red",),), level="TOA", classes=("clear",), window=8,
                 halo=0, multiple=1, gsd=1.0, licence="", citation="", loader="a:b", {more})
"""


@pytest.fixture
def plugged(monkeypatch, tmp_path):
    """Install a package with an entry point, whose module has some text."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "_SPECS", dict(registry._SPECS))
    registry._discover.cache_clear()

    def install(text, name):
        (tmp_path / f"{name}.py").write_text(text)
        entry = EntryPoint("plugged", f"{name}:SPEC", registry.ENTRY_POINTS)
        monkeypatch.setattr(registry, "entry_points", lambda group: [entry])

    yield install
    registry._discover.cache_clear()


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("plug_exit", "import sys; sys.exit(3)", "SystemExit: 3"),
        ("plug_import", "import no_such_package", "no_such_package"),
        ("plug_syntax", "SPEC =", "SyntaxError"),
        ("plug_other", "SPEC = 5", "int"),
        ("plug_kinds", SPEC.format(more="kinds=None"), "kinds=None of type NoneType"),
        ("plug_bands", SPEC.format(more="").replace('(("red",),)', "5"), "bands=5 of type int"),
        ("plug_size", SPEC.format(more="").replace("window=8", "window=0"), "window=0"),
        ("plug_list", SPEC.format(more="weights=[]"), "not hashable"),
        ("plug_taken", SPEC.format(more="").replace("plugged", "csmask"), "csmask"),
    ],
)
def test_a_broken_plug_in_is_left_out(plugged, name, text, why):
    plugged(text, name)
    with pytest.warns(UserWarning, match=re.escape(why)):
        table = xr_cloudmask.models()
    assert "plugged" not in table.index.get_level_values("model")
    assert len(table) == len(xr_cloudmask.model_items())


@pytest.mark.usefixtures("_published_schemas")
def test_a_plug_in_whose_packages_are_missing_is_listed(plugged):
    plugged(SPEC.format(more='requires=("no_such_package.part",), install="pip install it"'), "plug_requires")
    assert xr_cloudmask.models().loc[("plugged", "v"), "what to type"] == "pip install it"
    assert "registered" in xr_cloudmask.model_card("plugged")
    items.item_of(registry.variants("plugged")[0]).validate()


def test_the_package_that_is_called_goes_to_other_processes():
    assert pickle.loads(pickle.dumps(xr_cloudmask.models)) is xr_cloudmask.models
    assert copy.deepcopy(xr_cloudmask.models) is xr_cloudmask.models
