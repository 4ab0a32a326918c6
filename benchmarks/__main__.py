"""Run every benchmark, each in a process of its own, and print one table.

``python -m benchmarks`` runs all of them, ``python -m benchmarks speed`` one.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

ROLES = ("blue", "green", "red", "nir", "swir16", "swir22")
LABELLED = Path(__file__).parents[2] / "shared/data/sentinel2_l1c_labelled.npz"


def row(name: str, figure: str) -> None:
    """Print one line of the table."""
    print(f"| {name} | {figure} |", flush=True)


def scene(size: int, bands: int) -> np.ndarray:
    """Return smooth reflectance ``(band, y, x)``: what it shows does not matter for speed."""
    random = np.random.default_rng(0)
    coarse = random.random((bands, size // 16 + 1, size // 16 + 1), dtype="float32") * 0.6
    return coarse.repeat(16, axis=1).repeat(16, axis=2)[:, :size, :size]


def seconds(function: Callable[[], object], runs: int) -> float:
    """Return the median duration."""
    durations = []
    for _ in range(runs):
        begin = time.perf_counter()
        function()
        durations.append(time.perf_counter() - begin)
    return float(np.median(durations))


def peak_gigabytes() -> float:
    """Return the largest resident memory of this process so far."""
    status = Path("/proc/self/status").read_text()  # getrusage counts what the parent had when it forked
    return int(status.partition("VmHWM:")[2].split()[0]) / 1e6


def speed() -> None:
    """2048 × 2048 × 6 float32 at native resolution: ours, the CSmask class, its bare network on the same windows."""
    import xarray as xr
    from ukis_csmask.mask import CSmask

    import xr_cloudmask
    from xr_cloudmask.engine.lattice import fit
    from xr_cloudmask.models import registry
    from xr_cloudmask.models.csmask import SPECS

    size = 2048
    pixels = scene(size, 6)
    cube = xr.Dataset({r: (("y", "x"), p) for r, p in zip(ROLES, pixels, strict=True)}, attrs={"level": "TOA"})
    chunked = cube.chunk(y=1024, x=1024)
    image = np.moveaxis(pixels, 0, -1)
    axis = fit(size, SPECS[0].window, SPECS[0].halo, SPECS[0].multiple)
    session = registry.load(SPECS[0])._session
    window = np.zeros((1, 6, axis.window, axis.window), "float32")

    def ours() -> object:
        return xr_cloudmask.predict(cube, resolution="native")

    def ours_on_dask() -> object:
        return xr_cloudmask.predict(chunked, resolution="native").compute()

    def bare() -> object:
        return [session.run(None, {"input": window}) for _ in range(len(axis) ** 2)]

    def peer() -> object:
        return CSmask(image.copy(), list(ROLES), product_level="l1c", batch_size=4).csm

    ours(), bare()
    # In turns, so that a machine whose speed drifts treats all alike.
    turns = [[seconds(function, 1) for function in (ours, ours_on_dask, bare)] for _ in range(5)]
    mine, lazy, network = np.median(turns, axis=0)
    other = seconds(peer, 2)
    megapixels = size * size / 1e6
    row("CSmask class, 2048² × 6, batch 4", f"{megapixels / other:.2f} megapixels/s ({other:.1f} s)")
    row("xr_cloudmask, NumPy", f"{megapixels / mine:.2f} megapixels/s ({mine:.1f} s), {other / mine:.1f} × CSmask")
    row("xr_cloudmask, dask 1024² chunks", f"{megapixels / lazy:.2f} megapixels/s, {other / lazy:.1f} × CSmask")
    row(
        f"bare network on the same {len(axis) ** 2} windows of {axis.window}²",
        f"{network:.1f} s; xr_cloudmask reaches {network / mine:.0%} (NumPy), {network / lazy:.0%} (dask) of it",
    )


def tile() -> None:
    """A Sentinel-2 tile of 10980² × 6 uint16, Zarr to Zarr, at resolution='auto'."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "benchmarks", "_write_tile", folder], check=True)
        for model in ("csmask", "universal"):
            subprocess.run([sys.executable, "-m", "benchmarks", "_predict_tile", folder, model], check=True)


def _write_tile(folder: str) -> None:
    import xarray as xr

    size = 10980
    numbers = (scene(size, 6) * 10000 + 1000).astype("uint16")
    steps = np.arange(size) * 10.0
    bands = dict(zip(("B02", "B03", "B04", "B08", "B11", "B12"), numbers, strict=True))
    cube = xr.Dataset({b: (("y", "x"), n) for b, n in bands.items()}, coords={"y": 9e6 - steps, "x": 3e5 + steps})
    cube.attrs = {
        "platform": "sentinel-2a",
        "processing:level": "L1C",
        "s2:processing_baseline": "05.10",
        "epsg": 32722,
    }
    cube.chunk(y=2048, x=2048).to_zarr(Path(folder) / "cube.zarr", mode="w", zarr_format=2)


def _predict_tile(folder: str, model: str) -> None:
    import xarray as xr

    import xr_cloudmask  # noqa: F401 - registers .cloudmask

    begin = time.perf_counter()
    cube = xr.open_zarr(Path(folder) / "cube.zarr", chunks={})
    mask = cube.cloudmask.predict(model)
    mask.drop_encoding().to_zarr(Path(folder) / f"{model}.zarr", zarr_format=2)
    duration = time.perf_counter() - begin
    row(
        f"Sentinel-2 tile, 10980² × 6 uint16, Zarr → Zarr, {model}, {mask['cloudmask'].attrs['resolution']}",
        f"{duration:.1f} s, peak memory {peak_gigabytes():.2f} GB",
    )


def graph() -> None:
    """Build a year of one tile lazily: 365 dates × 10980² × 6 bands in chunks of 2048."""
    import dask.array as da
    import xarray as xr

    import xr_cloudmask

    source = da.zeros((365, 10980, 10980), chunks=(1, 2048, 2048), dtype="float32")
    bands = {role: (("time", "y", "x"), source + i) for i, role in enumerate(ROLES)}
    cube = xr.Dataset(bands, attrs={"level": "TOA"})
    begin = time.perf_counter()
    out = xr_cloudmask.predict(cube, resolution="native")
    duration = time.perf_counter() - begin
    chunks = out["cloudmask"].data.npartitions
    mask_only = len(out["cloudmask"].data.dask) - sum(len(cube[r].data.dask) for r in ROLES) + 5 * len(source.dask)
    everything = len(out.__dask_graph__()) - sum(len(cube[r].data.dask) for r in ROLES) + 5 * len(source.dask)
    row("graph of 365 dates × 10980² × 6, chunks of 2048", f"{duration:.1f} s to build, {chunks} output chunks")
    row("tasks per output chunk", f"{mask_only / chunks:.2f} for the mask, {everything / chunks:.2f} with coverage")
    for dates in (92, 183, 365, 730):
        long = xr.Dataset(
            {
                role: (("time", "y", "x"), da.zeros((dates, 10980, 10980), dtype="uint16", chunks=(1, 2048, 2048)))
                for role in ROLES
            },
            {"time": np.datetime64("2015-06-23", "ns") + np.arange(dates) * np.timedelta64(5, "D")},
            {"platform": "sentinel-2a", "processing:level": "L1C", "s2:processing_baseline": "05.10", "epsg": 32722},
        )
        begin = time.perf_counter()
        out = xr_cloudmask.predict(long, resolution="native")
        predicted = time.perf_counter() - begin
        long.cloudmask.composite("median", mask=out)
        whole = time.perf_counter() - begin
        figures = f"{predicted:.2f} s for the mask, {whole:.2f} s with a median composite"
        row(f"graph of {dates} dates of a tile", f"{figures}, {1000 * whole / dates:.1f} ms a date")


def imports() -> None:
    """Import time beyond xarray's own."""

    def time_of(statement: str) -> float:
        code = f"import time; import xarray; t = time.perf_counter(); {statement}; print(time.perf_counter() - t)"
        runs = [float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(5)]
        return float(np.median(runs))

    row("import xr_cloudmask, beyond xarray", f"{time_of('import xr_cloudmask'):.2f} s")


def accuracy() -> None:
    """Cohen's kappa over clear, cloud and shadow on the labelled Sentinel-2 patch."""
    from ukis_csmask.mask import CSmask

    from benchmarks.worlds import scores
    from xr_cloudmask.evaluation import evaluate, read
    from xr_cloudmask.masks.agreement import Agreement

    if not LABELLED.exists():
        row("accuracy", "not measured: ../shared/data/sentinel2_l1c_labelled.npz is absent")
        return
    labelled = read(LABELLED)
    for count in (6, 4):
        bands = ROLES[:count]
        image = np.stack([labelled.cube[band].values for band in bands], axis=-1)
        peer = CSmask(image, list(bands), product_level="l1c", batch_size=4).csm[..., 0]
        found = Agreement.of(labelled.truth, peer.astype("uint8"))
        row(f"real Sentinel-2 patch, {count} bands, CSmask class", scores(found))
        for model in ("csmask", "physical"):
            found = evaluate(labelled, model, bands=bands, level="TOA")
            row(f"real Sentinel-2 patch, {count} bands, {model}", scores(found))
    for count in (6, 4, 3):
        found = evaluate(labelled, "universal", bands=ROLES[:count], sensor="sentinel-2", level="TOA")
        row(f"real Sentinel-2 patch, {count} bands, universal", scores(found))


UNIVERSAL_WINDOW = 768


def universal() -> None:
    """Speed beside csmask's bare network, on windows of one size."""
    from dataclasses import replace

    from xr_cloudmask import BandDescriptor
    from xr_cloudmask.cube.sensors import sensors
    from xr_cloudmask.models import csmask, registry
    from xr_cloudmask.models.universal import SPEC

    table = {band.role: band for band in sensors()["sentinel-2"].bands}
    limits = [(table[role].min_wavelength, table[role].max_wavelength) for role in ROLES]
    descriptors = [BandDescriptor(role, role, *pair) for role, pair in zip(ROLES, limits, strict=True)]
    window = np.ascontiguousarray(scene(UNIVERSAL_WINDOW, len(ROLES)))[None]
    session = registry.load(csmask.SPECS[0])._session
    models = {precision: registry.load(replace(SPEC, precision=precision), "cpu") for precision in SPEC.precisions}
    runs: dict[str, Callable[[], object]] = {"csmask's bare network": lambda: session.run(None, {"input": window})}
    runs |= {f"universal, {name}": partial(model.probabilities, window, descriptors) for name, model in models.items()}
    # One after the other: threads that wait for work, as onnxruntime's do for a while, slow what runs beside them.
    durations = {}
    for name, function in runs.items():
        function()
        durations[name] = seconds(function, 9)
        time.sleep(1)
    bare = durations["csmask's bare network"]
    megapixels = UNIVERSAL_WINDOW**2 / 1e6
    for name, duration in durations.items():
        row(
            f"{name}, 6 × {UNIVERSAL_WINDOW}²",
            f"{megapixels / duration:.2f} megapixels/s, {bare / duration:.1f} × csmask's",
        )


def worlds() -> None:
    """csmask and universal on simulated worlds, by optical thickness and by surface."""
    from benchmarks import worlds

    for name, figure in worlds.report():
        row(name, figure)


def composites() -> None:
    """Composites of a simulated series over a real surface: error with our masks, without one, with the true one."""
    from benchmarks import series

    for name, figure in series.composites():
        row(name, figure)


def refinement() -> None:
    """Masks before and after the series has corrected them, over simulated landscapes."""
    from benchmarks import series

    for name, figure in series.refinement():
        row(name, figure)


SENSEI_BANDS, SENSEI_WINDOW = 13, 512


def sensei() -> None:
    """13 bands × 512 × 512: ours and phicloudmask in turns, and the memory of each in a process of its own."""
    import torch

    ours = {precision: _our_sensei(precision) for precision in ("fp32", "bf16")}
    peer = _phicloudmask()
    window = np.ascontiguousarray(scene(SENSEI_WINDOW, SENSEI_BANDS))[None]
    model, descriptors = ours["fp32"]
    bands, described = torch.from_numpy(window), torch.from_numpy(_encoded(descriptors))
    runs = {
        "phicloudmask": lambda: peer(bands),
        "fp32": lambda: model.probabilities(window, descriptors),
        "bf16": lambda: ours["bf16"][0].probabilities(window, descriptors),
        "its embedding": lambda: peer.embedding_model(bands, peer.band_descriptor),
        "our embedding": lambda: model.embedding(bands, described),
    }
    with torch.inference_mode():
        for function in runs.values():
            function()
        turns = [[seconds(function, 1) for function in runs.values()] for _ in range(7)]
    # The best of several in turns: another process on the machine slows any of them, and short operations most.
    durations = dict(zip(runs, np.min(turns, axis=0), strict=True))
    megapixels = SENSEI_WINDOW**2 / 1e6
    other = durations["phicloudmask"]
    share = durations["its embedding"] / other
    row("phicloudmask, 13 × 512², batch 1, fp32", f"{other:.2f} s, {share:.0%} of it in the embedding")
    for precision in ours:
        own = durations[precision]
        share = durations["our embedding"] / own
        figures = f"{own:.2f} s, {megapixels / own:.2f} megapixels/s, {other / own:.1f} × phicloudmask, "
        row(f"sensei, 13 × 512², batch 1, {precision}", figures + f"{share:.0%} of it in the embedding")
    memory = {name: _memory_of(name) for name in ("phicloudmask", *ours)}
    loaded, peak = memory["phicloudmask"]
    row("phicloudmask, memory", f"peak {peak:.2f} GB, {peak - loaded:.2f} GB more than with the model loaded")
    for name in ours:
        before, most = memory[name]
        ratio = (most - before) / (peak - loaded)
        row(
            f"sensei, memory, {name}",
            f"peak {most:.2f} GB ({most / peak:.2f} of phicloudmask's), "
            f"{most - before:.2f} GB more than with the model loaded ({ratio:.2f} of phicloudmask's)",
        )


def _our_sensei(precision: str) -> tuple[Any, Any]:
    """Return the model with random weights: what they are does not matter for speed."""
    import torch

    from xr_cloudmask import BandDescriptor
    from xr_cloudmask.models.networks import embedding, runner, segformer
    from xr_cloudmask.models.sensei import SenseiNetwork

    torch.manual_seed(0)
    networks = embedding.SpectralEmbedding(), segformer.Segformer(segformer.CONFIGS["B2"], embedding.CHANNELS, 7)
    for network in networks:
        network.eval().requires_grad_(False)
    networks[1].freeze()
    device = runner.device_named("cpu")
    model = SenseiNetwork(*networks, runner.Runner(device, bf16=precision == "bf16"), batch_size=1)
    return model, [BandDescriptor(f"b{i}", None, 400.0 + i, 500.0 + i) for i in range(SENSEI_BANDS)]


def _encoded(descriptors: Any) -> np.ndarray:
    from xr_cloudmask.models.networks.encoding import encode

    return encode(descriptors)


def _phicloudmask() -> Any:
    """Return phicloudmask with random weights; its constructor would download some to throw them away."""
    import phicloudmask
    from phicloudmask.constant import SENTINEL2_DESCRIPTORS
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    def build(_: str, num_labels: int) -> Any:
        sizes = {"depths": [3, 4, 6, 3], "hidden_sizes": [64, 128, 320, 512], "decoder_hidden_size": 768}
        return SegformerForSemanticSegmentation(SegformerConfig(num_labels=num_labels, **sizes))

    SegformerForSemanticSegmentation.from_pretrained = build
    return phicloudmask.CloudMask(SENTINEL2_DESCRIPTORS).eval()


def _memory_of(name: str) -> list[float]:
    """Return gigabytes with the model loaded, and at the peak of its first window."""
    output = subprocess.check_output([sys.executable, "-m", "benchmarks", "_print_memory", name], text=True)
    return [float(number) for number in output.split()]


def _print_memory(name: str) -> None:
    import psutil
    import torch

    window = np.ascontiguousarray(scene(SENSEI_WINDOW, SENSEI_BANDS))[None]
    with torch.inference_mode():
        if name == "phicloudmask":
            peer = _phicloudmask()
            run = partial(peer, torch.from_numpy(window))
        else:
            model, descriptors = _our_sensei(name)
            run = partial(model.probabilities, window, descriptors)
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak of loading
        print(psutil.Process().memory_info().rss / 1e9)
        run()
        print(peak_gigabytes())


def screening() -> None:
    """Simulated CBERS-4A WPM scenes, cloud-optimised, over HTTP: screening beside masks at full resolution."""
    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    from pystac import Item
    from scenes import make_wpm
    from stac_server import serve_files

    from xr_cloudmask import stac

    with tempfile.TemporaryDirectory() as folder, serve_files(Path(folder)) as files:
        covers = enumerate(np.linspace(0.05, 0.9, 12))
        scenes = [
            make_wpm(Path(folder), files.url, i, size=(1024, 1024), cover=cover, overviews=True) for i, cover in covers
        ]
        items = [Item.from_dict(scene.item) for scene in scenes]
        estimated = stac.screen(items).table["cloud_fraction"]
        read = files.sent
        files.forget()
        full = [float(stac.load([item]).cloudmask.predict()["cloud_fraction"][0]) for item in items]
        apart = np.abs(estimated - full)
        what = "screening 12 WPM scenes of 1024², with overviews"
        row(f"{what}: bytes read, of those of full loading", f"{100 * read / files.sent:.1f} %")
        row(f"{what}: cloud fraction, difference to full resolution", f"mean {apart.mean():.3f}, max {apart.max():.2f}")


NOTEBOOK = Path(__file__).parents[2] / "shared/reference/seeds/cbers4a_4-4A_notebook.md"
MEGAPIXEL_SCENE, LARGE_SCENE = 4000, 14000


def wpm_scene(size: int, rows: slice = slice(None)) -> list[np.ndarray]:
    """Return rows of blue, green, red and nir in 10-bit digital numbers: land, clouds and a border without data."""
    random = np.random.default_rng(0)
    cells = size // 50 + 2
    land, cloud = random.random((cells, cells)), np.clip(3 * random.random((cells, cells)) - 2, 0, 1)
    index = np.arange(size)[rows]
    within = np.ix_(index // 50, np.arange(size) // 50)
    noise = np.random.default_rng([0, index[0]])
    bands = []
    for dark, bright in ((90, 40), (80, 60), (70, 90), (200, 150)):
        values = (dark + bright * land[within]) * (1 - cloud[within]) + 800 * cloud[within]
        values = values + noise.normal(0, 8, values.shape)
        band = np.clip(values, 1, 1023).astype("uint16")
        band[index < size // 20] = 0
        bands.append(band)
    return bands


def notebook_mask(bands: list[np.ndarray]) -> np.ndarray:
    """Run the notebook's own functions and the rest of its `process_item` that makes the mask."""
    text = NOTEBOOK.read_text()
    functions = text[text.index("def normalize") : text.index("# METADATA RELATED")]
    body = text[text.index("    band1 = normalize(") : text.index("    raster_blob = ")]
    lines = ["def mask(item_bands, calibration_data, id=''):", *body.splitlines(), "    return merged_mask"]
    space: dict[str, Any] = {"np": np, "print": lambda *_: None}
    exec(functions + "\n".join(lines), space)
    factors = {f"band {i}": c for i, c in enumerate((0.29107, 0.297832, 0.232504, 0.178993), 1)}
    with np.errstate(all="ignore"):
        return space["mask"]({f"BAND{i}": band for i, band in enumerate(bands, 1)}, factors)


def as_cube(bands: list[np.ndarray]) -> Any:
    """Return four bands as a cube of CBERS-4A WPM."""
    import xarray as xr

    return xr.Dataset({role: (("y", "x"), band) for role, band in zip(ROLES, bands, strict=False)})


def scenes() -> None:
    """4-4A and the notebook's code on 4000² uint16, in turns; memory of each in a process of its own; 14,000² Zarr."""
    import xr_cloudmask

    if not NOTEBOOK.exists():
        row("4-4A", "not measured: the notebook is absent from ../shared")
        return
    bands = wpm_scene(MEGAPIXEL_SCENE)
    cube = as_cube(bands)
    chunked = cube.chunk(y=1000, x=1000)
    runs = {
        "the notebook's code": lambda: notebook_mask(bands),
        "4-4A, NumPy": lambda: xr_cloudmask.predict(cube, "4-4A", scheme="4-4A")["cloudmask"].values,
        "4-4A, dask 1000² chunks": lambda: xr_cloudmask.predict(chunked, "4-4A", scheme="4-4A")["cloudmask"].values,
    }
    masks = {name: function() for name, function in runs.items()}
    equal = [float(np.mean(mask == masks["the notebook's code"])) for mask in masks.values()]
    durations = dict(
        zip(runs, np.median([[seconds(f, 1) for f in runs.values()] for _ in range(5)], axis=0), strict=True)
    )
    other, megapixels = durations["the notebook's code"], MEGAPIXEL_SCENE**2 / 1e6
    for (name, own), share in zip(durations.items(), equal, strict=True):
        memory = _output("_print_scene_memory", name)
        row(
            f"{name}, {MEGAPIXEL_SCENE}² × 4 uint16",
            f"{own:.2f} s, {megapixels / own:.1f} megapixels/s, {other / own:.1f} × the notebook, "
            f"{share:.4%} of pixels equal, {float(memory):.1f} bytes of working memory a pixel",
        )
    row("load of the machine meanwhile", f"{os.getloadavg()[0]:.1f} of {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "benchmarks", "_write_scene", folder], check=True)
        subprocess.run([sys.executable, "-m", "benchmarks", "_predict_scene", folder], check=True)


def _output(*arguments: str) -> str:
    return subprocess.check_output([sys.executable, "-m", "benchmarks", *arguments], text=True)


def _print_scene_memory(name: str) -> None:
    """Print bytes a pixel at the peak, beyond the bands and what a small scene needs."""
    import xr_cloudmask

    def run(bands: list[np.ndarray]) -> object:
        if name == "the notebook's code":
            return notebook_mask(bands)
        cube = as_cube(bands)
        cube = cube if "NumPy" in name else cube.chunk(y=1000, x=1000)
        return xr_cloudmask.predict(cube, "4-4A", scheme="4-4A")["cloudmask"].values

    run(wpm_scene(200))  # imports and compiles
    bands = wpm_scene(MEGAPIXEL_SCENE)
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    before = peak_gigabytes()
    run(bands)
    print((peak_gigabytes() - before) * 1e9 / MEGAPIXEL_SCENE**2)


def _write_scene(folder: str) -> None:
    import xarray as xr

    path, step = Path(folder) / "scene.zarr", 2000
    for begin in range(0, LARGE_SCENE, step):
        part = as_cube(wpm_scene(LARGE_SCENE, slice(begin, begin + step))).chunk(y=2000, x=2000)
        if begin == 0:
            xr.zeros_like(part.isel(y=[0] * LARGE_SCENE)).chunk(y=2000, x=2000).to_zarr(
                path, compute=False, zarr_format=2
            )
        part.to_zarr(path, region={"y": slice(begin, begin + step)})


def _predict_scene(folder: str) -> None:
    import xarray as xr

    import xr_cloudmask  # noqa: F401 - registers .cloudmask

    begin = time.perf_counter()
    cube = xr.open_zarr(Path(folder) / "scene.zarr", chunks={})
    cube.cloudmask.predict("4-4A").drop_encoding().to_zarr(Path(folder) / "mask.zarr", zarr_format=2)
    row(
        f"4-4A, {LARGE_SCENE}² × 4 uint16, Zarr → Zarr",
        f"{time.perf_counter() - begin:.1f} s, peak memory {peak_gigabytes():.2f} GB",
    )


# Cover of low cloud, and landscapes of the simulator.
SURFACES = {
    "full cloud": (1.0, ("temperate", "forest", "city")),
    "clear land": (0.0, ("temperate", "farmland", "forest", "steppe", "city")),
    "bright sand": (0.0, ("desert",)),
    "salt": (0.0, ("salt_flat",)),
    "snow": (0.0, ("winter", "ice")),
}
SEEDS = 4


def turbid_water(seed: int) -> Any:
    """Return a surface of the most turbid of many simulated waters, in drifting concentration."""
    from xr_cloudmask import simulate
    from xr_cloudmask.simulate import fields, ground, spectra
    from xr_cloudmask.simulate.light import response

    rng = np.random.default_rng(seed)
    seen = response(ground.limits(ground.sensor_bands(ground.sensor_table("sentinel-2"), ROLES)))
    water = max((seen @ spectra.water(rng, False) for _ in range(200)), key=lambda reflectance: reflectance[2])
    surface = simulate.clear_surface(bands=ROLES, size=(512, 512))
    return surface.copy(data=water[:, None, None] * (1 + 0.15 * fields.rough(rng, (512, 512), 3.0)).astype("float32"))


def surfaces() -> None:
    """What models call cloud under an overcast sky, over clear land, bright sand, salt, snow and turbid water."""
    from xr_cloudmask import predict, simulate

    scenes = {
        name: [
            simulate.scene(
                simulate.clear_surface(bands=ROLES, landscape=landscape, seed=seed), cover=cover, gsd=30, seed=seed
            )
            for seed in range(SEEDS)
            for landscape in landscapes
        ]
        for name, (cover, landscapes) in SURFACES.items()
    }
    scenes["turbid water"] = [simulate.scene(turbid_water(seed), cover=0, gsd=30, seed=seed) for seed in range(SEEDS)]
    for name, cubes in scenes.items():
        figures = []
        for model in ("physical", "csmask", "universal"):
            for count in (4, 6):
                found = [predict(cube[list(cube.data_vars)[:count]], model).cloud_fraction for cube in cubes]
                figures.append(f"{model} {count} bands {float(np.mean(found)):.1%}")
        row(f"called cloud: {name}", ", ".join(figures))


CATALOGUED, CATALOGUED_SIZE = 40, 4000


def catalog() -> None:
    """40 scenes of four striped bands from disk: a catalogue with 2 workers, and the notebook's own sequential loop."""
    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    from pystac import Item
    from scenes import make_wpm

    from xr_cloudmask import Catalog

    if not NOTEBOOK.exists():
        row("catalogue", "not measured: the notebook is absent from ../shared")
        return
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder) / "files"
        made = [make_wpm(files, str(files), i, size=(CATALOGUED_SIZE, CATALOGUED_SIZE)).item for i in range(4)]
        items = [Item.from_dict(made[i % 4] | {"id": f"scene_{i:02d}"}) for i in range(CATALOGUED)]
        Catalog(Path(folder) / "warm.db").run(items[:1], "4-4A", progress=False)  # imports and compiles
        begin, busy = time.perf_counter(), time.process_time()
        done = Catalog(Path(folder) / "scenes.db").run(items, "4-4A", workers=2, progress=False)
        ours, our_work = time.perf_counter() - begin, time.process_time() - busy
        assert done.made == CATALOGUED
        loop = partial(_notebook_loop, items, Path(folder) / "notebook.db")
        busy = time.process_time()
        other = seconds(loop, 1)
        other_work = time.process_time() - busy
        again = seconds(lambda: Catalog(Path(folder) / "scenes.db").run(items, "4-4A", progress=False), 1)
    what = f"{CATALOGUED} scenes of {CATALOGUED_SIZE}² × 4 from disk, 4-4A"
    row(f"{what}: the notebook's loop", f"{other:.1f} s")
    row(f"{what}: Catalog.run, 2 workers", f"{ours:.1f} s, {other / ours:.1f} × the notebook")
    row(f"{what}: a second run", f"{again:.2f} s")
    row(
        "processor seconds per scene, Catalog.run and the notebook",
        f"{our_work / CATALOGUED:.2f} and {other_work / CATALOGUED:.2f}",
    )
    row("load of the machine meanwhile", f"{os.getloadavg()[0]:.1f} of {os.cpu_count()} cores")


def _notebook_loop(items: list[Any], database: Path) -> None:
    """Run the notebook's own cells one scene after the other: read, mask, compress, insert."""
    import json
    import sqlite3
    import warnings
    import zlib
    from io import BytesIO
    from types import SimpleNamespace

    import rasterio

    text = NOTEBOOK.read_text()
    functions = text[text.index("def normalize") : text.index("### 3. MAIN")]
    main = text[text.index("def process_item") : text.index("### 4. SETTING")]
    tables = text[text.index("def create_table") : text.index("Create table if it does not exist")]
    code = "\n".join(line for line in (functions + main + tables).splitlines() if not line.startswith(("In [", "---")))
    by_id = {item.id: item for item in items}
    space: dict[str, Any] = {
        "np": np, "json": json, "sqlite3": sqlite3, "zlib": zlib, "warnings": warnings, "rasterio": rasterio,
        "io": SimpleNamespace(BytesIO=BytesIO), "print": lambda *_: None,
        "service": SimpleNamespace(get_items=lambda name: iter([by_id[name].clone()])),
        "get_coefficient": lambda _: {f"band {i}": 0.2 for i in range(1, 5)},  # spares it four requests
    }  # fmt: skip
    exec(code, space)
    space["create_table"](str(database), "scenes")
    for name in by_id:
        found = space["process_item"](name)
        space["insert_image_data"](str(database), "scenes", found)
    with sqlite3.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM scenes").fetchone()[0] == len(items)


def cluster() -> None:
    """A series on one and on two processes of one thread: time, windows, memory."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "benchmarks", "_write_series", folder], check=True)
        for workers in ("1", "2"):
            subprocess.run([sys.executable, "-m", "benchmarks", "_run_cluster", folder, workers], check=True)


def _write_series(folder: str) -> None:
    from benchmarks import cluster

    cluster.write(Path(folder), scene)


def _run_cluster(folder: str, workers: str) -> None:
    from benchmarks import cluster

    for name, figure in cluster.report(Path(folder), int(workers)):
        row(name, figure)


BENCHMARKS = (
    *(imports, graph, speed, tile, accuracy, sensei, universal, worlds),
    *(scenes, surfaces, screening, catalog, cluster, composites, refinement),
)


def main(arguments: list[str]) -> None:
    """Run one benchmark here, or all of them in processes of their own."""
    if arguments:
        globals()[arguments[0]](*arguments[1:])
        return
    print(f"{os.cpu_count()} cores\n\n| what | figure |\n| --- | --- |", flush=True)
    for benchmark in BENCHMARKS:
        subprocess.run([sys.executable, "-m", "benchmarks", benchmark.__name__], check=True)


main(sys.argv[1:])
