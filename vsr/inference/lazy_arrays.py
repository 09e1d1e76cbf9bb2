"""Upscaling of Dask arrays without computing them: a graph of blocks that gives the frames of the eager result, bit for bit."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vsr.errors import UserError
from vsr.inference.frame_upscaler import FrameUpscaler
from vsr.io.readers.pixel_grid import Coordinate
from vsr.io.readers.printable import printable_shape
from vsr.io.writers.template import output_dtype
from vsr.models.base import OF_FRAMES

CHUNK_BYTES = 1 << 26  # of SR frames in a chunk, unless a block of the network is larger

_thread = threading.local()


def is_lazy(values: object) -> bool:
    """Return True for a Dask array."""
    return hasattr(values, "__dask_graph__")


def upscale_lazily(upscaler: FrameUpscaler, movies: Any, axes: str, of: Mapping[str, Coordinate]) -> Any:
    """Upscale a Dask array of LR movies block by block when it is computed.

    Each task computes the blocks of frames that the eager computation has, from whole frames, so that both results are equal
    whatever the chunks of the input.

    Args:
        upscaler: The network.
        movies: LR frames in physical units, a Dask array whose last axes are `axes`; each index of the others is a movie.
        axes: Letters of the last axes: "tcyx", or without "t" for single frames, without "c" for one channel.
        of: Coordinates "t", "y" and "x" of the movies.

    Returns:
        A Dask array of SR frames with the same axes. A chunk holds whole frames of a movie, about as many as in the input. With
        members or calibrated intervals, what is kept of them is a further first axis, whole in each chunk.

    Raises:
        UserError: If the network does not take such movies, or if they are empty.
    """
    import dask.array as da
    from dask.base import tokenize
    from dask.highlevelgraph import HighLevelGraph

    if any(math.isnan(size) for size in movies.shape):
        raise UserError("a Dask array whose size is not known before it is computed; type movie.compute_chunk_sizes() first")
    if not movies.size:
        raise UserError(f"a movie of shape {tuple(movies.shape)} holds no pixel")
    if upscaler.options.undecided:
        raise UserError("engine=auto, precision=auto: a Dask array has no frames yet that could decide; name both, as fp32")
    lead, own = movies.shape[: -len(axes)], dict(zip(axes, movies.shape[-len(axes) :], strict=True))
    length, channels, height, width = (own.get(letter, 1) for letter in "tcyx")
    alike = upscaler
    if upscaler.any_values:
        # The type of the result of integers depends on their values.
        zeros = np.zeros((1, channels, 1, 1))
        alike = upscaler.for_frames(
            zeros if movies.dtype.kind == "f" else _frames(np.asarray(_first_movie(movies, axes)), axes)[:1]
        )
    known, static = alike.known_of(of, (height, width), f"a movie of {printable_shape((height, width))}")
    if "time" in upscaler.trained.layout.inputs:
        known["time"] = upscaler.trained.facts["pairs"]["time"]["step"] * np.arange(length)
    engine, scale, dtype = alike.engine, upscaler.scale, np.dtype(output_dtype(movies.dtype, alike.offset))
    kept = () if alike.members is None else (len(alike.members.kept),)
    block = (alike.members or engine).block(height, width)
    frame_bytes = dtype.itemsize * math.prod((*kept, channels, height, width)) * scale**2
    frames = min(max(movies.chunks[len(lead)]) if "t" in own else 1, CHUNK_BYTES // frame_bytes)
    frames = min(length, block * max(1, round(frames / block)))
    movies = movies.rechunk((1,) * len(lead) + ((frames,) if "t" in own else ()) + movies.shape[-len(axes.lstrip("t")) :])
    intervals = "" if upscaler.calibration is None else str(upscaler.calibration.to_plain())
    planes = known, None if static is None else static.numpy()
    token = tokenize(movies.name, upscaler.name, str(upscaler.options), intervals, planes, str(of), axes, frames)
    name = f"vsr-upscale-{token}"
    shared, rest = f"{name}-network", (0,) * (len(axes) - 1)

    def key(of_array: str, place: tuple[int, ...], number: int) -> tuple[Any, ...]:
        return (of_array, *place, number, *rest) if "t" in own else (of_array, *place, *rest, 0)

    graph: dict[Any, Any] = {shared: _Work(upscaler, known, static, block, length, axes, dtype)}
    for place in np.ndindex(*lead):
        first = None
        if upscaler.any_values:
            first = (f"{name}-first-frame", *place)
            graph[first] = (_first_frame, key(movies.name, place, 0), axes)
        for number, start in enumerate(range(0, length, frames)):
            stop = min(start + frames, length)
            least, most = start - engine.context, stop - 1 + engine.context
            if least < 0 or most >= length:  # beyond the ends, frames are repeated or reflected
                index = engine.window(start, stop, length)
                least, most = int(index.min()), int(index.max())
            blocks = range(least // frames, most // frames + 1)
            inputs = [key(movies.name, place, each) for each in blocks]
            made = key(name, (*(0 for _ in kept), *place), number)
            graph[made] = (_compute, shared, first, inputs, blocks[0] * frames, start, stop)
    layers = HighLevelGraph.from_collections(name, graph, dependencies=[movies])
    chunks = (*((size,) for size in kept), *movies.chunks[:-2], (height * scale,), (width * scale,))
    return da.Array(layers, name, chunks, dtype=dtype)


def _first_movie(movies: Any, axes: str) -> Any:
    """Return the first frame of the first movie of an array."""
    first = movies[(0,) * (movies.ndim - len(axes))]
    return first[:1] if "t" in axes else first


def _frames(values: np.ndarray, axes: str) -> np.ndarray:
    """Return frames (T, C, h, w) of an array (..., *axes) of one movie."""
    own = dict(zip(axes, values.shape[-len(axes) :], strict=True))
    return values.reshape(own.get("t", 1), own.get("c", 1), own["y"], own["x"])


@dataclass(frozen=True)
class _Work:
    """Values that all tasks of a graph share.

    Attributes:
        upscaler: The network.
        known: What the network sees of time and place, of all frames.
        static: Static fields (S, H, W), or None.
        block: Frames that are computed at once.
        length: Frames of the movie.
        axes: Letters of the last axes of a chunk.
        dtype: Type of SR frames.
    """

    upscaler: FrameUpscaler
    known: dict[str, np.ndarray]
    static: Tensor | None
    block: int
    length: int
    axes: str
    dtype: np.dtype


def _first_frame(values: np.ndarray, axes: str) -> np.ndarray:
    return np.array(_frames(values, axes)[:1])


def _compute(work: _Work, first: np.ndarray | None, inputs: Sequence[np.ndarray], base: int, start: int, stop: int) -> np.ndarray:
    """Compute the SR frames start..stop-1 from consecutive chunks of LR frames, the first of which is frame `base`."""
    _share_cores()
    upscaler = work.upscaler if first is None else work.upscaler.for_frames(first)
    network, members = upscaler.members or upscaler.engine, upscaler.members
    chunks, parts = [_frames(values, work.axes) for values in inputs], []
    held = np.concatenate(chunks) if len(chunks) > 1 else chunks[0]
    for a in range(start, stop, work.block):
        index = upscaler.engine.window(a, min(a + work.block, stop), work.length).numpy()
        frames = upscaler.without_offset(held[index - base])
        known = {word: each[index] if word in OF_FRAMES else each for word, each in work.known.items()}
        lr = upscaler.add_planes(frames, known, None, work.static)
        parts.append(upscaler.with_offset(network(lr, first_frame=a).numpy(), work.dtype))
    sr = np.concatenate(parts) if len(parts) > 1 else parts[0]
    shape = inputs[0].shape
    lead, inner = shape[: -len(work.axes)], sr.shape[:1] if "t" in work.axes else ()
    if members is None:
        return sr.reshape(*lead, *inner, *(sr.shape[1:2] if "c" in work.axes else ()), *sr.shape[-2:])
    each = np.moveaxis(sr.reshape(len(sr), len(members.kept), -1, *sr.shape[-2:]), 1, 0)
    return each.reshape(len(each), *lead, *inner, *(each.shape[2:3] if "c" in work.axes else ()), *sr.shape[-2:])


def _share_cores() -> None:
    """Let torch use one core in each thread of Dask, which runs as many tasks at once as there are cores."""
    if threading.current_thread() is not threading.main_thread() and not hasattr(_thread, "shared"):
        torch.set_num_threads(1)
        _thread.shared = True
