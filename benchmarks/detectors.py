"""Detectors of others beside themselves: in one process, in turns."""

from __future__ import annotations

import warnings

import numpy as np

from benchmarks.common import row, seconds

SIZE, TURNS = 1024, 3
BANDS = ("B01", "B02", "B04", "B05", "B08", "B8A", "B09", "B10", "B11", "B12")
BRIGHTNESS = (0.5, 0.5, 0.5, 0.5, 0.6, 0.6, 0.3, 0.02, 0.4, 0.3)  # of a cloud, in terms of the brightest


def detectors() -> None:
    """s2cloudless through us and by itself: speed, labels, probabilities."""
    import xarray as xr
    from scipy import ndimage

    import xr_cloudmask
    from xr_cloudmask.extras import has

    if not has("s2cloudless") or not has("cv2"):
        row("s2cloudless", "not measured: pip install 'xr-cloudmask[s2cloudless]'")
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from s2cloudless import S2PixelCloudDetector
    random = np.random.default_rng(0)
    cloud = ndimage.gaussian_filter(random.random((SIZE, SIZE)), 6)
    cloud = (cloud - cloud.min()) / (cloud.max() - cloud.min())
    image = np.stack([cloud * share for share in BRIGHTNESS]) + random.normal(0, 0.01, (len(BANDS), SIZE, SIZE))
    image = image.clip(1e-3, 1).astype("float32")
    attrs = {"platform": "Sentinel-2A", "level": "TOA", "reflectance_provenance": "made for this table"}
    cube = xr.Dataset({name: (("y", "x"), band) for name, band in zip(BANDS, image, strict=True)}, attrs=attrs)
    theirs, detector = np.moveaxis(image, 0, -1)[None], S2PixelCloudDetector()

    def ours() -> object:
        return xr_cloudmask.predict(cube, "s2cloudless")

    def peer() -> object:
        return detector.get_cloud_masks(theirs)

    ours()
    detector.get_cloud_masks(theirs[:, :64, :64])
    mine, other = np.median([[seconds(one, 1) for one in (ours, peer)] for _ in range(TURNS)], axis=0)
    megapixels = SIZE * SIZE / 1e6
    out = xr_cloudmask.predict(cube, "s2cloudless", probabilities=True)
    differing = int((out["cloud_mask"].values != detector.get_cloud_masks(theirs)[0]).sum())
    chances = out["probability"].sel({"class": "thick_cloud"}).values
    furthest = float(np.abs(chances - detector.get_cloud_probability_maps(theirs)[0]).max())
    row("s2cloudless, its own detector", f"{megapixels / other:.2f} megapixels/s")
    row("s2cloudless, xr_cloudmask", f"{megapixels / mine:.2f} megapixels/s, {other / mine:.1f} × its own")
    row("s2cloudless, labels that differ; largest difference of probability", f"{differing}; {furthest:.1g}")
