"""Scores of masks: what is counted, and what is not."""

import numpy as np
import pytest
import xarray as xr

from xr_cloudmask.errors import CloudMaskError
from xr_cloudmask.masks.agreement import Agreement, score
from xr_cloudmask.masks.schemes import SCHEMES, flag_attrs


def test_agreement_counts_what_both_see():
    truth = xr.DataArray(np.uint8([[0, 0, 1, 2, 3, 255]]), dims=("y", "x"), attrs={"scheme": "cloudsen12"})
    mask = truth.copy(data=np.uint8([[0, 1, 1, 1, 3, 0]]))
    agreement = score(mask, truth, classes="clouds_and_shadows")
    scores = agreement.table()[["IoU", "recall", "precision"]]
    assert scores.loc["cloud"].tolist() == pytest.approx([2 / 3, 1, 2 / 3])
    assert scores.loc["clear"].tolist() == pytest.approx([1 / 2, 1 / 2, 1])
    assert scores.loc["cloud_shadow"].tolist() == [1, 1, 1]
    assert agreement.kappa == pytest.approx((4 / 5 - 9 / 25) / (1 - 9 / 25))


def test_schemes_need_not_be_the_same():
    fine = xr.DataArray(np.uint8([[0, 1, 2, 3, 4, 5, 6]]), dims=("y", "x"), attrs=flag_attrs(SCHEMES["sensei"]))
    coarse = xr.DataArray(np.uint8([[0, 0, 0, 2, 1, 3, 1]]), dims=("y", "x"), attrs=flag_attrs(SCHEMES["cloudsen12"]))
    assert score(coarse, fine, classes="clouds_and_shadows").counts.tolist() == [[3, 0, 0], [0, 2, 0], [0, 0, 1]]


def test_a_scheme_without_shadow_cannot_be_judged():
    binary = xr.DataArray(np.uint8([[0, 1]]), dims=("y", "x"), attrs=flag_attrs(SCHEMES["binary"]))
    with pytest.raises(CloudMaskError, match="binary"):
        score(binary, binary, classes="clouds_and_shadows")


def test_pooling_adds_pixels():
    one = Agreement.of(np.uint8([0, 1]), np.uint8([0, 1]))
    both = one + Agreement.of(np.uint8([2, 2]), np.uint8([2, 0]))
    assert both.counts.sum() == 4
    assert both.table().loc["cloud_shadow", "recall"] == 0.5


def test_what_is_not_there_has_no_score():
    nothing = Agreement.of(np.uint8([0, 0]), np.uint8([0, 0]))
    assert np.isnan(nothing.kappa)
    assert np.isnan(Agreement.of(np.uint8([255]), np.uint8([0])).kappa)
    assert nothing.table().loc["cloud"].isna().all()


def test_dimensions_are_told_by_name():
    truth = xr.DataArray(np.uint8([[0, 1, 2], [3, 3, 0]]), dims=("y", "x"), attrs=flag_attrs(SCHEMES["cloudsen12"]))
    assert score(truth.transpose("x", "y"), truth, classes="clouds_and_shadows").kappa == 1
    square = truth[:, :2]
    assert score(square.transpose("x", "y"), square, classes="clouds_and_shadows").kappa == 1


@pytest.mark.parametrize(
    "other",
    [
        lambda m: m.expand_dims(time=2),
        lambda m: m[:, 1:],
        lambda m: m.rename(x="lon"),
        lambda m: (m / 1.0).assign_attrs(m.attrs),
    ],
)
def test_masks_that_do_not_lie_on_each_other_are_refused(other):
    truth = xr.DataArray(np.zeros((2, 3), "uint8"), dims=("y", "x"), attrs=flag_attrs(SCHEMES["cloudsen12"]))
    with pytest.raises(CloudMaskError, match="a mask of"):
        score(other(truth), truth, classes="clouds_and_shadows")
