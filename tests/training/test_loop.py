"""Training: what is asked for, in which order scenes come, and that a run can stop and go on."""

import json
import shutil
import signal
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from safetensors.torch import load_file

from xr_cloudmask import predict, simulate
from xr_cloudmask.cli import main
from xr_cloudmask.errors import CloudMaskError, FileError, ModelError, WeightsError
from xr_cloudmask.masks.labels import to_scheme
from xr_cloudmask.masks.schemes import SCHEMES, flag_attrs
from xr_cloudmask.simulate import worlds
from xr_cloudmask.training import LabelledCubes, Recipe, loop, loss, train
from xr_cloudmask.training.samples import BITS, Patch, Simulated, collate, prepared, stream, turned, with_fewer_bands
from xr_cloudmask.training.state import CHECKPOINT, WEIGHTS, TrainingState
from xr_cloudmask.training.teacher import Teacher

TINY = replace(
    Recipe.packaged(),
    widths=(8, 8, 8),
    dilations=(2,),
    surfaces=3,
    skies=4,
    world=64,
    size=32,
    patches=48,
    batch=4,
    lag=2,
    warm_up=8,
    averaging=16,
    validate_every=0,
    validation=2,
    precision="fp32",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with worlds to train on."""
    path = tmp_path_factory.mktemp("run")
    prepared(TINY, path)
    return path


@pytest.fixture(scope="module")
def source(folder):
    return Simulated(prepared(TINY, folder), TINY.seed, TINY.size)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, source):
    path = tmp_path_factory.mktemp("trained")
    return train(TINY, path, source=source, workers=0)


def assert_same(one, other):
    """Compare files of weights, to the bit."""
    assert_same_tensors(load_file(one), load_file(other))


def assert_same_tensors(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def labelled_cube(scheme="cloudsen12"):
    scenes = simulate.series(dates=1, size=(80, 96), seed=4)
    mask = scenes["truth"].copy()
    mask.attrs = flag_attrs(SCHEMES["cloudsen12"])
    cube = scenes.drop_vars("truth").assign(cloud_mask=to_scheme(mask, scheme))
    return cube.assign_coords(y=cube.y * 3, x=cube.x * 3)  # pixels as coarse as the network's


def test_a_recipe_knows_its_entries(tmp_path):
    (tmp_path / "r.toml").write_text("patches = 100\nwidths = [8, 16]\n")
    recipe = Recipe.read(tmp_path / "r.toml")
    assert (recipe.patches, recipe.widths, recipe.batch) == (100, (8, 16), Recipe.packaged().batch)
    assert recipe.sha256 != Recipe.packaged().sha256
    (tmp_path / "r.toml").write_text("patchs = 100\n")
    with pytest.raises(FileError, match="patchs"):
        Recipe.read(tmp_path / "r.toml")


@pytest.mark.parametrize(
    "entry", ["batch = 5\nrepeats = 2", "size = 100", "precision = 'fp8'", "weights = [1, 2]", "patches = 'all'"]
)
def test_a_recipe_that_cannot_be_followed_is_refused(tmp_path, entry):
    (tmp_path / "r.toml").write_text(entry)
    with pytest.raises(CloudMaskError, match=entry.split()[0]):
        Recipe.read(tmp_path / "r.toml")


def test_loss_is_cross_entropy_where_the_class_is_known():
    torch.manual_seed(0)
    logits, codes = torch.randn(2, 6, 5, 5), torch.randint(0, 6, (2, 5, 5))
    truth = torch.from_numpy(BITS[codes.numpy()])
    weights = (1.0, 1.0, 2.0, 1.0, 1.0, 3.0)
    expected = torch.nn.functional.cross_entropy(logits, codes, torch.tensor(weights))
    torch.testing.assert_close(loss.cross_entropy(logits, truth, weights, 0.0), expected)


def test_pixels_without_label_do_not_count():
    logits = torch.randn(1, 6, 4, 4, requires_grad=True)
    truth = torch.zeros(1, 4, 4, dtype=torch.uint8)
    truth[0, 0] = 0b000111
    loss.cross_entropy(logits, truth, (1,) * 6, 0.1).backward()
    assert logits.grad[0, :, 0].abs().sum() > 0
    assert logits.grad[0, :, 1:].abs().sum() == 0
    assert loss.cross_entropy(logits, torch.zeros_like(truth), (1,) * 6, 0.1) == 0


@pytest.mark.parametrize("turn", range(8))
def test_bands_and_truth_turn_together(turn):
    patch = Patch(
        np.arange(18, dtype="float32").reshape(2, 3, 3),
        np.zeros((2, 2), "float32"),
        np.arange(9, dtype="uint8").reshape(3, 3),
    )
    after = turned(patch, turn)
    np.testing.assert_array_equal(after.values[0], after.truth)
    assert len({turned(patch, t).truth.tobytes() for t in range(8)}) == 8


def test_two_bands_remain_one_of_them_visible(source):
    rng = np.random.default_rng(0)
    wavelengths = np.float32([[400, 500], [780, 900], [1560, 1660], [2100, 2300]])
    patch = Patch(np.zeros((4, 2, 2), "float32"), wavelengths, np.zeros((2, 2), "uint8"))
    kept = [with_fewer_bands(patch, rng).wavelengths for _ in range(50)]
    assert {len(k) for k in kept} == {2, 3, 4}
    assert all(k[0, 0] == 400 for k in kept)


def test_a_batch_says_which_bands_are_there(source):
    batch = collate([source[0], source[1], source[2]])
    assert batch.present.sum(dim=1).tolist() == [len(source[i].values) for i in range(3)]
    assert batch.values.shape[1] == batch.present.shape[1] == batch.wavelengths.shape[1]


def test_scenes_come_back_once_and_a_run_can_start_anywhere(source):
    whole = list(stream(source, TINY, 0, 8, workers=0))
    assert [len(batch.values) for batch in whole] == [2, 2, 4, 4, 4, 4, 4, 4]
    late = list(stream(source, TINY, 5, 8, workers=0))
    for one, other in zip(whole[5:], late, strict=True):
        for a, b in zip(one, other, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)


def test_workers_change_nothing(source):
    for one, other in zip(stream(source, TINY, 0, 3, workers=0), stream(source, TINY, 0, 3, workers=2), strict=True):
        for a, b in zip(one, other, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)


class Stopping:
    """A source that interrupts the run it feeds."""

    def __init__(self, source, at, number):
        self.source, self.at, self.number = source, at, number

    def __getitem__(self, number):
        if number == self.at:
            signal.raise_signal(self.number)
        return self.source[number]


def saved(folder, part):
    return torch.load(folder / CHECKPOINT / f"{part}.pt", weights_only=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_and_resumed_is_as_never_interrupted(tmp_path, source, trained, number):
    handler = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):
        train(TINY, tmp_path, source=Stopping(source, 11, number), workers=0)
    assert signal.getsignal(number) is handler
    assert saved(tmp_path, "rest")["step"] == 6
    resumed = train(TINY, tmp_path, source=source, workers=0, resume=True)
    assert_same(resumed, trained)
    folders = [path.parent for path in (resumed, trained)]
    assert [saved(folder, "rest")["step"] for folder in folders] == [12, 12]
    assert_same_tensors(*(saved(folder, "network") for folder in folders))


def test_a_run_of_minutes_ends_by_the_clock_and_can_go_on(tmp_path, source):
    lines: list[dict] = []
    options = {"source": source, "workers": 0, "minutes": 0.02, "say": lines.append}
    weights = train(replace(TINY, patches=10**6), tmp_path, **options)
    assert weights.exists()
    first = saved(tmp_path, "rest")["step"]
    assert 0 < first < 10**6 / TINY.batch
    train(replace(TINY, patches=10**6), tmp_path, resume=True, **options)
    assert saved(tmp_path, "rest")["step"] > first


def test_the_rate_of_a_run_of_minutes_falls_with_the_time():
    late = 10**6
    rates = [loop.rate(TINY, late, done) for done in (0, 0.5, 1)]
    np.testing.assert_allclose(rates, [TINY.rate, TINY.rate / 2, 0], atol=1e-12)


def test_saving_changes_nothing_of_what_comes(tmp_path, source, trained):
    often = train(replace(TINY, save_minutes=0.0), tmp_path, source=source, workers=0)
    assert_same_tensors(*(saved(path.parent, "network") for path in (often, trained)))


def test_no_file_of_a_checkpoint_is_larger_than_its_network(trained):
    sizes = {path.stem: path.stat().st_size for path in (trained.parent / CHECKPOINT).iterdir()}
    assert max(sizes.values()) <= 1.1 * sizes["network"] + 4096


def test_a_run_is_not_overwritten(trained, source):
    with pytest.raises(FileError, match="resume=True"):
        train(TINY, trained.parent, source=source, workers=0)


def test_nothing_to_resume(tmp_path, source):
    with pytest.raises(FileError, match="checkpoint"):
        train(TINY, tmp_path, source=source, workers=0, resume=True)


def test_a_checkpoint_of_another_network_is_refused(trained, source):
    with pytest.raises(FileError, match="recipe"):
        train(replace(TINY, widths=(8, 8, 16)), trained.parent, source=source, workers=0, resume=True)


def test_training_works_in_any_thread(tmp_path, source, trained):
    worker = threading.Thread(target=train, args=(TINY, tmp_path), kwargs={"source": source, "workers": 0})
    worker.start()
    worker.join()
    assert_same(tmp_path / WEIGHTS, trained)


def test_weights_are_half_floats_that_say_what_they_are(trained):
    from xr_cloudmask.models import universal

    floats = [tensor for tensor in load_file(trained).values() if tensor.is_floating_point()]
    assert {tensor.dtype for tensor in floats} == {torch.float16}
    facts = universal.facts_of(trained)
    assert facts["recipe_sha256"] == TINY.sha256
    assert facts["patches"] == "48"
    assert facts["classes"].split() == list(worlds.CLASSES)


def test_worlds_are_prepared_and_scores_are_written(tmp_path, folder):
    for pool in folder.iterdir():
        (tmp_path / pool.name).symlink_to(pool)
    lines = []
    train(replace(TINY, patches=8, validate_every=8), tmp_path, workers=0, say=lines.append)
    assert lines == [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert set(lines[-1]) == {"step", "patches"} | {
        f"{b} {s}" for b in ("6", "4", "rgb") for s in ("kappa", "cloud", "shadow")
    }


def test_fine_tuning_on_labelled_cubes_lowers_the_loss(tmp_path, trained):
    cube = labelled_cube()
    path = tmp_path / "scene.nc"
    cube.to_netcdf(path)
    recipe = tmp_path / "r.toml"
    recipe.write_text(
        "widths = [8, 8, 8]\ndilations = [2]\nsize = 32\npatches = 1200\nbatch = 4\nrepeats = 1\nrate = 5e-3\n"
        "warm_up = 8\naveraging = 40\nvalidate_every = 0\nprecision = 'fp32'\n"
    )
    out = tmp_path / "run"
    learn = ["train", "--from", str(trained), "--data", str(path), "--recipe", str(recipe), "--workers", "0"]
    assert main([*learn, "--out", str(out)]) == 0
    losses = [json.loads(line)["loss"] for line in (out / "log.jsonl").read_text().splitlines()]
    assert losses[-1] < losses[0]
    mask = predict(cube.drop_vars("cloud_mask"), "universal", weights=out / WEIGHTS, resolution="native")
    agreement = (mask["cloud_mask"] == cube["cloud_mask"]).mean()
    before = predict(cube.drop_vars("cloud_mask"), "universal", weights=trained, resolution="native")
    assert agreement > (before["cloud_mask"] == cube["cloud_mask"]).mean()


def test_labels_mean_what_their_scheme_says():
    fine = LabelledCubes.of([labelled_cube("cloudsen12")], 0, 32).scenes[0]
    coarse = LabelledCubes.of([labelled_cube("validity")], 0, 32).scenes[0]
    assert set(np.unique(fine.truth)) <= {0, 0b000111, 0b001000, 0b010000, 0b100000}
    assert set(np.unique(coarse.truth)) <= {0, 0b000111, 0b111000}
    assert ((fine.truth & coarse.truth) == fine.truth).all()


def test_cubes_are_read_at_the_resolution_of_the_network():
    cube = labelled_cube()
    fine = cube.assign_coords(y=cube.y / 2, x=cube.x / 2)
    (scene,) = LabelledCubes.of([fine], 0, 32).scenes
    assert scene.truth.shape == scene.values.shape[1:] == (40, 48)
    window = LabelledCubes.of([fine], 0, 64)[0]
    assert window.values.shape[1:] == (64, 64)
    assert np.isnan(window.values[:, 40:]).all()
    assert not window.truth[40:].any()


def test_cubes_without_labels_are_refused():
    cube = labelled_cube()
    with pytest.raises(CloudMaskError, match="cloud_mask"):
        LabelledCubes.of([cube.drop_vars("cloud_mask")], 0, 32)
    empty = cube.assign(cloud_mask=xr.full_like(cube["cloud_mask"], 255))
    with pytest.raises(ModelError, match="labels"):
        LabelledCubes.of([empty], 0, 32)


def test_weights_to_start_from_must_fit(tmp_path, trained, source):
    with pytest.raises(WeightsError, match="widths"):
        train(replace(TINY, widths=(8, 8, 16)), tmp_path, source=source, start=trained, workers=0)


def test_csmask_teaches_where_it_has_its_bands():
    taught = Teacher()
    six = worlds.bands_of("landsat-8-9", worlds.SIX)
    assert list(taught.places(six)) == [0, 1, 2, 3, 4, 5]
    assert list(taught.places(six[[0, 1, 2, 4]])) == [0, 1, 2]
    bands = np.random.default_rng(0).random((6, 32, 32), dtype="float32")
    assert taught.probabilities(bands, six).shape == (3, 32, 32)
    assert taught.probabilities(bands[:3], six[:3]) is None


def test_distillation_pulls_towards_the_teacher():
    six = worlds.bands_of("sentinel-2", worlds.SIX)
    values = np.full((6, 32, 32), 0.7, "float32")
    batch = collate([Patch(values, six, np.zeros((32, 32), "uint8"))])
    logits = torch.zeros(1, 6, 32, 32, requires_grad=True)
    taught = Teacher()
    taught.loss(logits, batch).backward()
    expected = taught.probabilities(values, six).mean(axis=(1, 2))
    pull = -logits.grad[0].sum(dim=(1, 2)).numpy()
    np.testing.assert_allclose([pull[:3].sum(), pull[3:5].sum(), pull[5]], expected - [1 / 2, 1 / 3, 1 / 6], atol=1e-5)


def test_a_recipe_with_distillation_is_another_run(tmp_path, source, trained):
    train(replace(TINY, patches=8, distillation=0.5), tmp_path, source=source, workers=0)
    assert (tmp_path / WEIGHTS).exists()


@pytest.mark.parametrize(
    "entry",
    [
        "repeats = 0", "batch = 0", "patches = 0", "validation = 0", "lag = -1", "rate = 0", "seed = -1", "seed = 1.0",
        "widths = []", "widths = [8, 'a']", "widths = [8, true]", "weights = [1, 1, 1, 1, 1, 0]", "clip = nan",
        "widths = [4, 4, 4, 4, 4, 4]", "dilations = 2", "precision = [1]",
    ],
)  # fmt: skip
def test_entries_of_a_recipe_are_positive_numbers(tmp_path, entry):
    (tmp_path / "r.toml").write_text(entry)
    with pytest.raises(CloudMaskError, match=f"{entry.split()[0]} = "):
        Recipe.read(tmp_path / "r.toml")


def test_a_recipe_is_utf8_toml(tmp_path):
    (tmp_path / "r.toml").write_bytes(b"# \xe9\n")
    with pytest.raises(FileError, match=r"r\.toml"):
        Recipe.read(tmp_path / "r.toml")


def test_no_patches_are_not_all_of_them(tmp_path, capsys):
    assert main(["train", "--out", str(tmp_path / "run"), "--patches", "0"]) == 1
    assert "patches = 0" in capsys.readouterr().err


@pytest.fixture
def stopped(tmp_path, trained):
    """A folder with the checkpoint of a run."""
    shutil.copytree(trained.parent / CHECKPOINT, tmp_path / CHECKPOINT)
    return tmp_path


def resumed(recipe, folder):
    run = TrainingState(recipe, torch.device("cpu"))
    run.load(folder)
    return run


def test_a_run_goes_on_with_its_own_recipe(stopped):
    assert resumed(replace(TINY, patches=96, size=64, save_minutes=1.0), stopped).step == 12
    assert resumed(replace(TINY, rate=1e-3), stopped).step == 12
    with pytest.raises(FileError, match=r"clip = 1\.0, seed = 20"):
        resumed(replace(TINY, clip=2.0, seed=21), stopped)


@pytest.mark.parametrize("length", [0, 100, -1000])
@pytest.mark.parametrize("part", ["network", "exp_avg", "rest"])
def test_a_checkpoint_that_is_cut_off_is_refused(stopped, length, part):
    path = stopped / CHECKPOINT / f"{part}.pt"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(FileError, match="checkpoint"):
        resumed(TINY, stopped)


@pytest.mark.parametrize("saved", [True, False])
def test_only_what_was_saved_is_said_to_be(tmp_path, monkeypatch, capsys, saved):
    def interrupted(recipe, out, **_):
        out.mkdir()
        if saved:
            (out / CHECKPOINT).touch()
        raise KeyboardInterrupt

    monkeypatch.setattr("xr_cloudmask.training.train", interrupted)
    assert main(["train", "--out", str(tmp_path / "run")]) == 130
    assert ("saved in" in capsys.readouterr().err) == saved


def test_labels_without_the_cubes_time_are_refused():
    cube = labelled_cube()
    two = xr.concat([cube, cube.assign_coords(time=cube.time + np.timedelta64(1, "D"))], "time")
    with pytest.raises(CloudMaskError, match="a mask of"):
        LabelledCubes.of([two.assign(cloud_mask=cube["cloud_mask"].isel(time=0, drop=True))], 0, 32)
    turned_mask = cube.assign(cloud_mask=cube["cloud_mask"].transpose("x", "time", "y"))
    one, other = (LabelledCubes.of([c], 0, 32).scenes[0].truth for c in (cube, turned_mask))
    np.testing.assert_array_equal(one, other)
