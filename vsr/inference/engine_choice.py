"""Choice of the engine and the precision of upscaling for a movie: `engine=auto` and `precision=auto`."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from vsr.config.check import RUNTIMES
from vsr.data.cache import cache_path
from vsr.errors import UserError
from vsr.inference.engine import Engine
from vsr.inference.options import UpscaleOptions
from vsr.inference.runtimes import runtime_version
from vsr.system.cpu import cpu_computes_bf16
from vsr.system.files import replacing_file
from vsr.system.provenance import cpu_name
from vsr.version import __version__

MOST_ERROR = 1e-4  # of the data range, by which bf16 may differ from torch in single precision under precision=auto
LEAST_GAIN = 1.1  # of another engine over torch; with less it loses to the threads that read and write beside it
TRIAL_SECONDS, TRIAL_SHARE = 2.0, 0.03  # at most, and of torch's time for the movie; after each has computed the sample once
SAMPLE_PIXELS = 1 << 15  # LR pixels that the engines compute in a trial
FEWEST_PIXELS = 1 << 20  # LR pixels of a movie for which torch is timed at all
ERROR_PIXELS = 1 << 16  # LR pixels of the first frame on which the error of bf16 is measured
# Seconds that torch must need for a movie, so that another engine pays: after a trial was kept, and before there was one.
PAYS, PAYS_FOR_TRIAL = 3.0, 20.0

log = logging.getLogger(__name__)


def choose_options(engine: Engine, sha256: str, lr: Tensor, frames: int | None) -> UpscaleOptions:
    """Choose the engine and the precision for a movie, where the options leave them open.

    Args:
        engine: The network, with the options.
        sha256: Hash of the network, under which a trial is kept.
        lr: The first LR frames (2 * context + 1, C, h, w) in physical units, with the planes that the network sees.
        frames: Number of frames that will be upscaled; None if it is not known, as of a long movie.

    Returns:
        Options that name an engine and a precision. They depend on the speed of the machine.
    """
    options = engine.options
    if options.engine == "auto" and frames is not None and frames * lr[0, 0].numel() < FEWEST_PIXELS:
        plain = _torch_options(options, engine)
        log.info("engine    %s: the movie is too short for another one to pay", label_of(plain))
        return plain
    candidates = candidates_of(options, engine)
    plain = candidates[0]
    if options.engine != "auto" or len(candidates) == 1:
        chosen = _accurate(engine, candidates, lr)[0]
        log.info("engine    %s", label_of(chosen))
        return chosen
    sample = _sample(engine, lr)
    seconds = _seconds(engine, [plain], sample, 0.0)
    per_frame = seconds[label_of(plain)] * lr[0, 0].numel() / sample[0, 0].numel() / (len(sample) - len(lr) + 1)
    expected = float("inf") if frames is None else frames * per_frame * (8 if options.ensemble else 1)
    why = "the movie is too short for another one to pay"
    if expected > PAYS:
        candidates = _accurate(engine, candidates, lr)
        path = _path_of_trial(sha256, candidates, sample)
        kept = _read(path, candidates)
        if kept or expected > PAYS_FOR_TRIAL:
            seconds = kept or _seconds(engine, candidates, sample, min(TRIAL_SECONDS, TRIAL_SHARE * expected))
            why = "no other one gains a tenth"
            _keep(path, seconds)
    chosen = min(candidates, key=lambda each: seconds.get(label_of(each), float("inf")))
    gain = seconds[label_of(plain)] / seconds[label_of(chosen)]
    if gain < LEAST_GAIN:
        log.info("engine    %s: %s", label_of(plain), why)
        return plain
    log.info("engine    %s, %.1f times as fast as %s in a trial", label_of(chosen), gain, label_of(plain))
    return chosen


def _sample(engine: Engine, lr: Tensor) -> Tensor:
    """Return the frames of a trial: the middle of the first ones, as many as a block of small frames has."""
    sample = first_pixels(lr, SAMPLE_PIXELS)
    several = min(engine.block(*lr.shape[-2:]), SAMPLE_PIXELS // sample[0, 0].numel())
    return torch.cat([sample, sample[-1:].expand(max(0, several - 1), *sample.shape[1:])])


def _accurate(engine: Engine, candidates: Sequence[UpscaleOptions], lr: Tensor) -> list[UpscaleOptions]:
    """Return the candidates without those of bf16 that err by too much under precision=auto, as the first of them does."""
    reduced = [each for each in candidates if each.precision == "bf16"]
    if engine.options.precision != "auto" or not reduced:
        return list(candidates)
    error = _trial_engine(engine, reduced[0]).rounding_error(first_pixels(lr, ERROR_PIXELS))["share"]
    if error <= MOST_ERROR:
        return list(candidates)
    log.info("engine    %s is left out: it errs by %.1e of the data range", label_of(reduced[0]), error)
    return [each for each in candidates if each.precision != "bf16"]


def first_pixels(lr: Tensor, most: int) -> Tensor:
    """Return the middle of the first frames (n, C, h, w) of a movie, with about `most` LR pixels a frame at most."""
    height, width = lr.shape[-2:]
    columns = min(width, max(int(most**0.5), most // height))
    rows = min(height, max(8, most // columns))
    top, left = (height - rows) // 2, (width - columns) // 2
    return lr[..., top : top + rows, left : left + columns]


def candidates_of(options: UpscaleOptions, engine: Engine) -> list[UpscaleOptions]:
    """Return what the options leave open, torch first; with the engine given, the fastest precision first.

    OpenVINO is tried in bf16 alone, in which it can be the fastest by far.
    """
    bf16 = engine.device.type == "cpu" and options.precision != "fp32" and cpu_computes_bf16()
    if options.engine != "auto":
        fp32 = replace(options, precision="fp32")
        return [replace(options, precision="bf16"), fp32] if bf16 and options.engine != "onnxruntime" else [fp32]
    plain = _torch_options(options, engine)
    if engine.device.type != "cpu":
        return [plain]
    found = [plain]
    if bf16 and plain.precision == "fp32":
        found.append(replace(plain, precision="bf16"))
    if plain.precision == "fp32" and all(map(find_spec, RUNTIMES["onnxruntime"])):
        found.append(replace(plain, engine="onnxruntime"))
    if bf16 and all(map(find_spec, RUNTIMES["openvino"])):
        found.append(replace(plain, engine="openvino", precision="bf16"))
    return found


def _torch_options(options: UpscaleOptions, engine: Engine) -> UpscaleOptions:
    """Return the options with torch, in bf16 if they name it and the CPU computes it."""
    bf16 = options.precision == "bf16" and engine.device.type == "cpu" and cpu_computes_bf16()
    return replace(options, engine="torch", precision="bf16" if bf16 else "fp32")


def label_of(options: UpscaleOptions) -> str:
    """Return engine and precision in words, such as "openvino bf16"."""
    return f"{options.engine} {options.precision}"


def computes_as(engine: Engine, options: UpscaleOptions) -> bool:
    """Return True if an engine whose options leave something open computes as these options say: by torch, in fp32."""
    own = engine.options
    exact = own.engine in ("auto", "torch") and own.precision in ("auto", "fp32")
    return exact and options == replace(own, engine="torch", precision="fp32")


def _trial_engine(engine: Engine, options: UpscaleOptions) -> Engine:
    options = replace(options, ensemble=False)
    return engine if computes_as(engine, options) else Engine(engine.module, options, channels=engine.channels)


def _seconds(engine: Engine, candidates: Sequence[UpscaleOptions], sample: Tensor, trial: float) -> dict[str, float]:
    """Measure the shortest time of each candidate, in turns for `trial` seconds; one that cannot compute is left out."""
    engines = {}
    for options in candidates:
        each = _trial_engine(engine, options)
        try:
            each(sample, consistent=False)
            engines[label_of(options)] = each
        except UserError as error:
            if options is candidates[0]:
                raise
            log.debug("engine    %s is left out: %s", label_of(options), error)
    best = dict.fromkeys(engines, float("inf"))
    began = time.perf_counter()
    while True:
        for label, each in engines.items():
            since = time.perf_counter()
            each(sample, consistent=False)
            now = time.perf_counter()
            best[label] = min(best[label], now - since)
            if now - began > trial and max(best.values()) < float("inf"):
                return best


def _path_of_trial(sha256: str, candidates: Sequence[UpscaleOptions], sample: Tensor) -> Path:
    """Return the file of a trial of the network with this hash on frames of this size, on this kind of machine."""
    about = {
        "network": sha256,
        "size": list(sample.shape),
        "machine": [cpu_name(), torch.get_num_threads()],
        "versions": [__version__, torch.__version__],
        "engines": {label_of(each): runtime_version(each.engine) if each.engine in RUNTIMES else "" for each in candidates},
    }
    return cache_path(None, "engine", about).with_suffix(".json")


def _read(path: Path, candidates: Sequence[UpscaleOptions]) -> dict[str, float]:
    """Return the seconds of a trial that was kept; {} if there was none."""
    with suppress(OSError, ValueError, TypeError, AttributeError):
        seconds = {str(label): float(value) for label, value in json.loads(path.read_text(encoding="utf-8")).items()}
        if label_of(candidates[0]) in seconds and all(value > 0 for value in seconds.values()):
            return seconds
    return {}


def _keep(path: Path, seconds: dict[str, float]) -> None:
    """Keep a trial for later movies of this size."""
    try:
        with replacing_file(path) as temporary:
            temporary.write_text(json.dumps(seconds), encoding="utf-8")
    except OSError as error:
        log.debug("%s: not kept (%s)", path, error)
