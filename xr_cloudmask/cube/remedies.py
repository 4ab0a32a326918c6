"""What errors tell people to type, where several of them do."""

ATTACH = "xr_cloudmask.stac.attach(cube, items)"
