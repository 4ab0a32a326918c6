"""The state of a run: what is learnt, its average, and how both are kept in files."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from xr_cloudmask import atomic
from xr_cloudmask.errors import FileError
from xr_cloudmask.extras import require
from xr_cloudmask.models.networks.architecture import Architecture
from xr_cloudmask.models.networks.universal import UniversalNetwork, channels_last
from xr_cloudmask.models.universal import CLASSES
from xr_cloudmask.training.recipe import Recipe

HEAD_BIAS = "trunk.head.bias"
CHECKPOINT, WEIGHTS = "checkpoint", "universal.safetensors"
MOMENTS = "exp_avg", "exp_avg_sq"  # of AdamW, each as large as the network
REST = "rest"
# What a recipe may say otherwise when a run is resumed; all else would be a run that nothing describes.
CHANGEABLE = frozenset(
    {"patches", "size", "rate", "weights", "balance", "validate_every", "validation", "save_minutes"}
)


class TrainingState:
    """A network, its optimiser and its average after some steps.

    Parameters
    ----------
    recipe : Recipe
    device : torch.device

    Attributes
    ----------
    step : int
        Steps done.
    """

    def __init__(self, recipe: Recipe, device: torch.device) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        architecture = Architecture(recipe.widths, recipe.dilations, classes=len(CLASSES), thermal=True)
        network = UniversalNetwork(architecture).to(device)
        self.network = channels_last(network)
        self.average = copy.deepcopy(self.network).eval().requires_grad_(False)
        matrices = [p for p in network.parameters() if p.ndim > 1]
        others = [p for p in network.parameters() if p.ndim <= 1]  # offsets and gains are not shrunk
        self.optimiser = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}],
            lr=recipe.rate,
        )
        self.step = 0

    @property
    def _networks(self) -> dict[str, torch.nn.Module]:
        return {"network": self.network, "average": self.average}

    def start_from(self, state: Mapping[str, Tensor]) -> None:
        """Take over trained weights, as `export` writes them."""
        fresh = {name: tensor for name, tensor in self.network.state_dict().items() if name not in state}
        whole = {**fresh, **state, HEAD_BIAS: state[HEAD_BIAS] + self._taken_out()}
        self.network.load_state_dict(whole)
        self.average.load_state_dict(whole)

    def _taken_out(self) -> Tensor:
        """Return what the weights of the classes add to their logits, as far as the recipe takes it out again."""
        return torch.tensor(self.recipe.weights).log() * self.recipe.balance

    @torch.no_grad()
    def take_into_average(self) -> None:
        """Move the average towards the weights, and towards what BatchNorm has seen; fast at first."""
        span = min(self.recipe.averaging / self.recipe.batch, (self.step + 10) / 9)
        for mean, now in zip(self.average.state_dict().values(), self.network.state_dict().values(), strict=True):
            if mean.is_floating_point():
                mean.lerp_(now, 1 / max(span, 1))
            else:
                mean.copy_(now)

    def save(self, folder: Path) -> None:
        """Write the checkpoint, and the average as weights to predict with; a reader sees the old or the new files.

        A checkpoint is a folder: none of its files is larger than the network in float32.
        """
        optimiser = self.optimiser.state_dict()
        content: dict[str, Any] = {name: part.state_dict() for name, part in self._networks.items()}
        moments = optimiser["state"].items()
        content |= {name: {number: values[name] for number, values in moments} for name in MOMENTS}
        counts = {number: {k: v for k, v in values.items() if k not in MOMENTS} for number, values in moments}
        rest = {"optimiser": {**optimiser, "state": counts}, "step": self.step, "recipe": asdict(self.recipe)}
        content[REST] = rest
        with atomic.replacing(folder / CHECKPOINT) as path:
            path.mkdir()
            for name, part in content.items():
                torch.save(part, path / f"{name}.pt")
        with atomic.replacing(folder / WEIGHTS) as path:
            self.export(path)

    def load(self, folder: Path) -> None:
        """Go on where a checkpoint was written.

        Raises
        ------
        FileError
            There is none, it is damaged, or the recipe differs in what may not change (`CHANGEABLE` may).
        """
        path = folder / CHECKPOINT
        if not path.is_dir():
            raise FileError(f"no {str(path)!r}", "the checkpoint of a run that was stopped", "resume=False")
        device = next(self.network.parameters()).device
        try:
            content = {
                name: torch.load(path / f"{name}.pt", map_location=device, weights_only=True)
                for name in (*self._networks, *MOMENTS, REST)
            }
            rest = content[REST]
            self._require_recipe(path, rest["recipe"])
            for name, part in self._networks.items():
                part.load_state_dict(content[name])
            for number, values in rest["optimiser"]["state"].items():
                values |= {name: content[name][number] for name in MOMENTS}
            self.optimiser.load_state_dict(rest["optimiser"])
            self.step = rest["step"]
        except FileError:
            raise
        except (AttributeError, EOFError, KeyError, OSError, RuntimeError, UnpicklingError, ValueError) as error:
            problem = " ".join(str(error).split())[:200]
            raise FileError(
                f"{str(path)!r}: {problem}", "a checkpoint of the recipe's network", "another --out"
            ) from error

    def _require_recipe(self, path: Path, saved: Mapping[str, Any]) -> None:
        """Refuse a checkpoint whose recipe differs."""
        given = asdict(self.recipe)
        others = sorted(name for name in saved if saved[name] != given.get(name) and name not in CHANGEABLE)
        if others:
            raise FileError(
                f"{str(path)!r}, of a recipe with " + ", ".join(f"{name} = {saved[name]!r}" for name in others),
                f"the recipe it was begun with, but for {sorted(CHANGEABLE)}",
                "the recipe of the run (--recipe), or a new run in another folder",
            )

    def export(self, path: Path) -> None:
        """Write the average as float16 safetensors, with what `models.universal` needs to know of it."""
        save = require("safetensors.torch", "train", "files of weights").save
        tensors = {
            name: (tensor.half() if tensor.is_floating_point() else tensor).cpu().contiguous()
            for name, tensor in self.average.state_dict().items()
        }
        tensors[HEAD_BIAS] = (self.average.state_dict()[HEAD_BIAS].cpu() - self._taken_out()).half()
        facts = {
            "architecture": json.dumps(asdict(self.network.architecture)),
            "classes": " ".join(CLASSES),
            "steps": str(self.step),
            "patches": str(self.step * self.recipe.batch),
            "recipe": json.dumps(asdict(self.recipe)),
            "recipe_sha256": self.recipe.sha256,
        }
        path.write_bytes(save(tensors, facts))
