"""A movie through a network in constant memory: one thread reads ahead, one computes, one writes behind."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from vsr.data.frames import Ends, beyond
from vsr.inference.engine import Engine, Overflow
from vsr.io.writers.base import Sink

AHEAD = 2  # blocks that wait between two threads
FLUSH_SECONDS = 5.0  # at most so much work is lost when the process is killed (and the block under way)


class Source(Protocol):
    """LR movies of one size, frame after frame.

    Attributes:
        lengths: frames of each movie; None for one whose end is only found by reading.
        channels, height, width: of every frame.
    """

    lengths: list[int | None]
    channels: int
    height: int
    width: int

    def frames(self, movie: int, start: int) -> Iterator[np.ndarray]:
        """(C, h, w) float32 in physical units, in order, from frame `start` of a movie to its end."""
        ...


def windows(frames: Iterable[np.ndarray], start: int, *, base: int, context: int, block: int, ends: Ends) -> Iterator[Tensor]:
    """Blocks of LR frames with those around them: (n + 2 * context, C, h, w) for output frames `start` and on, in order.

    frames: those of a movie from number `base` on, which lies `context` before `start` where the movie has begun by then.
    n is `block`, less at the end.
    """
    held: list[np.ndarray] = []
    incoming = iter(frames)
    at, over = start, False
    while True:
        while not over and base + len(held) < at + block + context:
            frame = next(incoming, None)
            if frame is None:
                over = True
            else:
                held.append(frame)
        length = base + len(held)
        stop = min(at + block, length) if over else at + block
        if stop <= at:
            return
        index = beyond(torch.arange(at - context, stop + context), 0, length, ends)
        yield torch.from_numpy(np.stack([held[i - base] for i in index.tolist()]))
        # The frames before the next block stay: those around it, and as many again for reflecting at the end.
        keep = max(base, stop - 2 * context)
        held, base, at = held[keep - base :], keep, stop


def run(
    source: Source,
    engine: Engine,
    sink: Sink,
    progress: Callable[[int], None],
    first: Callable[[Tensor], None] | None = None,
    instead: Mapping[int, Engine] | None = None,
) -> int:
    """Compute all frames that the sink has not got yet, finish it and return how many they were.

    progress: called with the number of frames of each block that was handed to the writer. first: called with the first block.
    instead: movie -> a frame network that takes the engine's place there.
    When anything fails or Ctrl-C is pressed, both threads end, what was computed is flushed, and the sink is closed; where the
    network overflows, what was computed is deleted.
    """
    computed, before = 0, sink.done
    stop = threading.Event()
    incoming: queue.Queue[tuple[int, Tensor] | BaseException | None] = queue.Queue(AHEAD)
    outgoing: queue.Queue[np.ndarray | None] = queue.Queue(AHEAD)
    failed: list[BaseException] = []

    # Torch's number of threads is each thread's own: with all of them for the little work that reading and writing do, the pools
    # of three threads would wait for each other (a third slower on two cores).
    def read() -> None:
        torch.set_num_threads(1)
        try:
            for window in _all_windows(source, engine, sink.done):
                _put(incoming, window, stop)
            _put(incoming, None, stop)
        except _Stopped:
            _wake(incoming)
        except BaseException as error:
            try:
                _put(incoming, error, stop)
            except _Stopped:
                _wake(incoming)

    def write() -> None:
        torch.set_num_threads(1)
        flushed = time.monotonic()
        try:
            while (frames := outgoing.get()) is not None:
                sink.write(sink.done, frames)
                if time.monotonic() - flushed > FLUSH_SECONDS:
                    sink.flush()
                    flushed = time.monotonic()
        except BaseException as error:
            failed.append(error)
            stop.set()
            while outgoing.get() is not None:  # so that the other side does not wait for room
                pass

    threads = [threading.Thread(target=target, daemon=True, name=target.__name__) for target in (read, write)]
    reader, writer = threads
    try:
        reader.start()
        writer.start()
        try:
            while not failed and (item := incoming.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                movie, window = item
                if first is not None and not computed:
                    first(window)
                other = (instead or {}).get(movie)
                frame = before + computed  # counted over all movies
                inner = window[engine.context : len(window) - engine.context]
                sr = engine(window, first=frame) if other is None else other(inner, first=frame)
                outgoing.put(sr.numpy())
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
    except Overflow:  # as would any later run
        sink.discard()
        raise
    except BaseException:
        if not failed:
            sink.flush()
        raise
    finally:
        sink.close()
    return computed


def _all_windows(source: Source, engine: Engine, done: int) -> Iterator[tuple[int, Tensor]]:
    """The blocks of every movie with its number, from output frame `done` on, counted over all movies."""
    block = engine.block(source.height, source.width)
    for movie, length in enumerate(source.lengths):
        if length is not None and done >= length:
            done -= length
            continue
        base = max(0, done - engine.context)
        found = windows(source.frames(movie, base), done, base=base, context=engine.context, block=block, ends=engine.ends)
        yield from ((movie, window) for window in found)
        done = 0


class _Stopped(Exception):
    """The other side gave up."""


def _put(to: queue.Queue, value: object, stop: threading.Event) -> None:
    """Wait for room, unless nobody will take it any more."""
    while not stop.is_set():
        try:
            to.put(value, timeout=0.2)
            return
        except queue.Full:
            continue
    raise _Stopped


def _wake(waiting: queue.Queue) -> None:
    """Who waits for more must learn that none comes; in a full queue there is enough to wake up by."""
    with suppress(queue.Full):
        waiting.put_nowait(None)
