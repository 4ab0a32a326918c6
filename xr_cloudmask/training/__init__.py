"""Train the sensor-independent network on simulated worlds, or fine-tune it on labelled cubes.

``recipe`` says what a run consists of, ``samples`` and ``cubes`` make its patches, ``loop`` learns from them, ``state``
keeps what was learnt, ``validation`` scores it on worlds that are kept aside.
"""

from xr_cloudmask.extras import require_torch

require_torch("training")  # before the modules that cannot do without

from xr_cloudmask.training.cubes import LabelledCubes  # noqa: E402
from xr_cloudmask.training.loop import train  # noqa: E402
from xr_cloudmask.training.recipe import Recipe  # noqa: E402

__all__ = ["LabelledCubes", "Recipe", "train"]
