"""Where things are: this project, and data beside it that may be absent."""

from pathlib import Path

TESTS = Path(__file__).parent
ROOT = TESTS.parent
DOCS = ROOT / "docs"
SHARED = ROOT.parent / "shared"
LABELLED = SHARED / "data/sentinel2_l1c_labelled.npz"
