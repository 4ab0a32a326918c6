"""The lattice covers every pixel once, with enough halo, and tiles partition its windows."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xr_cloudmask.engine.lattice import Axis, batches, fit, tiles
from xr_cloudmask.errors import ModelError

axes = st.tuples(st.integers(1, 3000), st.integers(1, 20).map(lambda k: 32 * k), st.integers(0, 100)).filter(
    lambda args: 2 * args[2] < args[1]
)


@given(axes)
def test_windows_cover_the_axis_once_and_keep_their_halo(args):
    size, window, halo = args
    axis = fit(size, window, halo, 32)
    assert axis.edges[0] == 0
    assert axis.edges[-1] == size
    assert axis.window <= window
    assert axis.window % 32 == 0
    assert len(axis) == 1 or axis.window <= size
    for start, (first, last) in zip(axis.starts, pairwise(axis.edges), strict=True):
        assert first < last
        assert start >= 0
        assert start + axis.window <= max(size, axis.window)
        assert first == 0 or first - start >= halo
        assert last == size or start + axis.window - last >= halo


@given(axes)
def test_no_fewer_windows_would_do(args):
    size, window, halo = args
    axis = fit(size, window, halo, 32)
    assert len(axis) == 1 or (len(axis) - 1) * (window - 2 * halo) < size - 2 * halo


@given(axes, st.integers(1, 4), st.integers(1, 6), st.data())
def test_tiles_partition_the_windows(args, factor, most, data):
    size, window, halo = args
    axis = fit(size, window, halo, 32)
    ends = data.draw(st.lists(st.integers(1, size * factor), max_size=5).map(sorted))
    begins = tiles(axis, factor, ends, most)
    assert begins[0] == 0
    assert begins[-1] == len(axis)
    assert all(0 < b - a <= most for a, b in pairwise(begins))


def test_tiles_end_near_the_chunks():
    axis = fit(10980, 512, 32, 32)
    chunks = [2048, 4096, 6144, 8192, 10240]
    begins = tiles(axis, 1, chunks, most=100)
    ends = [axis.edges[i] for i in begins[1:-1]]
    assert all(abs(end - chunk) <= axis.window // 2 for end, chunk in zip(ends, chunks, strict=True))


def test_batches_visit_every_window_once():
    visited = [window for batch in batches(range(2, 5), range(3), 4) for window in batch]
    assert visited == [(i, j) for i in (2, 3, 4) for j in range(3)]


def test_reach_stays_inside_the_array():
    assert fit(1000, 512, 32, 32).reach(1, 3) == (320, 1000)
    assert fit(5, 512, 32, 32).reach(0, 1) == (0, 5)


@pytest.mark.parametrize(("window", "halo"), [(500, 32), (0, 0), (64, 32), (512, -1)])
def test_impossible_windows_are_refused(window, halo):
    with pytest.raises(ModelError, match="multiple of 32"):
        fit(1000, window, halo, 32)


def test_one_pixel():
    assert fit(1, 512, 32, 32) == Axis(1, 32, (0,), (0, 1))
