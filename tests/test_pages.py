"""The code of the pages on networks and files runs as written, from top to bottom; the weights are random."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from paths import DOCS
from products import make_cbers, make_landsat, write_raster


def run_blocks(page: str, folder: Path, check: str = "") -> None:
    """Run a page's Python blocks and a check in one process; a block that starts with a file's name is that file."""
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    assert blocks
    code = []
    for block in blocks:
        name = re.match(r"# (\w+\.py)\n", block)
        if name:
            (folder / name[1]).write_text(block)
        else:
            code.append(block)
    (folder / "page.py").write_text("\n".join([*code, check]))
    warnings = ["-W", "error", "-W", "ignore:Use `@` matmul:PendingDeprecationWarning"]  # rioxarray, see pyproject.toml
    warnings += ["-W", "ignore:model 'csmask' sees pixels of:UserWarning"]  # scenes are small
    warnings += ["-W", "ignore:Port 8787 is already in use:UserWarning"]  # another process of tests may have a cluster
    done = subprocess.run(
        [sys.executable, *warnings, "page.py"], check=False, cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.fixture
def phicloudmask_folder(tmp_path):
    """What its README asks for: two files of weights and a sample, here of SegFormer B0."""
    import torch

    from xr_cloudmask.models.networks.embedding import CHANNELS, SpectralEmbedding
    from xr_cloudmask.models.networks.segformer import CONFIGS, Segformer

    torch.manual_seed(0)
    folder = tmp_path / "weights"
    folder.mkdir()
    torch.save(SpectralEmbedding().state_dict(), folder / "spectral_embedding.pt")
    torch.save(Segformer(CONFIGS["B0"], CHANNELS, 7).state_dict(), folder / "cloudmask_weights.pt")
    rng = np.random.default_rng(0)
    demo = {"s2": rng.random((13, 200, 260), "float32"), "cloud_mask": rng.integers(0, 7, (1, 200, 260))}
    (folder / "demo.pkl").write_bytes(pickle.dumps(demo))
    return tmp_path


def test_every_block_of_the_sensei_page(phicloudmask_folder):
    make_landsat(phicloudmask_folder, "L1")
    run_blocks("sensei.md", phicloudmask_folder)
    assert {"all.png", "rgb.png"} <= {path.name for path in phicloudmask_folder.iterdir()}


@pytest.fixture
def network_folder(tmp_path):
    """One convolution as a state dict and as an ONNX file."""
    import torch
    from onnx import TensorProto, helper, numpy_helper, save

    torch.manual_seed(0)
    state = torch.nn.Conv2d(4, 3, kernel_size=5, padding=2).state_dict()
    torch.save(state, tmp_path / "my_network.pt")
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["window", channels, "height", "width"])
        for name, channels in (("bands", 4), ("logits", 3))
    ]
    node = helper.make_node("Conv", ["bands", *state], ["logits"], pads=[2, 2, 2, 2])
    tensors = [numpy_helper.from_array(tensor.numpy(), name) for name, tensor in state.items()]
    graph = helper.make_graph([node], "network", values[:1], values[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    save(model, tmp_path / "my_network.onnx")
    return tmp_path


def test_every_block_of_the_page_on_custom_models(network_folder):
    check = """
masks = [out["cloud_mask"] for out in (from_torch, from_onnx, from_loader)]
assert len(set(masks[0].values.ravel())) > 1
assert all((mask == masks[0]).mean() > 0.99 for mask in masks)
assert all(len(mask.attrs["weights_sha256"]) == 64 for mask in masks)
"""
    run_blocks("custom_models.md", network_folder, check)


def test_every_block_of_the_simulation_page(tmp_path):
    run_blocks("simulation.md", tmp_path, 'assert set(mask.data_vars) == {"cloud_mask"}')


def test_every_block_of_the_training_page(tmp_path):
    run_blocks("training.md", tmp_path, 'assert mask["cloud_mask"].attrs["model"] == "universal"')
    assert (tmp_path / "run" / "universal.safetensors").exists()


def test_every_block_of_the_universal_page(tmp_path):
    run_blocks("universal.md", tmp_path)


def test_every_block_of_the_page_on_benchmarks(tmp_path):
    run_blocks("benchmarks.md", tmp_path, "assert both.table().to_numpy().sum() == cube.truth.size")


def test_every_block_of_the_cbers_page(tmp_path):
    make_cbers(tmp_path)
    run_blocks("cbers.md", tmp_path, "assert set(out['cloud_mask'].values.ravel()) <= {0, 1, 2, 3}")


def test_every_block_of_the_page_on_time_series(tmp_path):
    check = """
assert fewer.sizes["time"] <= kept.sizes["time"] < cube.sizes["time"]
assert {"clear_count", "chosen_date"} <= set(june.coords)
assert monthly.sizes["time"] > 1
assert (cleaner["clear_count"] > 0).mean() > 0.9
"""
    run_blocks("series.md", tmp_path, check)
    assert (tmp_path / "image.nc").exists()
    assert (tmp_path / "masks.zarr").exists()


def test_every_block_of_the_page_on_clusters(tmp_path):
    run_blocks("cluster.md", tmp_path)
    assert (tmp_path / "composite.zarr").exists()


def test_every_block_of_the_page_on_indices(tmp_path):
    check = """
assert {"cloud_mask", "water"} <= set(scenes)
assert absolute["cloud_mask"].attrs["shadows_looked_for"].startswith("along the sun's direction")
assert hot.count() < layers["hot"].count()
assert set(wetness) == {"NDWI", "EVI"}
"""
    run_blocks("indices.md", tmp_path, check)


def test_every_block_of_the_page_on_what_is_understood(tmp_path):
    run_blocks("understood.md", tmp_path)


def test_every_block_of_the_page_on_images(tmp_path):
    opacity = np.full((96, 96), 255, "uint8")
    opacity[:20] = 0
    colours = np.random.default_rng(0).integers(20, 200, (3, 96, 96), "uint8")
    write_raster(tmp_path / "drone.tif", np.concatenate([colours, opacity[None]]), pixel=30.0)
    run_blocks("images.md", tmp_path, "assert float(mask.valid_fraction) == 1 - 20 / 96")
