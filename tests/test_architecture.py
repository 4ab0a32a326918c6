"""What people who carry on read is about the code as it is."""

from __future__ import annotations

import re
import runpy
from importlib.metadata import version

import pytest
import yaml
from paths import DOCS, ROOT

import xr_cloudmask
from xr_cloudmask.models import registry

PAGE = DOCS / "architecture.md"


@pytest.fixture(scope="module")
def tool():
    return runpy.run_path(str(ROOT / "tools" / "draw_architecture.py"))


def test_the_picture_shows_the_imports_of_today(tool):
    assert tool["PICTURE"].read_text() == tool["draw"](), "run: python tools/draw_architecture.py"


def test_every_package_is_described(tool):
    described = re.findall(r"^\| `(\w+)` \|", PAGE.read_text(), re.MULTILINE)
    assert described == tool["layers"]()


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "SECURITY.md", "docs/architecture.md"])
def test_files_that_are_named_exist(page):
    folders = "xr_cloudmask|tests|tools|benchmarks|docs|notebooks"
    text = (ROOT / page).read_text()
    named = re.findall(rf"(?<![\w/])((?:{folders})/[\w/.-]*\w)", text) + re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
    places = [(ROOT / name, (ROOT / page).parent / name) for name in named]
    assert [place for place in places if not any(path.exists() for path in place)] == []


def test_the_citation_is_that_of_the_package():
    facts = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert facts["version"] == version("xr-cloudmask")
    cited = {reference.get("doi") for reference in facts["references"]}
    for name in xr_cloudmask.models().index.unique("model"):
        for spec in registry.variants(name):
            assert set(re.findall(r"doi:(\S+)", spec.citation)) <= cited
