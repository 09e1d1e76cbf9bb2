"""Time per frame of a trained frame network in upscale.py and, exported, in ONNX Runtime and TorchScript.

    python -m benchmarks.export best.ckpt [--height 270] [--width 480] [--threads 1] [--rounds 15] [--tile 96] [--compile]

All variants take turns in one process. The script prints medians in milliseconds, and the median over rounds of each ratio to the
first row. With one thread it measures processor time, which depends less on other processes of the machine.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import onnxruntime
import torch

from vsr.inference.engine import Engine
from vsr.inference.export.checkpoint import export_checkpoint
from vsr.inference.options import UpscaleOptions
from vsr.inference.trained import read_trained


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    for name, default in (("height", 270), ("width", 480), ("threads", 1), ("rounds", 15), ("tile", 96)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    trained = read_trained(options.checkpoint)
    channels = trained.channels
    lr = trained.module().normalizer.inverse(torch.rand(1, channels, options.height, options.width))

    def engine(**chosen: int | bool) -> Callable[[], object]:
        made = Engine(trained.module(), UpscaleOptions(device="cpu", **chosen), channels=channels)  # type: ignore[arg-type]
        return lambda: made(lr)

    with tempfile.TemporaryDirectory() as folder:
        onnx = export_checkpoint(options.checkpoint, "onnx", Path(folder) / "a.onnx").path
        session_options = onnxruntime.SessionOptions()
        session_options.intra_op_num_threads = options.threads
        session = onnxruntime.InferenceSession(str(onnx), session_options, providers=["CPUExecutionProvider"])
        script = torch.jit.load(export_checkpoint(options.checkpoint, "torchscript", Path(folder) / "a.ts").path)

    def scripted() -> object:
        with torch.inference_mode():
            return script(lr)

    rows = {
        "torch, whole frames": engine(tile=0),
        f"torch, tiles of {options.tile}": engine(tile=options.tile),
        "ONNX Runtime": lambda: session.run(None, {"lr": lr.numpy()}),
        "TorchScript": scripted,
    }
    if options.compile:
        rows["torch.compile, whole frames"] = engine(tile=0, compile=True)
        rows[f"torch.compile, tiles of {options.tile}"] = engine(tile=options.tile, compile=True)
    clock = time.process_time if options.threads == 1 else time.perf_counter
    found: dict[str, list[float]] = {name: [] for name in rows}
    for run in rows.values():
        for _ in range(3):
            run()
    for _ in range(options.rounds):
        for name, run in rows.items():
            start = clock()
            run()
            found[name].append(1000 * (clock() - start))
    first = next(iter(found.values()))
    print(f"{trained.config.name} x{trained.config.scale}, {options.height}x{options.width}, {options.threads} thread(s)")
    for name, times in found.items():
        ratio = statistics.median(a / b for a, b in zip(first, times, strict=True))
        print(f"{name:<28} {statistics.median(times):7.1f} ms  {ratio:5.2f} times as fast")


if __name__ == "__main__":
    main()
