"""What a band is, as 74 numbers: the descriptor that SEnSeIv2 networks read.

Source: Francis (2024), IEEE TGRS, https://doi.org/10.1109/TGRS.2024.3391625
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from xr_cloudmask.cube.bands import BandDescriptor

WAVE = 32  # numbers per wavelength
SIZE = 2 * WAVE + 10
SPECTRAL, RADAR, ELEVATION, THERMAL, MULTITEMPORAL = 64, 65, 66, 67, 73
LOW, HIGH, BOTH = slice(0, WAVE), slice(WAVE, 2 * WAVE), slice(0, 2 * WAVE)

# Which positions are 1, by kind; the first two kinds of bands also carry their wavelengths.
FLAGS: dict[str, tuple[int | slice, ...]] = {
    "reflectance": (SPECTRAL,),
    "brightness_temperature": (SPECTRAL, THERMAL),
    "normalised_brightness_temperature": (SPECTRAL, THERMAL),
    "SAR VV": (RADAR, LOW),
    "SAR VH": (RADAR, HIGH),
    "SAR Angle": (RADAR, BOTH),
    "DEM": (ELEVATION,),
    "fill": (),
}


def encode(descriptors: Sequence[BandDescriptor]) -> npt.NDArray[np.float32]:
    """Encode band descriptors.

    Parameters
    ----------
    descriptors : sequence of BandDescriptor
        Of the kinds in `FLAGS`.

    Returns
    -------
    ndarray
        float32 ``(band, 74)``.

    Examples
    --------
    >>> encode([BandDescriptor("B02", "blue", 446.0, 542.0)]).shape
    (1, 74)
    """
    encoded = np.zeros((len(descriptors), SIZE), "float32")
    for row, descriptor in zip(encoded, descriptors, strict=True):
        flags = FLAGS[descriptor.kind]
        for position in flags:
            row[position] = 1
        if SPECTRAL in flags:
            row[LOW], row[HIGH] = _wave(descriptor.min_wavelength), _wave(descriptor.max_wavelength)
            row[MULTITEMPORAL] = descriptor.multitemporal
    return encoded


def _wave(nanometres: float) -> npt.NDArray[np.float64]:
    """Encode a wavelength as sines and cosines of falling frequency.

    The exponent runs over all numbers, not over pairs of a sine and a cosine as usual: trained weights expect that.
    """
    i = np.arange(WAVE)
    angle = nanometres / 10000.0 ** (2 * i / WAVE)
    return np.where(i % 2 == 0, np.sin(angle), np.cos(angle))
