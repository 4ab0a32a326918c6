"""Prepare xr_cloudmask/simulate/vegetation.npz: canopy and soil spectra for the simulator.

    pip install prosail==2.0.5 && python tools/prepare_spectra.py xr_cloudmask/simulate/vegetation.npz

PROSAIL (Jacquemoud et al. 2009, https://doi.org/10.1016/j.rse.2008.01.026) is run once, here; the package itself does
not need it. Every fourth canopy is senescent. Sun, view and canopy are drawn at random, so the spectra are directional
reflectances as satellites see them.
"""

from __future__ import annotations

import sys

import numpy as np
import prosail
from prosail.spectral_library import get_spectra

CANOPIES = 240
STEP = 5  # nm; the model computes 400–2500 nm at 1 nm
LAST = 2400 - 400


def canopy(rng: np.random.Generator) -> np.ndarray:
    """Return one canopy's reflectance at 1 nm."""
    chlorophyll, brown = rng.uniform(10, 70), rng.choice([0, rng.uniform(0, 1)])
    carotenoids = chlorophyll / rng.uniform(4, 7)
    if rng.random() < 0.25:
        chlorophyll, brown = chlorophyll / 4, rng.uniform(0.2, 1.5)
    return prosail.run_prosail(
        n=rng.uniform(1.2, 2.2),
        cab=chlorophyll,
        car=carotenoids,
        cbrown=brown,
        cw=10 ** rng.uniform(-2.3, -1.5),
        cm=rng.uniform(0.002, 0.015),
        lai=rng.uniform(0.3, 6),
        lidfa=rng.uniform(30, 70),
        hspot=rng.uniform(0.01, 0.3),
        tts=rng.uniform(15, 65),
        tto=rng.uniform(0, 8),
        psi=0.0,
        ant=rng.choice([0, rng.uniform(0, 10)]),
        rsoil=rng.uniform(0.4, 1.4),
        psoil=rng.uniform(0, 1),
    )


def main(path: str) -> None:
    """Draw the canopies and save every fifth nanometre."""
    rng = np.random.default_rng(0)
    canopies = np.stack([canopy(rng) for _ in range(CANOPIES)])
    soils = get_spectra().soil
    stored = {"canopies": canopies, "soils": np.stack([soils.rsoil1, soils.rsoil2])}
    thinned = {name: values[:, : LAST + 1 : STEP].astype("float16") for name, values in stored.items()}
    np.savez_compressed(path, **thinned)


if __name__ == "__main__":
    main(*sys.argv[1:])
