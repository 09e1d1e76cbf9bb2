"""Values, shapes and lengths that no network can be trained on: items 10 to 14."""

from __future__ import annotations

import numpy as np

from tests.data.datamodules.test_climate_files import flow
from tests.robustness.faults.bench import Bench, fault, npy, save, upscale


def with_value(value: float) -> np.ndarray:
    values = flow()
    values[3, 4, 5] = value
    return values


fault("10-nan", "a.npy:a: 1 of the frames 0 to", "hold NaN or infinite values, the first is frame 3", "data.mask=true")(
    lambda bench: npy(bench, with_value(np.nan))
)
fault("10-infinity", "hold NaN or infinite values, the first is frame 3")(lambda bench: npy(bench, with_value(-np.inf)))
fault("10-nan-everywhere", "holds no finite value")(
    lambda bench: npy(bench, np.full((12, 24, 32), np.nan, np.float32), "data.mask=true")
)
fault(
    "10-a-double-beyond-float32",
    "beyond the range of float32 (3.4e+38), in which networks compute",
)(lambda bench: npy(bench, np.where(np.isnan(with_value(np.nan)), 1e300, flow().astype(np.float64))))


@fault("10-minus-zero-and-denormals", "fsrcnn", status=0)
def _(bench: Bench) -> list[str]:
    values = flow()
    values[3, 4, 5], values[3, 4, 6] = -0.0, 1e-42
    return npy(bench, values)


fault("10-infinity-upscaled-stays-where-it-is", "result", status=0)(
    lambda bench: upscale(bench, save(bench, with_value(np.inf)), "axes=tyx", f"output={bench.here}/b.npy")
)


@fault("10-values-that-overflow-in-the-network", "frame 3: the network makes infinite values or NaN", "NaN where there is none")
def _(bench: Bench) -> list[str]:
    values = flow()
    values[3, 4:7, 5:8] = np.finfo(np.float32).max
    return upscale(bench, save(bench, values), "axes=tyx", f"output={bench.here}/b.npy")


fault("11-constant", "every value is 3; a constant field")(lambda bench: npy(bench, np.full((12, 24, 32), 3, np.float32)))


@fault("11-one-constant-frame", "fsrcnn", status=0)
def _(bench: Bench) -> list[str]:
    values = flow()
    values[4] = 0.5
    return npy(bench, values)


fault("12-two-dimensions", "a.npy: no numeric array of 3 or more dimensions (a is 24x32)")(lambda bench: npy(bench, flow()[0]))
fault("12-six-dimensions", "of 6 dimensions; a movie has 3")(lambda bench: npy(bench, flow()[None, None, None]))
fault("12-unknown-axes", "type e.g. data.axes=tyx", "tyx is 12 frames of 24x32", "yxt is 32 frames of 12x24")(
    lambda bench: npy(bench, flow(), axes=None)
)
fault("12-axes-that-repeat", "data.axes=tyxx: a letter occurs twice")(lambda bench: npy(bench, flow(), axes="tyxx"))
fault("12-time-taken-for-a-column", "type recipe.patch=6")(lambda bench: npy(bench, flow(), axes="xty"))
fault("12-one-frame", "one frame is not a movie")(lambda bench: npy(bench, flow(1)))
fault("13-too-few-frames", "too few for the split")(lambda bench: npy(bench, flow(3)))
fault("13-more-wanted-than-there-are", "there are 20; type data.learn=0.7")(
    lambda bench: npy(bench, flow(20), "data.learn=120", "data.test=50")
)
fault("13-four-frames-for-a-network-of-five", "fsrcnn", status=0)(
    lambda bench: npy(bench, flow(5), "data.learn=3", "data.test=2", "data.val=0.34")
)
fault("13-a-movie-network-on-five-frames", "srnet3d", status=0)(
    lambda bench: npy(bench, flow(5), "model=srnet3d", "data.learn=3", "data.test=2", "data.val=0.34", "recipe.frames=6")
)
fault("13-clips-longer-than-the-movie", "recipe.frames")(lambda bench: npy(bench, flow(12), "model=srnet3d", "recipe.frames=40"))
fault("14-not-divisible", "25x32 are not divisible by scale=2; type data.crop=true")(
    lambda bench: npy(bench, flow(12, 25, 32), "data.crop=false")
)
fault("14-smaller-than-the-patch", "type recipe.patch=6")(lambda bench: npy(bench, flow(12, 12, 32)))
fault("14-smaller-than-the-scores-window", "SSIM needs 11x11")(lambda bench: npy(bench, flow(12, 16, 32)))
fault("14-smaller-than-the-kernel-upscaled", "result", status=0)(
    lambda bench: upscale(bench, save(bench, flow(6, 2, 3)), "axes=tyx", f"output={bench.here}/b.npy")
)
