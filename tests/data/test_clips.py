"""Clips with the frames around them: what stands beyond the ends, what is scored, and that pieces join without a seam."""

from __future__ import annotations

from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.test_splits_and_loaders import coded, stored
from vsr.data.frames import FrameSet, MemoryFrames, MixedFrames, frame_indices_beyond_ends
from vsr.data.loaders import ClipLoader, PatchLoader

SEGMENTS = ((0, 9), (9, 23))


def frame_sets() -> dict[str, FrameSet]:
    """The same frames in memory, in a file, in two sets."""
    pair = coded(frames=23)
    parts = [MemoryFrames(pair[0:9], ((0, 9),)), MemoryFrames(pair[9:23], ((0, 14),))]
    return {"memory": MemoryFrames(pair, SEGMENTS), "stored": stored(pair, SEGMENTS, block=4)[0], "mixed": MixedFrames(parts)}


def number(frames: torch.Tensor) -> list[int]:
    """Which frames these are, (1, C, T, H, W)."""
    return (frames[0, 0, :, 0, 0] // 10000).long().tolist()


@given(st.integers(-40, 40), st.integers(1, 9), st.integers(0, 5))
@settings(deadline=None)
def test_frames_beyond_the_ends_are_numpys_padding(index: int, length: int, start: int) -> None:
    padded = np.arange(start, start + length)
    for ends, mode in (("replicate", "edge"), ("reflect", "reflect")):
        expected = np.pad(padded, 80, mode=mode)[index - start + 80]  # type: ignore[call-overload]
        assert frame_indices_beyond_ends(torch.tensor([index]), start, start + length, ends).item() == expected  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["memory", "stored", "mixed"])
@pytest.mark.parametrize(("ends", "before", "after"), [("replicate", [9, 9], [22, 22]), ("reflect", [11, 10], [21, 20])])
def test_the_frames_around_a_clip_are_its_movies_own(kind: str, ends: str, before: list[int], after: list[int]) -> None:
    frames = frame_sets()[kind]
    inner = frames.clip(11, 13, 2)
    assert number(inner.lr) == [9, 10, 11, 12, 13, 14]
    assert number(inner.hr) == [11, 12]
    first, last = frames.clip(9, 10, 2, ends), frames.clip(22, 23, 2, ends)  # type: ignore[arg-type]
    assert number(first.lr) == [*before, 9, 10, 11]
    assert number(last.lr) == [20, 21, 22, *after]


@pytest.mark.parametrize("kind", ["memory", "stored", "mixed"])
@pytest.mark.parametrize("trim", [0, 2])
@pytest.mark.parametrize("length", [1, 4, 100])
def test_every_frame_is_scored_once_in_order(kind: str, trim: int, length: int) -> None:
    loader = ClipLoader(frame_sets()[kind], context=2, trim=trim)
    loader.length = length
    clips = list(loader)
    expected = [list(range(a + trim, b - trim)) for a, b in SEGMENTS]
    assert [t for clip in clips for t in number(clip.hr)] == list(chain.from_iterable(expected))
    for clip in clips:
        assert clip.lr.shape[2] == clip.hr.shape[2] + 4
        assert number(clip.lr)[2:-2] == number(clip.hr)
        starts_a_segment = int(clip.position) in (trim, 9 + trim)
        assert clip.follows != starts_a_segment


def test_a_part_of_a_split_is_the_middle_of_each_movie() -> None:
    clips = list(ClipLoader(frame_sets()["memory"], context=2, step=3))
    assert [number(clip.hr) for clip in clips] == [[3, 4, 5], [14, 15, 16, 17]]


@pytest.mark.parametrize("kind", ["memory", "stored", "mixed"])
def test_training_clips_may_stick_out_of_their_movie(kind: str) -> None:
    frames = frame_sets()[kind].padded(2, "replicate")
    assert frames.segments == ((0, 13), (13, 31))
    seen = set()
    for lr, hr, *_ in PatchLoader(frames, length=5, patch=5, batch=8, steps=60):
        assert torch.equal(lr, hr[..., ::2, ::2])
        for clip in lr:
            seen.add(tuple(number(clip.unsqueeze(0))))
    assert all(len({t < 9 for t in clip}) == 1 for clip in seen), "a clip crossed the border of a movie"
    middles = {clip[2] for clip in seen}
    if kind != "stored":  # a file is read in blocks, which clips do not cross
        assert middles == set(range(23))
    assert (0, 0, 0, 1, 2) in seen
    assert (20, 21, 22, 22, 22) in seen or kind == "stored"


def test_clips_that_are_longer_than_a_block_of_the_file() -> None:
    frames = stored(coded(frames=23), SEGMENTS, block=2)[0]
    seen = [number(clip.unsqueeze(0)) for batch in PatchLoader(frames, length=5, patch=5, batch=4, steps=9) for clip in batch.lr]
    assert len(seen) == 36
    assert all(clip == list(range(clip[0], clip[0] + 5)) for clip in seen)


def test_masks_come_with_their_frames() -> None:
    pair = coded(frames=9)
    mask = (pair.hr % 7 != 0).float()
    frames = MemoryFrames(type(pair)(pair.lr, pair.hr, mask), ((0, 9),))
    clip = frames.clip(3, 6, 2)
    assert clip.mask is not None
    assert torch.equal(clip.mask, (clip.hr % 7 != 0).float())
    padded = frames.padded(2, "reflect")
    assert torch.equal(padded.pair.mask, (padded.pair.hr % 7 != 0).float())
