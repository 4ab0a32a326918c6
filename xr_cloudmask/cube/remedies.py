"""What to type to give a cube the metadata that it lacks."""

from __future__ import annotations

ATTACH = "xr_cloudmask.stac.attach(cube, items)"
