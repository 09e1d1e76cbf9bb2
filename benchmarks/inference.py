"""Frames per second of FSRCNN networks in the trained form and in the folded form.

    python -m benchmarks.inference [--size 256] [--rounds 7] [--threads N]

Both forms take turns in one process. --size is the size of the output in pixels. The script prints medians, the median ratio, and
the largest difference between the two outputs.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from vsr.models.base import Network
from vsr.models.fsrcnn import FSRCNN, FSRCNNOriginal


def seconds(network: torch.nn.Module, lr: torch.Tensor, frames: int) -> float:
    start = time.perf_counter()
    for _ in range(frames):
        network(lr)
    return (time.perf_counter() - start) / frames


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(
        f"output {options.size}x{options.size}, {options.threads} threads, medians of {options.rounds} rounds of {options.frames}"
    )
    networks: dict[str, Network] = {
        "fsrcnn": FSRCNN(scale=2),
        "fsrcnn_s": FSRCNNOriginal(d=32, s=5, m=1, scale=2),
        "fsrcnn_56": FSRCNNOriginal(scale=2),
    }
    for name, network in networks.items():
        folded = network.eval().fold()
        lr = torch.rand(1, 1, options.size // 2, options.size // 2)
        difference = (network(lr) - folded(lr)).abs().max().item()
        pairs = [(seconds(network, lr, options.frames), seconds(folded, lr, options.frames)) for _ in range(options.rounds)]
        plain, fast = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(a / b for a, b in pairs)
        print(f"{name:<10} {1 / plain:7.1f} -> folded {1 / fast:7.1f} frames/s, ratio {ratio:.2f}, difference {difference:.1e}")


if __name__ == "__main__":
    main()
