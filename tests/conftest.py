"""What every test gets: no network, no display, reproducible properties."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Iterator

os.environ["MPLBACKEND"] = "Agg"

settings.register_profile(
    "ci",
    deadline=None,
    max_examples=25,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("ci")

LOCAL_HOSTS = ("127.0.0.1", "::1", "localhost")


class NetworkBlockedError(RuntimeError):
    """A test tried to leave this machine. No OSError: libraries catch those and go on."""


@pytest.fixture(autouse=True, scope="session")
def _no_network() -> Iterator[None]:
    def guard(connect: Any) -> Any:
        def checked(sock: socket.socket, address: Any) -> Any:
            # Connecting a datagram socket sends nothing; dask.distributed does it to learn its own address.
            local = sock.family == socket.AF_UNIX or sock.type == socket.SOCK_DGRAM or address[0] in LOCAL_HOSTS
            if not local:
                raise NetworkBlockedError(f"connection to {address}")
            return connect(sock, address)

        return checked

    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex"):
            patch.setattr(socket.socket, name, guard(getattr(socket.socket, name)))
        yield
