"""Time that a combined pipeline takes on a movie, compared with the time of its parts.

    python -m benchmarks.pipelines [--size 128] [--frames 16] [--threads 1]

For each pair of networks, one run measures three times: the whole movie through the combined network; the frame network on all
frames; and the movie network once per output frame, on windows of five frames. The ratio is the first time over the sum of the
other two.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

from vsr.models.base import Network, apply_network_to_clip
from vsr.models.cascade import Cascade
from vsr.models.fsrcnn import FSRCNN
from vsr.models.residual import StandardizedResidual
from vsr.models.srcnn import SRCNN
from vsr.models.srnet3d import SRNet3D, SRNet3DKim

ROUNDS = 7


def make_cascade(frame: Network, movie: Network) -> Cascade:
    """Return the frame network followed by the movie network, at scale 2."""
    return Cascade(first=StandardizedResidual(frame), second=StandardizedResidual(movie), scale=2).eval()


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


@torch.no_grad()
def compare(network: Cascade, clip: torch.Tensor) -> tuple[float, float, float]:
    """Measure the pipeline and its parts.

    Args:
        network: the pipeline.
        clip: LR frames, (1, 1, T, h, w).

    Returns:
        Median seconds of the pipeline, of the frame network on every frame, and of the movie network on every window.
    """
    whole = network.fold()
    first, second = network.first.fold(), network.second.fold()
    interim = apply_network_to_clip(first, "frame", clip)
    # All windows form one batch, because 3D convolutions of one small clip are slower in torch and would favour the pipeline.
    windows = torch.cat([interim[:, :, t : t + 5] for t in range(clip.shape[2] - 4)])
    calls: list[Callable[[], object]] = [
        lambda: whole(clip),
        lambda: apply_network_to_clip(first, "frame", clip),
        lambda: second(windows),
    ]
    if isinstance(network.second, StandardizedResidual) and getattr(network.second.network, "windows", False):
        torch.testing.assert_close(
            whole(clip)[0, 0], second(windows)[:, 0, 0], rtol=1e-4, atol=1e-4
        )  # both ways must give the same frames
    times: list[list[float]] = [[], [], []]
    for _ in range(ROUNDS):
        for call, found in zip(calls, times, strict=True):
            found.append(seconds(call))
    return tuple(statistics.median(found) for found in times)  # type: ignore[return-value]


def randomize(network: nn.Module) -> nn.Module:
    """Draw all weights at random, so that none is zero, and return the network."""
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.05)
    return network


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=128, help="HR pixels per side")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    clip = torch.rand(1, 1, arguments.frames, arguments.size // 2, arguments.size // 2)
    pairs = {
        "fsrcnn + srnet3d": make_cascade(FSRCNN(scale=2), SRNet3D(scale=1, windows=True)),
        "fsrcnn + srnet3d windows=false": make_cascade(FSRCNN(scale=2), SRNet3D(scale=1)),
        "srcnn + srnet3d": make_cascade(SRCNN(scale=2), SRNet3D(scale=1, windows=True)),
        "fsrcnn + srnet3d_kim width=16": make_cascade(FSRCNN(scale=2), SRNet3DKim(width=16, scale=1, windows=True)),
    }
    print(f"{arguments.frames} frames of {arguments.size} px, {arguments.threads} thread(s), medians of {ROUNDS} rounds, ms")
    print(f"{'pipeline':<34}{'whole':>9}{'frames':>9}{'windows':>9}{'ratio':>8}")
    for name, network in pairs.items():
        randomize(network)
        whole, frames, windows = compare(network, clip)
        print(f"{name:<34}{whole * 1e3:>9.0f}{frames * 1e3:>9.0f}{windows * 1e3:>9.0f}{whole / (frames + windows):>8.2f}")


if __name__ == "__main__":
    main()
