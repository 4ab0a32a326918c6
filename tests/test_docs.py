"""What the documentation shows is what the package does: notebooks, README and pages run as written."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from paths import ROOT
from products import write_raster

BIN = Path(sys.executable).parent
README = ROOT / "README.md"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def run(*command: str | Path, cwd: Path) -> None:
    """Run a command; a failure shows what it printed."""
    done = subprocess.run(command, check=False, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout[-6000:]


@pytest.mark.slow
@pytest.mark.skipif(not (BIN / "jupyter-execute").exists(), reason="it needs the extra docs")
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(notebook: Path, tmp_path: Path) -> None:
    run(BIN / "jupyter-execute", "--timeout=120", shutil.copy(notebook, tmp_path), cwd=tmp_path)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_kept_with_its_outputs(notebook: Path) -> None:
    code = [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]
    outputs = [output for cell in code for output in cell["outputs"]]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert [output for output in outputs if output.get("name") == "stderr" or output["output_type"] == "error"] == []


@pytest.mark.slow
def test_readme_examples_run_as_written(tmp_path: Path) -> None:
    numbers = np.random.default_rng(2).integers(300, 4000, (4, 96, 96), "uint16")
    write_raster(tmp_path / "image.tif", numbers)
    write_raster(tmp_path / "photo.tif", (numbers[:3] // 16).astype("uint8"))
    examples = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(examples) == 2
    warnings = ("-W", "error", "-W", "ignore:Use `@` matmul:PendingDeprecationWarning")  # rioxarray, see pyproject.toml
    run(sys.executable, *warnings, "-c", "\n".join(examples), cwd=tmp_path)
    for line in re.findall(r"^xr-cloudmask predict (?!.*SAFE)(.*)$", README.read_text(), re.MULTILINE):
        run(BIN / "xr-cloudmask", "predict", *line.split(), cwd=tmp_path)


@pytest.mark.parametrize("page", [README, *sorted((ROOT / "docs").glob("*.md"))], ids=lambda path: path.name)
def test_links_to_files_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.slow
@pytest.mark.skipif(not (BIN / "sphinx-build").exists(), reason="it needs the extra docs")
def test_documentation_builds_without_warnings(tmp_path: Path) -> None:
    run(BIN / "sphinx-build", "-W", "--keep-going", "-q", "-b", "html", ROOT / "docs", tmp_path / "html", cwd=ROOT)
