"""Ensembles are means of networks over one reading of a cube, exact for every chunking, and say what is in them."""

import dask
import numpy as np
import pytest
import toys
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from paths import TESTS
from toy_cubes import ROLES, SCENE, chunked, cube, refuse

import xr_cloudmask
from xr_cloudmask import BandDescriptor, Catalog, CloudMaskError, ModelError, cli, evaluation, predict
from xr_cloudmask.catalog import runs
from xr_cloudmask.masks.agreement import judged
from xr_cloudmask.models import auto, csmask, ensemble, registry, universal
from xr_cloudmask.models.base import joined
from xr_cloudmask.models.index.physical import PhysicalThresholds
from xr_cloudmask.names import AGREEMENT_NAME, MASK_NAME, MEAN_AGREEMENT, PROBABILITY_NAME

TOGETHER = ["toy", "other"]
LAYERS = {"probabilities": True, "agreement": True}
EXPECTED = {resolution: predict(cube(), TOGETHER, resolution=resolution, **LAYERS) for resolution in ("native", "auto")}
LIMITS = {"blue": (450, 520), "green": (520, 600), "red": (630, 690), "nir": (760, 900)}
LIMITS |= {"swir16": (1550, 1750), "swir22": (2080, 2350)}


def described(*roles):
    return [BandDescriptor(role, role, *map(float, LIMITS[role])) for role in roles]


def six_bands(size=64, dates=1):
    values = np.random.default_rng(1).random((dates, size, size)).astype("float32") * 0.5
    bands = {role: (("time", "y", "x"), values * (1 - i / 10)) for i, role in enumerate(LIMITS)}
    return xr.Dataset(bands, attrs={"level": "TOA", "reflectance_provenance": "made for this test"})


def test_the_probabilities_are_the_mean_of_the_networks():
    """The cloud of the one that does not tell thick from thin is divided as the other divides its."""
    small = cube(SCENE[:1, :, :60, :60])
    out = predict(small, TOGETHER, resolution="native", probabilities=True)[PROBABILITY_NAME].isel(time=0)
    window = np.pad(SCENE[:1, :, :60, :60], ((0, 0), (0, 0), (0, 4), (0, 4)), mode="symmetric")
    names = described(*ROLES)
    toy = toys.Toy().probabilities(window, names)[0, :, :60, :60]
    other = toys.Other().probabilities(window[:, :3], names[:3])[0, :, :60, :60]
    assert out["class"].values.tolist() == ["clear", "thick_cloud", "thin_cloud", "cloud_shadow"]
    np.testing.assert_allclose(out.sel({"class": "clear"}), (toy[0] + other[:3].sum(axis=0)) / 2, atol=1e-6)
    np.testing.assert_allclose(out.sel({"class": "cloud_shadow"}), (toy[2] + other[5]) / 2, atol=1e-6)
    np.testing.assert_allclose(
        out.sel({"class": ["thick_cloud", "thin_cloud"]}).sum("class"), (toy[1] + other[3] + other[4]) / 2, atol=1e-6
    )
    share = out.sel({"class": "thin_cloud"}) / out.sel({"class": ["thick_cloud", "thin_cloud"]}).sum("class")
    np.testing.assert_allclose(share, other[3] / (other[3] + other[4]), atol=1e-4)


def test_agreement_is_the_share_of_networks_that_say_what_the_mask_says():
    found = EXPECTED["native"]
    valid = found[MASK_NAME].values != 255
    shares = found[AGREEMENT_NAME].values
    assert set(np.unique(shares[valid])) <= {0.0, 0.5, 1.0}
    assert np.isnan(shares[~valid]).all()
    # Where both agree, either of them alone says what the mask says.
    unanimous = shares == 1
    assert unanimous[valid].mean() > 0.3
    windows = predict(cube(), "toy", resolution="native", window=64, halo=12, scheme="native", probabilities=True)
    says = evaluation.most_probable(windows[PROBABILITY_NAME])
    assert (judged(found[MASK_NAME])[unanimous] == says[unanimous]).all()
    for date in range(3):
        expected = shares[date][valid[date]].mean(dtype="float64")
        np.testing.assert_allclose(found[MEAN_AGREEMENT].values[date], expected)


@settings(max_examples=25)
@given(st.data(), st.sampled_from(["native", "auto"]), st.sampled_from([None, 1, 5]))
def test_every_layer_is_the_same_for_every_chunking(data, resolution, batch_size):
    ragged = chunked(data.draw, cube())
    options = {} if batch_size is None else {"batch_size": batch_size}
    out = predict(ragged, TOGETHER, resolution=resolution, **LAYERS, **options)
    assert out[AGREEMENT_NAME].chunks == out[MASK_NAME].chunks
    out, expected = out.compute(scheduler="synchronous"), EXPECTED[resolution]
    for name in (MASK_NAME, AGREEMENT_NAME, MEAN_AGREEMENT):
        np.testing.assert_array_equal(out[name], expected[name])
    np.testing.assert_allclose(out[PROBABILITY_NAME], expected[PROBABILITY_NAME], atol=1e-5, rtol=0)


@settings(max_examples=20)
@given(st.data(), st.sampled_from(["cloudsen12", "binary", "validity", "native"]), st.sampled_from(["sum", "argmax"]))
def test_agreement_has_bounds_in_every_scheme(data, scheme, decision):
    values = data.draw(st.floats(0.1, 0.9)) * np.random.default_rng(data.draw(st.integers(0, 99))).random(
        (1, 4, 40, 40)
    )
    out = predict(cube(values.astype("float32")), TOGETHER, scheme=scheme, decision=decision, agreement=True)
    shares = out[AGREEMENT_NAME].values
    assert ((shares >= 0) & (shares <= 1)).all()
    assert 0 <= out[MEAN_AGREEMENT].item() <= 1


def test_a_date_without_data_has_no_agreement():
    values = SCENE.copy()
    values[1] = np.nan
    for data in (cube(values), cube(values).chunk(y=40)):
        out = predict(data, TOGETHER, agreement=True).compute()
        assert np.isnan(out[MEAN_AGREEMENT].values).tolist() == [False, True, False]
        assert np.isnan(out[AGREEMENT_NAME].values[1]).all()


def test_building_computes_and_loads_nothing(monkeypatch):
    monkeypatch.setattr(registry, "load", refuse)
    lazy = cube().chunk(time=1, y=64)
    with dask.config.set(scheduler=refuse):
        out = predict(lazy, TOGETHER, **LAYERS)
        predict(six_bands().chunk(), "ensemble", **LAYERS)
    assert all(out[name].chunks is not None for name in (MASK_NAME, AGREEMENT_NAME, PROBABILITY_NAME, MEAN_AGREEMENT))


def test_a_prediction_is_built_without_torch_and_onnxruntime():
    import subprocess
    import sys

    code = (
        "import sys, numpy as np, xarray as xr, xr_cloudmask\n"
        "bands = {n: (('y', 'x'), np.full((64, 64), .3, 'float32')) for n in ('blue', 'green', 'red', 'nir')}\n"
        "cube = xr.Dataset(bands, attrs={'level': 'TOA', 'reflectance_provenance': 'x'}).chunk()\n"
        "cube.cloudmask.predict('ensemble', agreement=True)\n"
        "assert not {'torch', 'onnxruntime'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_the_cube_is_read_once():
    reads = []

    def source(block):
        reads.append(block.shape)
        return block

    whole = cube().chunk(time=1)
    whole = whole.copy(data=whole.data.map_blocks(source, dtype="float32", meta=np.empty((0,) * 4, "float32")))
    predict(whole, TOGETHER, **LAYERS).compute(scheduler="synchronous")
    assert len(reads) == 3


@settings(max_examples=8)
@given(data=st.data(), resolution=st.sampled_from(["native", "auto"]))
def test_any_chunks_can_be_kept(data, resolution, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache") / "masks.zarr"
    ragged, expected = chunked(data.draw, cube()), EXPECTED[resolution]
    options = {"cache": cache, "resolution": resolution} | LAYERS
    predict(ragged, TOGETHER, **options).isel(time=data.draw(st.integers(0, 2))).compute(scheduler="synchronous")
    for _ in range(2):
        out = predict(ragged, TOGETHER, **options).compute(scheduler="synchronous")
        for name in (MASK_NAME, AGREEMENT_NAME, MEAN_AGREEMENT):
            np.testing.assert_array_equal(out[name], expected[name])


def test_what_is_kept_is_predicted_once(tmp_path, monkeypatch):
    from dataclasses import replace

    log = tmp_path / "log"
    log.touch()
    monkeypatch.setitem(registry._SPECS, "counting", (replace(toys.COUNTING, citation=str(log)),))
    data = cube().chunk(time=1, y=64)
    for _ in range(2):
        predict(data, ["counting", "other"], cache=tmp_path / "m.zarr", agreement=True).compute()
        windows = log.read_text()
    predict(data, ["other", "counting"], cache=tmp_path / "m.zarr", agreement=True).compute()
    assert log.read_text() == windows
    assert windows


@pytest.mark.parametrize("scheduler", ["threads", "processes"])
def test_other_schedulers(scheduler, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    out = predict(cube().chunk(time=1, y=64, x=64), TOGETHER, resolution="native", agreement=True)
    out = out.compute(scheduler=scheduler, num_workers=2)
    np.testing.assert_array_equal(out[MASK_NAME], EXPECTED["native"][MASK_NAME])
    np.testing.assert_array_equal(out[AGREEMENT_NAME], EXPECTED["native"][AGREEMENT_NAME])


def test_it_says_which_networks_it_asks_and_whose_they_are():
    attrs = predict(six_bands(), ["universal", "csmask"], resolution="native", precision="fp32")[MASK_NAME].attrs
    sums = attrs["weights_sha256"].split()
    assert attrs["model"] == "csmask+universal"
    expected = "csmask 6b_l1c + csmask 4b_l1c + universal v2 + universal v1-vnir"
    assert attrs["model_variant"] == expected
    assert sums == [csmask.SHA256["6b_l1c"], csmask.SHA256["4b_l1c"], universal.SHA256, universal.FORMER_SHA256]
    assert attrs["model_licence"] == "Apache-2.0 (csmask), MIT (universal)"
    assert attrs["precision"] == "fp32"
    assert "model_note" not in attrs


def test_a_name_and_a_list_are_the_same_model():
    outs = [
        predict(six_bands().chunk(), model)[MASK_NAME]
        for model in (["csmask", "universal"], "universal+csmask", ("universal", "csmask", "csmask"))
    ]
    assert len({out.data.name for out in outs}) == 1
    same = predict(six_bands(), "ensemble", resolution="native")
    np.testing.assert_array_equal(
        same[MASK_NAME], predict(six_bands(), "csmask+universal", resolution="native")[MASK_NAME]
    )
    assert predict(six_bands(), ["csmask"], resolution="native")[MASK_NAME].attrs["model_variant"] == "6b_l1c"


@pytest.mark.parametrize(
    ("roles", "variant", "note"),
    [
        (
            ("blue", "green", "red"),
            "universal v1-vnir",
            "csmask is left out: the cube lacks nir or nir08; the mask is of universal",
        ),
        (("blue", "green", "red", "nir"), "csmask 4b_l1c + universal v1-vnir", ""),
        (("red", "swir16"), "universal v2", "csmask is left out"),
    ],
)
def test_networks_that_lack_bands_are_left_out_and_it_is_said(roles, variant, note):
    spec = registry.choose("ensemble", described(*roles), "TOA")
    assert spec.variant.startswith(variant)
    assert spec.note.startswith(note)
    assert bool(spec.note) == bool(note)


def test_a_model_that_is_left_out_is_warned_of():
    with pytest.warns(UserWarning, match="csmask is left out"):
        out = predict(six_bands()[["blue", "green", "red"]], "ensemble", resolution="native")
    assert "csmask is left out" in out[MASK_NAME].attrs["model_note"]
    assert "csmask is left out" in repr(six_bands()[["blue", "green", "red"]].cloudmask.describe("ensemble"))


def test_a_level_that_one_model_does_not_take_leaves_it_out():
    spec = registry.choose("csmask+physical", described("blue", "green", "red", "nir"), "BOA")
    assert spec.variant == "csmask 4b_l2a"
    assert spec.note == "physical is left out: it takes TOA reflectance; the mask is of csmask 4b_l2a alone"


def test_a_level_that_is_unknown_is_asked_for():
    with pytest.raises(ModelError, match="level='BOA'") as caught:
        predict(six_bands().drop_attrs().assign_attrs(reflectance_provenance="x"), "ensemble")
    assert "model='universal'" in caught.value.remedy


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (["csmask", "csmsk"], "csmsk"),
        (["csmask", "auto"], "auto"),
        (["ensemble", "csmask"], "own names"),
        (["csmask", "4-4A"], "whole scenes"),
        ([], "a name"),
        ([1, 2], "a name"),
        (5, "a name"),
    ],
)
def test_what_is_no_ensemble_is_refused(model, text):
    with pytest.raises(ModelError, match=text):
        predict(six_bands(), model)


def test_agreement_of_one_model_is_refused_with_what_to_type():
    with pytest.raises(ModelError, match="agreement=True") as caught:
        predict(six_bands(), "csmask", agreement=True)
    assert "predict('ensemble', agreement=True)" in caught.value.remedy
    with pytest.raises(CloudMaskError, match="agreement"):
        predict(six_bands(), "4-4A", agreement=True)


def test_options_reach_the_networks_that_take_them():
    spec = registry.choose("csmask+physical", described("blue", "green", "red", "nir"), "TOA")
    limits = PhysicalThresholds(rim=30.0)
    found = registry.configured(spec, None, "auto", limits)
    assert [one.spec.thresholds for one in found.members] == [None, limits]
    with pytest.raises(ModelError, match="thresholds"):
        registry.configured(spec, None, "auto", 3)
    with pytest.raises(ModelError, match="none take weights"):
        registry.configured(spec, "w.safetensors", "auto")
    both = registry.configured(registry.choose("ensemble", described(*LIMITS), "TOA"), None, "bf16")
    assert {one.spec.name: one.spec.precision for one in both.members} == {"csmask": "auto", "universal": "bf16"}


def test_rules_among_the_networks_look_for_shadows():
    out = predict(six_bands(), ["csmask", "physical"], resolution="native")
    assert "shadows_looked_for" in out[MASK_NAME].attrs


def test_networks_get_their_own_bands_of_what_any_of_them_sees():
    bands = described(*LIMITS)
    spec = registry.choose("ensemble", bands, "TOA")
    seen = spec.merged(bands)
    for one in spec.members:
        assert [seen[i].descriptor for i in one.channels] == [m.descriptor for m in one.spec.merged(bands)]
    used, merged, channels = joined([(bands[:1], ()), (bands[2:4], ())], bands)
    assert (used, merged, channels) == ((bands[0], *bands[2:4]), (), ((), ()))


def test_a_network_of_another_shape_is_refused(monkeypatch):
    monkeypatch.setattr(toys.Other, "probabilities", lambda self, windows, descriptors: windows[:, :2])
    registry._LOADED.clear()
    with pytest.raises(ModelError, match="other"):
        predict(cube(), TOGETHER)


def test_classes_that_nobody_else_knows_are_refused():
    from dataclasses import replace

    with pytest.raises(ModelError, match="smoke"):
        ensemble.of("x", [replace(toys.TOY, classes=("clear", "smoke"))])


def test_windows_suit_every_network():
    spec = ensemble.of("x", [toys.TOY, toys.OTHER, csmask.SPECS[0]])
    assert (spec.window, spec.halo, spec.multiple, spec.gsd) == (64, 16, 32, 30.0)


def test_a_plug_in_can_be_a_member(monkeypatch):
    from dataclasses import replace
    from importlib.metadata import EntryPoint

    monkeypatch.setattr(toys, "PLUGGED", replace(toys.TOY, name="plugged"), raising=False)
    entries = [EntryPoint(name, f"toys:{name}", registry.ENTRY_POINTS) for name in ("PLUGGED", "BROKEN")]
    monkeypatch.setattr(registry, "entry_points", lambda group: entries)
    monkeypatch.setattr(registry, "_SPECS", dict(registry._SPECS))
    registry._discover.cache_clear()
    with pytest.warns(UserWarning, match="BROKEN"):
        out = predict(cube(), ["plugged", "other"], resolution="native")
    np.testing.assert_array_equal(out[MASK_NAME], EXPECTED["native"][MASK_NAME])
    registry._discover.cache_clear()


def test_a_package_that_is_missing_is_an_error(monkeypatch):
    from dataclasses import replace

    spec = replace(toys.OTHER, name="absent", requires=("no_such_package",), install="pip install it")
    monkeypatch.setitem(registry._SPECS, "absent", (spec,))
    with pytest.raises(CloudMaskError, match="pip install it"):
        predict(cube(), ["toy", "absent"])


def test_it_is_carried_saved_and_evaluated(tmp_path):
    out = predict(cube(), TOGETHER, **LAYERS)
    for name in ("mask.nc", "mask.zarr"):
        (path,) = xr_cloudmask.export.to_file(out, tmp_path / name)
        again = xr_cloudmask.export.open_mask(path)
        np.testing.assert_array_equal(again[AGREEMENT_NAME], out[AGREEMENT_NAME])
        np.testing.assert_array_equal(again[MEAN_AGREEMENT], out[MEAN_AGREEMENT])
    with pytest.raises(CloudMaskError, match="agreement=False"):
        xr_cloudmask.export.to_file(out[[MASK_NAME, AGREEMENT_NAME]], tmp_path / "mask.tif")
    carried = cube().to_dataset("band").cloudmask.with_mask(TOGETHER, agreement=True)
    assert {AGREEMENT_NAME, MEAN_AGREEMENT} <= set(carried.variables)


def test_it_is_evaluated_as_any_model():
    sees = cube().isel(time=0)
    truth = judged(predict(sees, "toy", resolution="native")[MASK_NAME])
    found = evaluation.evaluate(evaluation.Labelled("x", sees, truth), TOGETHER, resolution="native")
    assert 0.2 < found.kappa < 1


def test_the_command_line_takes_names_joined_by_plus(tmp_path, capsys):
    np.savez(tmp_path / "patch.npz", img=np.moveaxis(SCENE[0], 0, -1), msk=np.zeros((150, 203), "uint8"))
    arguments = ["evaluate", str(tmp_path / "patch.npz"), "--layout", "blue,green,red,nir", "--level", "TOA"]
    assert cli.main([*arguments, "--model", "toy+other"]) == 0
    assert "kappa" in capsys.readouterr().out


def test_a_catalogue_knows_it_by_one_name(tmp_path):
    requests = [runs.asked_for(model, {}, {}) for model in (["universal", "csmask"], "csmask+universal")]
    assert {request.model for request in requests} == {"csmask+universal"}
    rows = [runs._digest(runs._specs(request)) for request in (*requests, runs.asked_for("ensemble", {}, {}))]
    assert rows[0] == rows[1] != rows[2]
    catalog = Catalog(tmp_path / "scenes.db").filter(model=["universal", "csmask"])
    assert catalog._chosen.values == ("csmask+universal",)
    with pytest.raises(CloudMaskError, match="agreement"):
        runs.asked_for("ensemble", {"agreement": True}, {})


@pytest.mark.parametrize(
    ("roles", "model", "variant"),
    [
        (("blue", "green", "red", "nir", "swir16", "swir22"), "csmask", "4b_l1c"),
        (("blue", "green", "red", "nir"), "csmask", "4b_l1c"),
        (("blue", "green", "red"), "universal", universal.FORMER.variant),
    ],
)
def test_auto_says_what_it_took_and_why(roles, model, variant):
    attrs = predict(six_bands()[list(roles)], resolution="native")[MASK_NAME].attrs
    assert (attrs["model"], attrs["model_variant"]) == (model, variant)
    assert attrs["model_choice"].startswith("auto: ")
    assert "model_choice" not in predict(six_bands(), "csmask", resolution="native")[MASK_NAME].attrs
    assert attrs["model_choice"].removeprefix("auto: ") in repr(six_bands()[list(roles)].cloudmask.describe())


def test_no_model_is_named_as_an_ensemble():
    from dataclasses import replace

    with pytest.raises(ModelError, match="without '\\+'"):
        registry.register_model(replace(toys.TOY, name="toy+other"))
    assert registry.name_of("other + toy") == "other+toy"


def test_the_rule_of_auto_is_a_table():
    choices = (auto.Choice("universal", "bands", needs=("swir16",)), auto.Choice("csmask", "", variants=("4b_l2a",)))
    for roles, expected in ((tuple(LIMITS), ["universal"]), (tuple(LIMITS)[:4], ["csmask"]), (("red", "green"), [])):
        found = auto.fitting(registry._SPECS, described(*roles), choices)
        assert list(dict.fromkeys(spec.name for spec in found)) == expected
    assert {choice.model for choice in auto.CHOICES} <= set(registry._SPECS)
