"""Random fields and patterns: what clouds and landscapes are drawn from; lengths in pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from xr_cloudmask.simulate.light import Floats

Shape = tuple[int, ...]


def noise(rng: np.random.Generator, shape: Shape, cell: float, slope: float, stretch: float = 1.0) -> Floats:
    """Return a periodic Gaussian field, zero mean and unit variance, with most of its power around `cell` pixels."""
    from scipy import fft

    wind = rng.uniform(0, np.pi)
    fy, fx = np.meshgrid(fft.fftfreq(shape[0]), fft.rfftfreq(shape[1]), indexing="ij")
    along, across = fx * np.cos(wind) + fy * np.sin(wind), fy * np.cos(wind) - fx * np.sin(wind)
    frequency = np.hypot(along * stretch, across) * cell
    amplitude = (1 + frequency**2) ** (-slope / 4) * frequency / np.hypot(frequency, 0.35)
    spectrum = np.empty(amplitude.shape, "complex64")
    spectrum.real, spectrum.imag = rng.standard_normal((2, *amplitude.shape), dtype="float32") * amplitude
    field = fft.irfft2(spectrum, s=shape)
    unit: Floats = (field / field.std()).astype("float32")
    return unit


def rough(rng: np.random.Generator, shape: Shape, slope: float) -> Floats:
    """Return a field without a scale of its own: `noise` with the size of the scene as its cell."""
    return noise(rng, shape, max(shape), slope)


def blend(field: Floats, threshold: float, sharpness: float) -> Floats:
    """Return a field as a share, 0 to 1, that rises through a threshold."""
    share: Floats = 1 / (1 + np.exp(np.clip(sharpness * (threshold - field), -30, 30)))
    return share


def line(rng: np.random.Generator, shape: Shape, slope: float, width: float) -> Floats:
    """Return a winding line `width` pixels across as a share of each pixel: a level of a smooth field."""
    field = rough(rng, shape, slope)
    steepness = np.hypot(*np.gradient(field)) + 1e-3
    distance = np.abs(field - rng.normal(0, 0.5)) / steepness
    share: Floats = np.clip(width / 2 + 0.5 - distance, 0, 1).astype("float32")
    return share


def parcels(rng: np.random.Generator, shape: Shape, size: float, square: bool) -> tuple[npt.NDArray[np.intp], Any]:
    """Return the number of each pixel's parcel, parcels `size` pixels across, and whether it lies on a boundary.

    Squares are rows of plots of uneven length in a random direction; others are the cells around scattered points.
    """
    turn, bend = rng.uniform(0, np.pi), rng.choice([0, 0.004, 0.02]) * max(shape)
    rows, columns = (axis + bend * rough(rng, shape, 3.5) for axis in np.indices(shape, dtype="float32"))
    along = (columns * np.cos(turn) + rows * np.sin(turn)) / size
    across = (rows * np.cos(turn) - columns * np.sin(turn)) / size
    if square:
        row = np.floor(along * rng.uniform(0.6, 2)).astype(int)
        within = (across + rng.random(4096)[row % 4096]) * rng.uniform(0.6, 1.5)
        return np.abs(row * 7919 + np.floor(within).astype(int) * 104729), within % 1 < 1 / size
    return _cells(rng, rows, columns, size)


def _cells(rng: np.random.Generator, rows: Floats, columns: Floats, size: float) -> tuple[npt.NDArray[np.intp], Any]:
    from scipy.spatial import KDTree

    count = int((rows.shape[0] / size + 2) * (rows.shape[1] / size + 2))
    points = rng.uniform((-size, -size), (rows.shape[0] + size, rows.shape[1] + size), size=(count, 2))
    distances, nearest = KDTree(points).query(np.stack([rows.ravel(), columns.ravel()], axis=1), k=2)
    between = distances[:, 1] - distances[:, 0]
    return nearest[:, 0].reshape(rows.shape), (between < 1.0).reshape(rows.shape)
