"""Compiled loops work where nothing can be written, as in containers."""

import numba
import numpy as np
import pytest

from xr_cloudmask import compiled


def double(values, out):
    for i in range(values.size):
        out[i] = 2 * values[i]


@pytest.mark.parametrize("writable", [True, False])
def test_a_place_to_keep_compiled_code_is_not_needed(monkeypatch, writable):
    njit = numba.njit

    def nowhere(**options):
        if options.get("cache"):
            raise RuntimeError("cannot cache function 'double': no locator available for file")
        return njit(**options)

    if not writable:
        monkeypatch.setattr(compiled, "njit", nowhere)
    values, out = np.arange(4.0), np.empty(4)
    compiled.compiled(double)(values, out)
    np.testing.assert_array_equal(out, 2 * values)
