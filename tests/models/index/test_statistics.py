"""The compiled loops behind exact statistics are what NumPy and fractions say."""

import math
from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from xr_cloudmask.models.index import kernels, statistics
from xr_cloudmask.models.index.statistics import Order

# Few numbers, often the same ones; and any double, of any size.
NUMBERS = st.sampled_from([-2.5, -1.0, 0.5, 0.75, 3.0]) | st.floats(allow_nan=False).filter(bool)
ARRAYS = hnp.arrays("float64", st.integers(0, 50), elements=NUMBERS)
SHARES = hnp.arrays("float64", st.integers(1, 60), elements=st.floats(-1, 1) | st.sampled_from([0.0, math.nan, 0.25]))


@given(ARRAYS, ARRAYS)
def test_distinct_values_are_numpys_and_merge(one, other):
    counted = [kernels.distinct(values) for values in (one, other, np.concatenate([one, other]))]
    for values, found in zip((one, other), counted, strict=False):
        for ours, numpys in zip(found, np.unique(values, return_counts=True), strict=True):
            np.testing.assert_array_equal(ours, numpys)
    for ours, whole in zip(kernels.merge(*counted[0], *counted[1]), counted[2], strict=True):
        np.testing.assert_array_equal(ours, whole)


@given(SHARES, SHARES, st.integers(1, 60))
def test_a_tally_is_what_numpy_counts_however_it_is_cut(first, second, size):
    orders = Order(((-0.5, 0.25), (0.25, math.inf)), 1.0), Order(((-math.inf, 0.0),), None)
    length = min(first.size, second.size)
    both = np.stack([first[:length], second[:length]])
    tally = statistics.Tally(*orders)
    for begin in range(0, length, size):
        tally.add(both[:, begin : begin + size])
    for i, order in enumerate(orders):
        found, values = tally.result(i), both[i][(both[i] != 0) & ~np.isnan(both[i])]
        assert found.count == values.size
        assert found.minimum == values.min(initial=math.inf)
        assert found.maximum == values.max(initial=-math.inf)
        for kept, (low, high) in zip(found.kept, order.brackets, strict=True):
            assert kept.below == np.count_nonzero(values < low)
            inside = values[(values >= low) & (values <= high)]
            np.testing.assert_array_equal(np.repeat(kept.values, kept.counts), np.sort(inside))
        cut = Fraction(1, 2**36)  # 2**-37 of the power of two above the largest
        summed = order.largest is not None
        for total, addends in ((found.total, values), (found.squares, values**2)):
            assert total == summed * sum(round(Fraction(float(value)) / cut) * cut for value in addends)


def test_more_values_than_are_held_at_a_time(monkeypatch):
    values = np.random.default_rng(0).random(1000)
    monkeypatch.setattr(statistics, "HELD", 150)
    tally = statistics.Tally(Order(((0.0, 1.0),), 1.0))
    for part in np.split(values, 10):
        tally.add(part)
    np.testing.assert_array_equal(tally.result().kept[0].values, np.sort(values))
    assert abs(float(tally.result().total) - math.fsum(values)) < values.size * 2**-36
