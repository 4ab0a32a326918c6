"""Methods of the accessor are the functions that they stand for, in signature and in words."""

from __future__ import annotations

import contextlib
import inspect
import operator

import numpy as np
import pytest
import toys  # noqa: F401 - registers the toy model
import xarray as xr

import xr_cloudmask
from xr_cloudmask import CloudMaskError, describe, indices, predict, simulate
from xr_cloudmask.accessor import CloudmaskAccessor
from xr_cloudmask.cube.reflectance import to_reflectance
from xr_cloudmask.export import to_cog
from xr_cloudmask.masks import agreement, comparison, coverage, labels, morphology, pieces
from xr_cloudmask.masks.quality import from_quality
from xr_cloudmask.names import MASK_NAME
from xr_cloudmask.plot import overview
from xr_cloudmask.series import composite, select
from xr_cloudmask.series.refine import refine

METHODS = {
    "describe": describe,
    "reflectance": to_reflectance,
    "predict": predict,
    "indices": indices,
    "with_mask": predict,
    "from_quality": from_quality,
    "apply": select.apply,
    "filter": select.filter_dates,
    "composite": composite.composite,
    "refine": refine,
    "dilate": morphology.dilate,
    "erode": morphology.erode,
    "opening": morphology.opening,
    "closing": morphology.closing,
    "drop_specks": pieces.drop_specks,
    "fill_holes": pieces.fill_holes,
    "coverage": coverage.coverage,
    "clear": labels.clear,
    "to_scheme": labels.to_scheme,
    "compare": comparison.compare,
    "score": agreement.score,
    "plot": overview,
    "to_cog": to_cog,
}
SHAPES = ("dilate", "erode", "opening", "closing", "drop_specks", "fill_holes")
OBJECT = {"refine": "cube"}  # argument that is the object, where it is not the first


@pytest.mark.parametrize("name", METHODS)
def test_a_method_has_the_signature_of_its_function(name):
    method = inspect.signature(getattr(CloudmaskAccessor, name))
    function = inspect.signature(METHODS[name])
    taken = OBJECT.get(name, next(iter(function.parameters)))
    expected = {key: value for key, value in function.parameters.items() if key != taken}
    found = dict(list(method.parameters.items())[1:])
    assert list(found) == list(expected)
    for key, value in expected.items():
        assert found[key].kind == value.kind, key
        if name != "refine" or key != "mask":  # the cube's own by default
            assert found[key].default == value.default, key
        stated = str(value.annotation).replace("layout.Cube", "Cube")
        assert str(found[key].annotation) == stated, key


@pytest.mark.parametrize("name", METHODS)
def test_a_method_has_the_text_of_its_function(name):
    text, whole = getattr(CloudmaskAccessor, name).__doc__, inspect.getdoc(METHODS[name])
    if name == "with_mask":
        assert text.startswith("Return the cube with its mask")
    else:
        assert text.splitlines()[0] == whole.splitlines()[0]
    for line in whole.splitlines():
        if line.startswith("Returns") or (
            " : " in line and not line.startswith(("cube :", "mask :", "obj :", "mask, other :"))
        ):
            assert line in text
    assert "\ncube : " not in text


def test_every_method_says_what_it_is_for():
    cube = simulate.series(dates=1, size=(32, 32)).drop_vars("truth")
    mask = predict(cube, "toy", resolution="native")
    of_masks = {"coverage", "clear", "to_scheme", "to_cog", "compare", "score", *SHAPES}
    assert set(dir(cube.cloudmask)) == {*METHODS, "descriptors"} - of_masks
    assert dir(mask.cloudmask) == dir(mask[MASK_NAME].cloudmask)
    assert dir(mask.cloudmask) == sorted({*of_masks, "plot"})
    both = cube.cloudmask.with_mask("toy", resolution="native")
    assert set(dir(both.cloudmask)) == {*dir(cube.cloudmask), *dir(mask.cloudmask)}
    for name in {*dir(both.cloudmask)}:
        assert len(getattr(CloudmaskAccessor, name).__doc__.splitlines()) > 5


OPERATORS = (operator.eq, operator.ne, operator.lt, operator.ge, operator.add, operator.and_, operator.mul)


@pytest.mark.parametrize("of", OPERATORS)
def test_the_accessor_is_not_the_mask(of):
    out = predict(simulate.series(dates=1, size=(32, 32)).drop_vars("truth"), "toy", resolution="native")
    for attempt in (lambda: of(out.cloudmask, 0), lambda: of(0, out.cloudmask), lambda: ~out.cloudmask):
        with pytest.raises(CloudMaskError, match=f"the mask is object\\['{MASK_NAME}'\\]"):
            attempt()
    with pytest.raises(CloudMaskError):
        np.asarray(out.cloudmask)
    with pytest.raises(CloudMaskError):
        bool(out.cloudmask)
    with pytest.raises(AttributeError, match=f"the mask is object\\['{MASK_NAME}'\\]"):
        out.cloudmask.values  # noqa: B018
    assert isinstance(hash(out.cloudmask), int)


def test_accessors_are_on_datasets_and_arrays():
    assert isinstance(xr.Dataset().cloudmask, CloudmaskAccessor)
    assert isinstance(xr.DataArray(0).cloudmask, CloudmaskAccessor)
    assert xr_cloudmask.describe is describe


NO_NAMES = (None, np.nan, {"a": 1}, ..., np.array([1, 2]), np.array(0.3), 10**400, True)


@pytest.mark.parametrize("odd", NO_NAMES, ids=str)
@pytest.mark.parametrize("method", ["to_scheme", "clear", "composite", "indices", "describe", "from_quality", *SHAPES])
def test_arguments_of_odd_types_are_one_error(method, odd):
    cube = simulate.series(dates=2, size=(16, 16)).rename(truth="cloud_mask")
    with contextlib.suppress(CloudMaskError):
        getattr(cube.cloudmask, method)(odd)


@pytest.mark.parametrize("odd", [*NO_NAMES[1:], "0.3", "30%", b"x", (0.1, 0.3), 30, -1], ids=str)
def test_a_limit_is_a_fraction(odd):
    cube = simulate.series(dates=2, size=(16, 16)).rename(truth="cloud_mask")
    if isinstance(odd, np.ndarray) and odd.ndim == 0:
        assert cube.cloudmask.filter(max_cloud=odd).sizes == cube.cloudmask.filter(max_cloud=float(odd)).sizes
        return
    with pytest.raises(CloudMaskError, match="a fraction from 0 to 1"):
        cube.cloudmask.filter(max_cloud=odd)


@pytest.mark.parametrize("odd", [*NO_NAMES, "25", -1, 101], ids=str)
def test_a_percentile_is_a_number(odd):
    cube = simulate.series(dates=2, size=(16, 16)).rename(truth="cloud_mask")
    with pytest.raises(CloudMaskError, match="a number from 0 to 100"):
        cube.cloudmask.composite("percentile", percentile=odd)
