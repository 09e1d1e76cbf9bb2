"""Streaming in three threads: every frame comes once and in order, also after a failure."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.inference.test_engine import engine_of, module_of
from vsr.data.frames import Ends, frame_indices_beyond_ends
from vsr.errors import UserError
from vsr.inference.stream import read_stream_blocks, upscale_stream
from vsr.io.writers.base import Sink


class Movies:
    """Source: movies of numbered frames in memory; may break at a frame."""

    def __init__(self, lengths: list[int], size: tuple[int, int] = (6, 8), known: bool = True, breaks: int | None = None) -> None:
        self.height, self.width, self.channels = *size, 1
        rng = np.random.default_rng(0)
        self.movies = [rng.standard_normal((n, 1, *size)).astype(np.float32) for n in lengths]
        self.lengths: list[int | None] = [n if known else None for n in lengths]
        self.breaks = breaks

    def offset(self, movie: int) -> float:
        return 0.0

    def frames(self, movie: int, start: int) -> Iterator[np.ndarray]:
        for i in range(start, len(self.movies[movie])):
            if i == self.breaks:
                raise UserError(f"frame {i} is damaged")
            yield self.movies[movie][i]


class Memory(Sink):
    """Sink: keeps frames; may refuse one, or be interrupted."""

    def __init__(self, done: int = 0, fails: int | None = None) -> None:
        self.done, self.fails = done, fails
        self.held: list[np.ndarray] = []
        self.log: list[str] = []

    def write(self, start: int, frames: np.ndarray) -> None:
        assert start == self.done
        if self.fails is not None and start + len(frames) > self.fails:
            raise UserError("disk full")
        self.held.append(frames)
        self.done += len(frames)

    def flush(self) -> None:
        self.log.append("flush")

    def finish(self) -> None:
        self.log.append("finish")

    def close(self) -> None:
        self.log.append("close")

    def discard(self) -> None:
        self.log.append("discard")


@given(st.integers(1, 14), st.integers(0, 5), st.integers(1, 6), st.sampled_from(["replicate", "reflect"]), st.data())
def test_windows_are_those_of_the_whole_movie(length: int, context: int, block: int, ends: Ends, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, length - 1))
    base = max(0, start - context)
    frames = [np.full((1, 1, 1), i, np.float32) for i in range(base, length)]
    at = start
    for window in read_stream_blocks(frames, start, base=base, context=context, block=block, ends=ends):
        stop = min(at + block, length)
        expected = frame_indices_beyond_ends(torch.arange(at - context, stop + context), 0, length, ends)
        assert torch.equal(window.flatten().long(), expected)
        at = stop
    assert at == length


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("model", ["fsrcnn", "srnet3d_kim"])
def test_every_movie_comes_out_whole_and_in_order(model: str, known: bool) -> None:
    engine = engine_of(module_of(model))
    source, sink, counted = Movies([7, 1, 70], known=known), Memory(), []
    computed = upscale_stream(source, engine, sink, counted.append)
    expected = [engine(torch.from_numpy(m)[engine.window(0, len(m), len(m))]).numpy() for m in source.movies]
    found = np.concatenate(sink.held)
    assert found.shape == (78, 1, 12, 16)
    np.testing.assert_allclose(found, np.concatenate(expected), atol=1e-4 * found.std())
    assert (sum(counted), computed, sink.log) == (78, 78, ["finish", "close"])


@pytest.mark.parametrize("done", [1, 7, 8, 40])
def test_what_is_there_already_is_not_computed_again(done: int) -> None:
    engine = engine_of(module_of("srnet3d_kim"))
    source, whole, rest = Movies([7, 1, 70]), Memory(), Memory(done)
    upscale_stream(source, engine, whole, lambda _: None)
    computed = upscale_stream(source, engine, rest, lambda _: None)
    expected = np.concatenate(whole.held)
    np.testing.assert_allclose(np.concatenate(rest.held), expected[done:], atol=1e-4 * expected.std())
    assert computed == 78 - done


def test_a_writer_that_fails_while_the_reader_is_slow_does_not_leave_everybody_waiting() -> None:
    engine, failed = engine_of(module_of("bicubic")), threading.Event()

    class Slow(Movies):
        def frames(self, movie: int, start: int) -> Iterator[np.ndarray]:
            for i, frame in enumerate(super().frames(movie, start)):
                if i == 64:  # the first block is through: nothing is ready when the disk is full
                    failed.wait(20)
                    time.sleep(0.2)
                yield frame

    class Full(Memory):
        def write(self, start: int, frames: np.ndarray) -> None:
            time.sleep(0.2)  # the other side waits for the reader by now
            failed.set()
            raise UserError("disk full")

    caught: list[BaseException] = []

    def attempt() -> None:
        try:
            upscale_stream(Slow([200]), engine, Full(), lambda _: None)
        except UserError as error:
            caught.append(error)

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    assert "disk full" in str(caught[0])


@pytest.mark.parametrize("fault", ["reader", "writer", "compute", "interrupt"])
def test_a_fault_ends_all_threads_and_keeps_what_was_computed(fault: str) -> None:
    engine = engine_of(module_of("bicubic"), memory=1)
    source = Movies([40], size=(64, 64), breaks=20 if fault == "reader" else None)
    sink = Memory(fails=20 if fault == "writer" else None)
    counted: list[int] = []

    def progress(frames: int) -> None:
        counted.append(frames)
        if sum(counted) > 20 and fault == "compute":
            raise RuntimeError("a failure")
        if sum(counted) > 20 and fault == "interrupt":
            raise KeyboardInterrupt

    kinds = {"reader": UserError, "writer": UserError, "compute": RuntimeError, "interrupt": KeyboardInterrupt}
    before = threading.active_count()
    with pytest.raises(kinds[fault], match={"reader": "damaged", "writer": "disk full"}.get(fault)):
        upscale_stream(source, engine, sink, progress)
    assert threading.active_count() == before
    assert sink.log == ["close"] if fault == "writer" else sink.log == ["flush", "close"]
    assert sum(map(len, sink.held)) == sink.done
    if fault in ("compute", "interrupt"):
        assert sink.done == sum(counted)
