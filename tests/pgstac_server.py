"""The pgstac stack on 127.0.0.1: PostgreSQL with PostGIS and pgstac, and stac-fastapi-pgstac in front of it.

Its packages pin versions of their own, so they live in an environment of their own:

    python -m venv pgstac && pgstac/bin/pip install 'pypgstac[psycopg]' stac-fastapi.pgstac uvicorn
    apt-get install postgresql postgresql-15-postgis-3
    XR_CLOUDMASK_PGSTAC=$PWD/pgstac/bin/python pytest -m pgstac
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path

import stac_server

PYTHON = os.environ.get("XR_CLOUDMASK_PGSTAC", "")
USER = "postgres"  # PostgreSQL will not run as root; Debian's package makes this one


def missing() -> str:
    """Return what the stack lacks here, or nothing."""
    if not PYTHON:
        return "XR_CLOUDMASK_PGSTAC does not name the Python of a pgstac stack"
    programs = _programs()
    if programs is None:
        return "PostgreSQL is not installed"
    shared = (programs.parent / "share", Path("/usr/share/postgresql"))
    found = any(path for folder in shared for path in folder.rglob("postgis.control"))
    return "" if found else "PostGIS is not installed"


def _programs() -> Path | None:
    """Return the folder of initdb and postgres, which Debian keeps off the path."""
    initdb = shutil.which("initdb") or next(map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb")), None)
    return Path(initdb).resolve().parent if initdb else None


@contextmanager
def serve(items: list[dict]):
    """Serve items, as JSON has them, and collections for them; yield the address of the API."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pgstac-api-")))
        environment = stack.enter_context(database())
        _load(items, folder, environment)
        port = stac_server.free_port()
        app = [PYTHON, "-m", "uvicorn", "stac_fastapi.pgstac.app:create_app", "--factory", "--port", str(port)]
        process = stack.enter_context(_process(app, folder / "api.log", env=environment))
        stac_server.wait(f"http://127.0.0.1:{port}", process)
        yield f"http://127.0.0.1:{port}"


@contextmanager
def database():
    """Run an empty database with pgstac; yield the environment in which programs find it."""
    with tempfile.TemporaryDirectory(prefix="pgstac-") as folder, _postgres(Path(folder)) as environment:
        # pypgstac waits for the database by itself.
        for command in ("pgready", "migrate"):
            pypgstac(command, environment=environment)
        yield environment


def pypgstac(*arguments: str, environment: dict[str, str]) -> None:
    """Run a command of pypgstac."""
    command = [str(Path(PYTHON).with_name("pypgstac")), *arguments]
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)


def address(environment: dict[str, str], password: str = "-") -> str:
    """Return the address of a database that was started here."""
    user, host, port, name = (environment[f"PG{part}"] for part in ("USER", "HOST", "PORT", "DATABASE"))
    return f"postgresql://{user}:{password}@{host}:{port}/{name}"


@contextmanager
def _postgres(folder: Path):
    """Run a database of our own; yield the environment in which programs find it."""
    programs, port = _programs(), stac_server.free_port()
    other = {"user": USER} if os.geteuid() == 0 else {}
    if other:
        shutil.chown(folder, USER)
    data = folder / "data"
    initdb = [programs / "initdb", "-D", data, "-U", "stac", "-A", "trust", "-E", "UTF8", "--no-sync"]
    subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, cwd=folder, **other)
    options = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off"}
    settings = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
    command = [programs / "postgres", "-D", data, "-p", str(port), *settings]
    address = {
        "PGHOST": "127.0.0.1",
        "PGPORT": str(port),
        "PGUSER": "stac",
        "PGPASSWORD": "-",
        "PGDATABASE": "postgres",
    }
    with _process(command, folder / "postgres.log", cwd=folder, **other):
        yield os.environ | address


def _load(items: list[dict], folder: Path, environment: dict[str, str]) -> None:
    names = sorted({item["collection"] for item in items})
    content = {"collections": [stac_server.collection(name) for name in names], "items": items}
    for kind, entries in content.items():
        path = folder / f"{kind}.ndjson"
        path.write_text("\n".join(map(json.dumps, entries)))
        pypgstac("load", kind, str(path), environment=environment)


@contextmanager
def _process(command: list, log: Path, **keywords):
    with log.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, **keywords)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(stac_server.START)
