"""Speed of upscale.py from file to file, compared with the speed of its parts.

    python -m benchmarks.upscale [frames=60] [threads=2] [model=fsrcnn] [engines=torch,auto,openvino:bf16]

The script measures frames per second of upscale.py (video in, FFV1 out, x2 to 1080p), and of (a) its network alone on random
tensors, (b) the same network in ONNX Runtime, and (c) the bicubic scaler of FFmpeg from and to the same files, which is the cost
of reading and writing. Each round measures them one after the other. The script prints medians over rounds and their ratios to
the network alone.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import av
import numpy as np
import torch

import vsr
from vsr.config.schema import UpscaleSchema
from vsr.inference.upscale_file import upscale_file

ROOT = Path(__file__).parent.parent
HEIGHT, WIDTH, ROUNDS = 540, 960, 3


def write_movie(path: Path, frames: int) -> None:
    """Write moving waves with a little noise as yuv420p H.264, so that decoding costs as much as for a real movie."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "18", "preset": "veryfast"})
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        for t in range(frames):
            luma = 120 + 60 * np.sin(x / 9 + t / 5) * np.cos(y / 7 - t / 8) + rng.normal(0, 2, x.shape)
            planes = np.full((HEIGHT * 3 // 2, WIDTH), 128, np.uint8)
            planes[:HEIGHT] = luma.round()
            container.mux(stream.encode(av.VideoFrame.from_ndarray(planes, format="yuv420p")))
        container.mux(stream.encode())


def make_checkpoint(folder: Path, model: str) -> Path:
    """Write the checkpoint of an untrained network: its speed does not depend on its weights."""
    options = [f"model={model}", "data=movies", "epochs=0", "strategy=cpu", f"hydra.run.dir='{folder / 'run'}'"]
    subprocess.run([sys.executable, str(ROOT / "train.py"), *options], check=True, capture_output=True)
    return folder / "run" / "checkpoints" / "best.ckpt"


def upscale_by_ffmpeg(source: Path, target: Path) -> None:
    """Decode, enlarge with the bicubic scaler of swscale, and encode with FFV1."""
    with av.open(str(source)) as given, av.open(str(target), "w") as made:
        given.streams.video[0].thread_type = "AUTO"
        stream = made.add_stream("ffv1", rate=25, options={"level": "3", "slicecrc": "1"})
        stream.height, stream.width, stream.pix_fmt = 2 * HEIGHT, 2 * WIDTH, "yuv420p"
        stream.thread_type = "AUTO"
        for frame in given.decode(video=0):
            larger = frame.reformat(width=2 * WIDTH, height=2 * HEIGHT, interpolation="BICUBIC")
            larger.pts = None
            made.mux(stream.encode(larger))
        made.mux(stream.encode())


def onnx_network(checkpoint: Path, folder: Path, threads: int) -> Callable[[], object] | None:
    """Return a function that computes one frame in ONNX Runtime; None if onnxruntime is not installed."""
    try:
        import onnxruntime
    except ImportError:
        return None
    path = folder / "network.onnx"
    command = [sys.executable, "-m", "vsr", "export", f"checkpoint={checkpoint}", "format=onnx", f"output={path}"]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    lr = (np.random.default_rng(0).random((1, 1, HEIGHT, WIDTH)) * 255).astype(np.float32)
    name = session.get_inputs()[0].name
    return lambda: session.run(None, {name: lr})


def seconds_per_frame(run: Callable[[], object], frames: int) -> float:
    start = time.perf_counter()
    run()
    return (time.perf_counter() - start) / frames


def main() -> None:
    given = dict(argument.split("=", 1) for argument in sys.argv[1:])
    if unknown := sorted(set(given) - {"frames", "threads", "model", "engines"}):
        sys.exit(f"{unknown[0]}: unknown key; python -m benchmarks.upscale takes frames, threads, model, engines")
    frames, threads, model = int(given.get("frames", 60)), int(given.get("threads", 2)), given.get("model", "fsrcnn")
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "film.mp4"
        write_movie(source, frames)
        checkpoint = make_checkpoint(folder, model)
        network = vsr.load(checkpoint, device="cpu")
        body, frame = network.module.network.fold(), network.engine.kind == "frame"
        size = (1, 1) if frame else (1, 1, 1 + 2 * network.engine.context)
        lr = torch.rand(*size, HEIGHT, WIDTH)
        several = max(4, frames // 10)

        @torch.inference_mode()
        def alone() -> None:
            for _ in range(several):
                body(lr)

        def whole(named: str) -> None:
            engine, _, precision = named.partition(":")
            settings = UpscaleSchema(checkpoint=str(checkpoint), input=str(source), output=str(folder / "o.mkv"), overwrite=True)
            upscale_file(replace(settings, engine=engine, precision=precision or None))

        ways: dict[str, tuple[Callable[[], object], int]] = {"network alone": (alone, several)}
        for named in given.get("engines", "torch").split(","):
            ways[f"file to file, {named}"] = (partial(whole, named), frames)
        session = onnx_network(checkpoint, folder, threads)
        if session is not None:
            ways["ONNX Runtime, network alone"] = (session, 1)
        ways["ffmpeg bicubic, file to file"] = (lambda: upscale_by_ffmpeg(source, folder / "f.mkv"), frames)
        for run, _ in ways.values():
            run()
        times = {way: [] for way in ways}  # type: dict[str, list[float]]
        for _ in range(ROUNDS):
            for way, (run, count) in ways.items():
                times[way].append(seconds_per_frame(run, count))
    rate = {way: 1 / statistics.median(found) for way, found in times.items()}
    print(f"{model} x2, {WIDTH}x{HEIGHT} to {2 * WIDTH}x{2 * HEIGHT}, {frames} frames, {threads} threads, median of {ROUNDS}")
    for way, found in rate.items():
        print(f"{way:<30} {found:7.2f} frames/s   {found / rate['network alone']:.2f} of the network alone")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    main()
