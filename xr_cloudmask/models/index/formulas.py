"""The spectral indices, one function each: arrays of any shape in, an array of that shape out, or numbers.

What spyndex defines comes from there where it is asked for by name, see `xr_cloudmask.indices`. These are the ones that
spyndex lacks, or that a pipeline needs at full speed: `kernels` compiles them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Values = Any  # numbers or arrays of them

# How a pan band would see blue, green and red; the mean that whiteness is measured against.
PAN = (0.25, 0.375, 0.375)


def ndvi(red: Values, nir: Values) -> Values:
    """Return the normalised difference vegetation index, -1 to 1.

    Source: Rouse et al. (1974), NASA SP-351, 309-317.

    Examples
    --------
    >>> ndvi(np.array([0.1]), np.array([0.3]))
    array([0.5])
    """
    return (nir - red) / (nir + red)


def whiteness(blue: Values, green: Values, red: Values, weights: tuple[float, float, float] = (1 / 3,) * 3) -> Values:
    """Return how far blue, green and red are from their (weighted) mean, in units of it; 0 is grey.

    Source: Gomez-Chova et al. (2007), https://doi.org/10.1109/LGRS.2006.888105; as a sum of ratios Zhu & Woodcock
    (2012), https://doi.org/10.1016/j.rse.2011.10.028.

    Examples
    --------
    >>> whiteness(np.array([0.2]), np.array([0.2]), np.array([0.2])).round(12)
    array([0.])
    """
    mean = weights[0] * blue + weights[1] * green + weights[2] * red
    return (np.abs(blue - mean) + np.abs(green - mean) + np.abs(red - mean)) / mean


def hot(blue: Values, red: Values, slope: float = 0.5, offset: float = 0.08) -> Values:
    """Return the haze-optimised transformation: distance from the line that clear surfaces lie on.

    Source: Zhang, Guindon & Cihlar (2002), https://doi.org/10.1016/S0034-4257(02)00034-2.

    Examples
    --------
    >>> hot(np.array([0.4]), np.array([0.4]))
    array([0.12])
    """
    return blue - slope * red - offset


def cloud_index(blue: Values, green: Values, red: Values, nir: Values) -> Values:
    """Return near infrared over the mean of the visible bands: about 1 for clouds, more for vegetation.

    Source: Zhai et al. (2018), https://doi.org/10.1016/j.isprsjprs.2018.07.006.

    Examples
    --------
    >>> cloud_index(*(np.array([value]) for value in (0.1, 0.1, 0.1, 0.3))).round(12)
    array([3.])
    """
    return 3 * nir / (blue + green + red)


def ndsi(green: Values, swir16: Values) -> Values:
    """Return the normalised difference snow index, -1 to 1.

    Source: Hall, Riggs & Salomonson (1995), https://doi.org/10.1016/0034-4257(95)00137-P.

    Examples
    --------
    >>> ndsi(np.array([0.75]), np.array([0.25]))
    array([0.5])
    """
    return (green - swir16) / (green + swir16)


def nscd(blue: Values, red: Values, nir: Values) -> Values:
    """Return the difference of blue to a share of red and of near infrared: high for clouds, low for bare soil.

    Examples
    --------
    >>> nscd(np.array([0.4]), np.array([0.4]), np.array([0.5]))
    array([0.14])
    """
    return blue - 0.45 * red - 0.16 * nir
