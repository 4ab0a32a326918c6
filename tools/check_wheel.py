"""Build wheel and sdist, install the wheel into an empty environment, and use it away from the source tree.

``python tools/check_wheel.py``, or ``--without torch``; needs uv. Prints how long it takes and what it weighs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
UV = (sys.executable, "-m", "uv")
FOLDER = "Scripts" if os.name == "nt" else "bin"
# One model by networks that others trained, one by our own; torch is not imported by either.
USE = """
import json, sys, importlib.metadata, pathlib
import xr_cloudmask
assert pathlib.Path(xr_cloudmask.__file__).is_relative_to(sys.prefix), xr_cloudmask.__file__
cube = xr_cloudmask.simulate.series(dates=1, size=(128, 128)).drop_vars("truth")
kinds = {name: cube.cloudmask.predict(name, precision="fp32", device="cpu") for name in ("csmask", "universal")}
assert "torch" not in sys.modules
table = xr_cloudmask.models()
print(json.dumps({name: float(found["cloud_fraction"][0]) for name, found in kinds.items()}))
"""
COUNT = "import importlib.metadata as m, json; print(json.dumps(sorted({d.name for d in m.distributions()})))"


def call(*command: str | Path, cwd: Path) -> str:
    """Run a command; show what it says where it fails."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=cwd, env=environment)  # noqa: S603
    if done.returncode:
        sys.exit(f"{command}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def install(folder: Path, python: str, without: list[str], pins: list[str]) -> Path:
    """Build, and install the wheel into an empty environment; return that."""
    call(*UV, "build", "--quiet", "--out-dir", folder / "dist", cwd=ROOT)
    (wheel,) = (folder / "dist").glob("*.whl")
    call(*UV, "venv", "--quiet", "--python", python, folder / "venv", cwd=folder)
    overrides = folder / "overrides.txt"
    overrides.write_text("".join(f"{name} ; python_version < '0'\n" for name in without))
    target = ("--python", folder / "venv" / FOLDER / "python", "--override", overrides)
    call(*UV, "pip", "install", "--quiet", *target, wheel, *pins, cwd=folder)
    return folder / "venv"


def main() -> None:
    """Check it and say what it takes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default=sys.executable, help="of the environment; default: this one")
    parser.add_argument("--without", action="append", default=[], metavar="PACKAGE", help="leave out")
    parser.add_argument("--pin", action="append", default=[], metavar="PACKAGE==VERSION", help="install too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        begun = time.perf_counter()
        venv = install(folder, arguments.python, arguments.without, arguments.pin)
        installed = time.perf_counter()
        sizes = (path.stat().st_size for path in venv.rglob("*") if path.is_file() and path.suffix != ".pyc")
        size = sum(sizes)
        names = json.loads(call(venv / FOLDER / "python", "-c", COUNT, cwd=folder))
        if set(arguments.without) & set(names):
            sys.exit(f"{arguments.without} came along")
        print(call(venv / FOLDER / "python", "-c", USE, cwd=folder).strip())
        used = time.perf_counter()
        demo = call(venv / FOLDER / "xr-cloudmask", "demo", "-o", folder / "demo", cwd=folder)
        shown = time.perf_counter()
        call(venv / FOLDER / "xr-cloudmask", "predict", folder / "demo" / "composite.tif", "--help", cwd=folder)
    print("\n".join(demo.splitlines()[-8:]))
    without = f" without {', '.join(arguments.without)}" * bool(arguments.without)
    print(
        f"wheel{without}: {len(names)} distributions, {size / 1e6:.0f} MB; built and installed in "
        f"{installed - begun:.0f} s, first masks in {used - installed:.0f} s, demo in {shown - used:.0f} s"
    )


if __name__ == "__main__":
    main()
