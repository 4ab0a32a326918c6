"""The page on the architecture is about the code as it is."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
from paths import DOCS, ROOT

PAGE = DOCS / "architecture.md"


@pytest.fixture(scope="module")
def tool():
    return runpy.run_path(str(ROOT / "tools" / "draw_architecture.py"))


def test_the_picture_shows_the_imports_of_today(tool):
    assert tool["PICTURE"].read_text() == tool["draw"](), "run: python tools/draw_architecture.py"


def test_every_package_is_described(tool):
    described = re.findall(r"^\| `(\w+)` \|", PAGE.read_text(), re.MULTILINE)
    assert described == tool["layers"]()


def test_files_that_are_named_exist():
    for page in (PAGE, ROOT / "CONTRIBUTING.md"):
        named = re.findall(r"`((?:xr_cloudmask|tests|tools|benchmarks|docs)/[\w/.-]*)`", page.read_text())
        assert named
        assert [name for name in named if not (ROOT / name).exists()] == []


def test_first_files_are_where_the_page_links_to():
    links = re.findall(r"\]\(\.\./([^)#]+)\)", PAGE.read_text())
    assert [link for link in links if not Path(ROOT / link).exists()] == []
