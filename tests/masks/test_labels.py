"""Schemes, their flags and the way between them."""

import cf_xarray  # noqa: F401 - registers .cf, the independent judge of the flags
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from xr_cloudmask.errors import CloudMaskError
from xr_cloudmask.masks.labels import Labeller, clear, mask_of, to_scheme
from xr_cloudmask.masks.schemes import SCHEME_NAMES, SCHEMES, VOCABULARY, flag_attrs, scheme_for, scheme_of

CSMASK = ("clear", "thick_cloud", "cloud_shadow")


def mask(codes, scheme="cloudsen12", dask=False):
    out = xr.DataArray(
        np.asarray(codes, "uint8"), dims=("y", "x"), attrs=flag_attrs(SCHEMES[scheme]), name="cloud_mask"
    )
    return out.chunk(x=1) if dask else out


@pytest.mark.parametrize("scheme", list(SCHEMES.values()), ids=list(SCHEMES))
def test_schemes_are_sound(scheme):
    codes = [entry.code for entry in scheme.classes]
    assert len({*codes, scheme.no_data}) == len(codes) + scheme.tells_no_data
    assert scheme.tells_no_data or any("no_data" in entry.gathers for entry in scheme.classes)
    assert all(set(entry.gathers) <= set(VOCABULARY) for entry in scheme.classes)
    gathered = [name for entry in scheme.classes for name in entry.gathers]
    assert len(gathered) == len(set(gathered))
    assert all(" " not in entry.name for entry in scheme.classes)


@pytest.mark.parametrize("name", list(SCHEMES))
def test_flags_are_cf(name):
    attrs = flag_attrs(SCHEMES[name])
    assert attrs["standard_name"] == "status_flag"
    assert attrs["flag_values"].dtype == np.uint8
    assert len(attrs["flag_values"]) == len(attrs["flag_meanings"].split()) == len(attrs["flag_colors"].split())


@pytest.mark.parametrize("name", list(SCHEMES))
def test_cf_xarray_reads_the_flags(name):
    scheme = SCHEMES[name]
    codes = [entry.code for entry in scheme.classes] + [scheme.no_data] * scheme.tells_no_data
    out = mask([codes], name)
    for code, meaning in zip(codes, out.attrs["flag_meanings"].split(), strict=True):
        np.testing.assert_array_equal((out.cf == meaning).values, out.values == code)


@pytest.mark.parametrize("dask", [False, True])
def test_to_scheme_keeps_what_every_class_means(dask):
    source = mask([[0, 1, 2, 3, 255]], dask=dask)
    assert to_scheme(source, "binary").values.tolist() == [[0, 1, 1, 0, 255]]
    assert to_scheme(source, "validity").values.tolist() == [[0, 1, 1, 1, 255]]
    assert to_scheme(source, "cloudsen12").identical(source)
    sensei = mask([[0, 1, 2, 3, 4, 5, 6]], "sensei", dask=dask)
    out = to_scheme(sensei, "cloudsen12")
    assert out.values.tolist() == [[0, 0, 0, 2, 1, 3, 255]]
    assert out.attrs["scheme"] == "cloudsen12"
    assert out.dtype == np.uint8
    assert (out.chunks is not None) == dask


@pytest.mark.parametrize(
    ("source", "target"), [("cloudsen12", "sensei"), ("binary", "validity"), ("validity", "binary")]
)
def test_to_scheme_refuses_to_invent(source, target):
    with pytest.raises(CloudMaskError, match="tells apart"):
        to_scheme(mask([[0]], source), target)


@pytest.mark.parametrize("name", ["cloudsen13", "native", ""])
def test_to_scheme_knows_its_names(name):
    with pytest.raises(CloudMaskError, match="cloudsen12"):
        to_scheme(mask([[0]]), name)


def test_unknown_scheme_for_a_prediction():
    with pytest.raises(CloudMaskError, match="native"):
        scheme_for("cloudsen13", CSMASK)


def test_native_scheme_is_the_models_own():
    scheme = scheme_for("native", CSMASK)
    assert [(entry.code, entry.name) for entry in scheme.classes] == list(enumerate(CSMASK))
    out = xr.DataArray(np.uint8([[0, 1, 2]]), dims=("y", "x"), attrs=flag_attrs(scheme))
    assert to_scheme(out, "cloudsen12").values.tolist() == [[0, 1, 3]]


@pytest.mark.parametrize("name", [name for name in SCHEME_NAMES if name != "sensei"])
def test_scheme_is_read_back_from_flags_alone(name):
    scheme = scheme_for(name, CSMASK)
    attrs = flag_attrs(scheme)
    out = xr.DataArray(np.uint8([[0]]), dims=("y", "x"), attrs={k: attrs[k] for k in ("flag_values", "flag_meanings")})
    assert [(c.code, c.name) for c in scheme_of(out).classes] == [(c.code, c.name) for c in scheme.classes]
    assert scheme_of(out).no_data == scheme.no_data


def test_clear_is_what_is_neither_cloud_nor_shadow():
    assert clear(mask([[0, 1, 2, 3, 255]])).values.tolist() == [[True, False, False, False, False]]
    assert clear(mask([[0, 1, 2, 3, 4, 5, 6]], "sensei")).values.tolist() == [[True] * 3 + [False] * 4]
    assert clear(mask([[0, 1, 255]], "validity")).values.tolist() == [[True, False, False]]
    assert clear(mask([[0, 2]]), keep=["clear", "thin_cloud"]).values.tolist() == [[True, True]]
    with pytest.raises(CloudMaskError, match="'fog'"):
        clear(mask([[0]]), keep="fog")


def test_mask_of_finds_the_mask():
    out = mask([[0]])
    assert mask_of(out) is out
    assert mask_of(out.to_dataset()).identical(out)
    cube = xr.DataArray(np.zeros((1, 1)), dims=("y", "x")).assign_coords(cloud_mask=out.variable)
    assert mask_of(cube).attrs["scheme"] == "cloudsen12"
    with pytest.raises(CloudMaskError, match="without a 'cloud_mask'"):
        mask_of(xr.DataArray(np.zeros((1, 1)), dims=("y", "x")))
    with pytest.raises(CloudMaskError, match="flag_values"):
        scheme_of(xr.DataArray(np.zeros((1, 1), "uint8"), dims=("y", "x")))


@given(hnp.arrays("float32", (3, 4, 5), elements=st.floats(0, 1, width=32)))
def test_labeller_labels_the_most_probable_class(probabilities):
    labeller = Labeller.of(SCHEMES["cloudsen12"], CSMASK)
    expected = np.array([0, 1, 3], "uint8")[probabilities.argmax(axis=0)]
    np.testing.assert_array_equal(labeller.label(probabilities), expected)


def test_labeller_sums_before_it_decides():
    labeller = Labeller.of(SCHEMES["binary"], ("land", "water", "thin_cloud", "thick_cloud"))
    probabilities = np.float32([0.4, 0.0, 0.3, 0.3])[:, None, None]
    assert labeller.gather(probabilities)[:, 0, 0] == pytest.approx([0.4, 0.6])
    assert labeller.label(probabilities).tolist() == [[1]]


def test_labeller_refuses_a_scheme_without_room():
    with pytest.raises(CloudMaskError, match="room for \\['clear'\\]"):
        Labeller.of(SCHEMES["sensei"], CSMASK)
