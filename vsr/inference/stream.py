"""Upscaling of movies in constant memory, with one thread each for reading, computing and writing."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress

import numpy as np
import torch
from torch import Tensor

from vsr.data.frames import Ends, frame_indices_beyond_ends
from vsr.inference.engine import Engine, NonFiniteOutput
from vsr.inference.members import MemberEngine
from vsr.inference.sources import Source
from vsr.io.writers.base import Sink
from vsr.types import Offset

QUEUE_BLOCKS = 2  # blocks that wait between two threads
FLUSH_SECONDS = 5.0  # at most so much work is lost when the process is killed (and the block in progress)


class Gaps:
    """Count of LR pixels without a finite value, of which nothing can be made.

    Attributes:
        frames: Number of frames with such a pixel.
        pixels: Number of such pixels; one that lacks one of several variables counts.
    """

    def __init__(self) -> None:
        self.frames = self.pixels = 0

    def add(self, lr: Tensor) -> None:
        """Count those of LR frames (n, C, h, w)."""
        missing = ~lr.isfinite().all(1)
        self.frames += int(missing.flatten(1).any(1).sum())
        self.pixels += int(missing.sum())

    def describe(self, frames: int, pixels: int) -> str:
        """Return a sentence on the gaps in so many frames of so many pixels each; "" without gaps."""
        if not self.pixels:
            return ""
        share = 100 * self.pixels / (frames * pixels)
        return f"{self.frames} of {frames} frames have NaN in LR, {share:.2g} % of all pixels: the result is NaN there, too"


def read_stream_blocks(
    frames: Iterable[np.ndarray], start: int, *, base: int, context: int, block: int, ends: Ends
) -> Iterator[Tensor]:
    """Cut the frames of a movie into blocks, each with the neighbouring frames that the network needs.

    Args:
        frames: LR frames (C, h, w) of the movie, from frame `base` to the end.
        start: Number of the first output frame.
        base: Number of the first frame in `frames`: max(0, start - context).
        context: Frames on each side on which an output frame depends.
        block: Output frames per block; the last block may have fewer.
        ends: Padding beyond the ends of the movie.

    Yields:
        LR frames (n + 2 * context, C, h, w) for n output frames, block after block.
    """
    held: list[np.ndarray] = []
    incoming = iter(frames)
    at, ended = start, False
    while True:
        while not ended and base + len(held) < at + block + context:
            frame = next(incoming, None)
            if frame is None:
                ended = True
            else:
                held.append(frame)
        length = base + len(held)
        stop = min(at + block, length) if ended else at + block
        if stop <= at:
            return
        index = frame_indices_beyond_ends(torch.arange(at - context, stop + context), 0, length, ends)
        yield torch.from_numpy(np.stack([held[i - base] for i in index.tolist()]))
        # The frames around the next block stay, and as many again for reflection at the end.
        keep = max(base, stop - 2 * context)
        held, base, at = held[keep - base :], keep, stop


def upscale_stream(
    source: Source,
    engine: Engine | MemberEngine,
    sink: Sink,
    progress: Callable[[int], None],
    on_first_block: Callable[[Tensor], None] | None = None,
    replacements: Mapping[int, Engine] | None = None,
    engine_of: Callable[[int], Engine] | None = None,
    gaps: Gaps | None = None,
) -> int:
    """Compute all SR frames that the output still lacks, and complete the output.

    After an error or Ctrl-C, the threads for reading and writing stop, the computed frames are flushed and the sink is closed.
    After NonFiniteOutput, the computed frames are deleted instead, because any later run would fail in the same way.

    Args:
        source: Reader of the LR movies.
        engine: The network, or the members of an ensemble.
        sink: Writer of SR frames (n, C, H, W), which are numbered over all movies. It already has the first `sink.done` frames.
        progress: Function that is called with the number of frames in each block, after the block was handed to the writer.
        on_first_block: Function that is called with the first block of LR frames, (n + 2 * context, C, h, w).
        engine_of: Function of the number of a movie that gives its own engine, of the same block and context; None: `engine`.
        replacements: Index of a movie -> the network that upscales this movie instead of `engine`. It must be a frame network.
        gaps: Counts the missing pixels of the computed frames; None to count nothing.

    Returns:
        The number of computed frames.
    """
    computed, before = 0, sink.done
    stop = threading.Event()
    incoming: queue.Queue[tuple[int, Tensor] | BaseException | None] = queue.Queue(QUEUE_BLOCKS)
    outgoing: queue.Queue[tuple[np.ndarray, Offset] | None] = queue.Queue(QUEUE_BLOCKS)
    failed: list[BaseException] = []
    reader = threading.Thread(target=_read, args=(source, engine, before, incoming, stop), daemon=True, name="read")
    writer = threading.Thread(target=_write, args=(sink, outgoing, failed, stop), daemon=True, name="write")
    try:
        reader.start()
        writer.start()
        try:
            while not failed and (item := incoming.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                movie, window = item
                if on_first_block is not None and not computed:
                    on_first_block(window)
                replacement = (replacements or {}).get(movie)
                frame = before + computed
                if replacement is None:
                    sr = (engine if engine_of is None else engine_of(movie))(window, first_frame=frame)
                else:
                    sr = replacement(window[engine.context : len(window) - engine.context], first_frame=frame)
                offset = source.offset(movie)
                if gaps is not None:
                    gaps.add(window[engine.context : len(window) - engine.context, : source.channels])
                outgoing.put((sr.numpy(), engine.offset(offset) if isinstance(engine, MemberEngine) else offset))
                computed += len(sr)
                progress(len(sr))
        finally:
            stop.set()
            outgoing.put(None)
            writer.join()
            reader.join()
        if failed:
            raise failed[0]
        sink.finish()
    except NonFiniteOutput:
        sink.discard()
        raise
    except BaseException:
        if not failed:
            sink.flush()
        raise
    finally:
        sink.close()
    return computed


# Torch counts its threads per Python thread. With all cores for the little work of reading and writing, the thread pools of three
# threads would wait for each other (a third slower on two cores); so reader and writer get one each.


def _read(source: Source, engine: Engine | MemberEngine, done: int, incoming: queue.Queue, stop: threading.Event) -> None:
    """Put pairs (number of the movie, LR block) into `incoming`, then None; put an error instead if reading fails."""
    torch.set_num_threads(1)
    try:
        try:
            for window in _blocks_of_all_movies(source, engine, done):
                _put(incoming, window, stop)
            _put(incoming, None, stop)
        except _Stopped:
            raise
        except BaseException as error:
            _put(incoming, error, stop)
    except _Stopped:
        with suppress(queue.Full):  # a full queue wakes the consumer as well
            incoming.put_nowait(None)


def _write(sink: Sink, outgoing: queue.Queue, failed: list[BaseException], stop: threading.Event) -> None:
    """Write the blocks of `outgoing`, each plus its offset, until None comes; append an error to `failed`."""
    torch.set_num_threads(1)
    flushed = time.monotonic()
    try:
        while (block := outgoing.get()) is not None:
            frames, offset = block
            sink.write(sink.done, frames.astype(np.float64) + np.reshape(offset, (-1, 1, 1)) if offset else frames)
            if time.monotonic() - flushed > FLUSH_SECONDS:
                sink.flush()
                flushed = time.monotonic()
    except BaseException as error:
        failed.append(error)
        stop.set()
        while outgoing.get() is not None:  # so that the computing thread does not wait for room
            pass


def _blocks_of_all_movies(source: Source, engine: Engine | MemberEngine, done: int) -> Iterator[tuple[int, Tensor]]:
    """Yield (number of the movie, LR block) from output frame `done` on, counted over all movies."""
    block = engine.block(source.height, source.width)
    for movie, length in enumerate(source.lengths):
        if length is not None and done >= length:
            done -= length
            continue
        base = max(0, done - engine.context)
        frames = source.frames(movie, base)
        for window in read_stream_blocks(frames, done, base=base, context=engine.context, block=block, ends=engine.ends):
            yield movie, window
        done = 0


class _Stopped(Exception):
    """Exception for a queue whose reader has stopped."""


def _put(to: queue.Queue, value: object, stop: threading.Event) -> None:
    """Put a value into a queue as soon as it has room. Raises _Stopped when `stop` is set."""
    while not stop.is_set():
        with suppress(queue.Full):
            to.put(value, timeout=0.2)
            return
    raise _Stopped
