"""No frame of one split reaches another, LR stays aligned with HR, the same seed draws the same patches."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vsr.data.frames import Ends, FrameSet, LrHrPair, MemoryFrames, MixedFrames
from vsr.data.lazy_frames import LazyFrames
from vsr.data.loaders import FrameLoader, PatchLoader
from vsr.data.masks import fill_masked_pixels
from vsr.data.splits import Split
from vsr.degradations.resize import resize_bicubic_down
from vsr.errors import UserError


@given(
    lengths=st.lists(st.integers(2, 60), min_size=1, max_size=6),
    by=st.sampled_from(["time", "trajectory"]),
    learn=st.floats(0.2, 0.7),
    val=st.floats(0.1, 0.5),
    gap=st.integers(0, 2),
    rest=st.floats(0.05, 1.0),
)
@settings(max_examples=200, deadline=None)
def test_splits_are_disjoint_ordered_and_gapped(
    lengths: list[int], by: str, learn: float, val: float, gap: int, rest: float
) -> None:
    split = Split(by=by, learn=learn, test=rest * (1 - learn), val=val, gap=gap)  # type: ignore[arg-type]
    try:
        parts = split.cut(lengths, "test")
    except UserError as error:
        assert "too few" in str(error)
        return
    seen: dict[int, list[tuple[int, int, str]]] = {}
    for name, segments in parts.items():
        for segment in segments:
            assert 0 <= segment.start < segment.stop <= lengths[segment.movie]
            seen.setdefault(segment.movie, []).append((segment.start, segment.stop, name))
    order = ["train", "val", "test"]
    for pieces in seen.values():
        pieces.sort()
        if by == "trajectory":
            assert len(pieces) == 1
        for (_, stop, first), (start, _, second) in pairwise(pieces):
            assert start - stop >= (gap if by == "time" else 0)
            assert order.index(first) < order.index(second)


def test_the_reports_split() -> None:
    """120 frames to learn from, 80/20, and 50 to test on; also when they come as two trajectories."""
    for lengths in ([170], [85, 85]):
        parts = Split(learn=120, test=50).cut(lengths, "test")
        assert {name: sum(map(len, segments)) for name, segments in parts.items()} == {"train": 96, "val": 24, "test": 50}
    parts = Split(by="trajectory", learn=120, test=50).cut([10] * 17, "test")
    assert [len(parts[name]) for name in ("train", "val", "test")] == [10, 2, 5]


def test_too_few_frames_say_what_to_type() -> None:
    with pytest.raises(UserError, match=r"asks for 120 .* 50 .* there are 60; type data.learn=0.7 data.test=0.3"):
        Split(learn=120, test=50).cut([60], "movie.mkv")
    with pytest.raises(UserError, match="too few for the split, nothing is left for val"):
        Split(learn=0.6, test=0.3).cut([3], "movie.mkv")


def coded(frames: int = 9, size: int = 12, scale: int = 2) -> LrHrPair:
    """HR that says where it is: value = 10000 frame + 100 y + x of the LR pixel, in blocks, so that LR = HR[::scale]."""
    lr = 10000.0 * torch.arange(frames)[:, None, None] + 100.0 * torch.arange(size)[:, None] + torch.arange(size + 3)
    hr = lr.repeat_interleave(scale, 1).repeat_interleave(scale, 2)
    return LrHrPair(lr.unsqueeze(1), hr.unsqueeze(1))


def frame_set(
    frames: int = 9, size: int = 12, scale: int = 2, segments: tuple[tuple[int, int], ...] | None = None
) -> MemoryFrames:
    return MemoryFrames(coded(frames, size, scale), segments or ((0, frames),))


def stored(pair: LrHrPair, segments: tuple[tuple[int, int], ...], block: int) -> tuple[LazyFrames, list[tuple[int, int]]]:
    """Frames that are "in a file", read in blocks of `block`, and a list of what was read."""
    log: list[tuple[int, int]] = []

    def read(start: int, stop: int) -> LrHrPair:
        assert any(a <= start < stop <= b for a, b in segments), "a read crossed the border of a segment"
        log.append((start, stop))
        return pair[start:stop]

    frames = LazyFrames(read, segments, pair[0:1])
    frames.block = block
    return frames, log


@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize("length", [1, 3])
@pytest.mark.parametrize(
    ("symmetries", "count"),
    [(("flip_y", "flip_x", "transpose"), 8), (("half_turn", "quarter_turn"), 4), (("flip_x",), 2), ((), 1)],
)
def test_patches_stay_aligned_under_every_symmetry(scale: int, length: int, symmetries: tuple[str, ...], count: int) -> None:
    frames = frame_set(scale=scale, segments=((0, 4), (4, 9)))
    loader = PatchLoader(frames, length=length, patch=5, batch=4, steps=40, symmetries=symmetries)
    batches = list(loader)
    assert len(batches) == len(loader) == 40
    orientations = set()
    for lr, hr, position, *_ in batches:
        assert lr.shape == (4, 1, length, 5, 5)
        assert hr.shape == (4, 1, length, 5 * scale, 5 * scale)
        assert torch.equal(lr, hr[..., ::scale, ::scale])
        frame = (lr // 10000).long()
        assert torch.equal(frame[:, 0, :, 0, 0], position[:, None] + torch.arange(length))
        starts, ends = frame[:, 0, 0, 0, 0], frame[:, 0, -1, 0, 0]
        assert ((starts < 4) == (ends < 4)).all(), "a clip crossed the border of a segment"
        step_y, step_x = (lr[0, 0, 0, 1, 0] - lr[0, 0, 0, 0, 0]).item(), (lr[0, 0, 0, 0, 1] - lr[0, 0, 0, 0, 0]).item()
        orientations.add((step_y, step_x))
    assert len(orientations) == count


def test_a_clip_is_mixed_with_two_other_trajectories_at_the_same_time() -> None:
    """Channels tell the trajectory (one-hot) and the time in it, so that a mixture tells its clips and their weights."""
    segments = ((0, 4), (4, 8), (8, 12), (12, 15))
    code = torch.tensor([[*(float(k == s) for s in range(4)), i - a] for k, (a, b) in enumerate(segments) for i in range(a, b)])
    frames = MemoryFrames(LrHrPair(*(code[:, :, None, None].expand(-1, -1, side, side) for side in (6, 12))), segments)
    loader = PatchLoader(frames, length=2, patch=5, batch=8, steps=100, mix=0.5)
    mixed, found = [], []
    for lr, hr, position, *_ in loader:
        torch.testing.assert_close(lr, hr[..., ::2, ::2])
        own, time = position.div(4, rounding_mode="floor"), position % 4
        torch.testing.assert_close(lr[:, 4, :, 0, 0], (time[:, None] + torch.arange(2)).float())
        weights = lr[:, :4, 0, 0, 0]
        torch.testing.assert_close(weights.sum(1), torch.ones(8))
        torch.testing.assert_close(weights.square().sum(1), torch.ones(8))
        assert ((weights != 0).sum(1) <= 3).all()
        assert (weights[time == 2, 3] == 0).all(), "the last trajectory has no clip there"
        mixed += (weights[range(8), own] < 1).tolist()
        found += weights[range(8), own].tolist()
    assert 0.42 < sum(mixed) / len(mixed) < 0.58
    assert min(found) < -0.3  # somewhere on the whole circle
    first, again = (list(PatchLoader(frames, length=2, patch=5, batch=8, steps=3, mix=1.0, seed=4)) for _ in range(2))
    assert all(torch.equal(a.lr, b.lr) for a, b in zip(first, again, strict=True))
    alone = PatchLoader(frame_set(segments=((0, 2), (2, 9))), length=2, patch=5, batch=8, steps=3, mix=1.0)
    for lr, _, position, *_ in alone:  # beyond the end of the short trajectory, there is no partner
        assert ((lr[:, 0, 0, 0, 0] // 10000 == position) | (position == 0) | (position == 2)).all()


@pytest.mark.parametrize("ends", ["replicate", "reflect"])
def test_some_clips_of_long_movies_end_inside_the_movie(ends: Ends) -> None:
    """An eighth of the clips have made-up neighbours. In short movies that many are at their ends anyway."""
    time = torch.arange(100.0)[:, None, None, None]
    frames = MemoryFrames(LrHrPair(time.expand(-1, 1, 6, 6), time.expand(-1, 1, 12, 12)), ((0, 100),)).padded(2, ends)
    loader = PatchLoader(frames, length=7, patch=5, batch=8, steps=250, margin=2, ends=ends)
    kinds: dict[tuple[float, ...], int] = {}
    for lr, hr, *_ in loader:
        middle = hr[:, 0, 2:5, 0, 0]
        assert (lr[:, 0, 2:5, 0, 0] == middle).all(), "frames that the network returns are real"
        for steps in (lr[:, 0, :, 0, 0] - middle[:, 1:2]).tolist():
            kinds[tuple(steps)] = kinds.get(tuple(steps), 0) + 1
    after = {"replicate": [(1, 1, 1), (1, 2, 2)], "reflect": [(1, 0, -1), (1, 2, 1)]}[ends]
    whole = (-3, -2, -1, 0, 1, 2, 3)
    assert set(kinds) >= {whole, *((-3, -2, -1, 0, *tail) for tail in after)}
    assert set(kinds) >= {(*(-x for x in reversed(tail)), 0, 1, 2, 3) for tail in after}
    assert 0.1 < 1 - kinds[whole] / sum(kinds.values()) < 0.15
    short = MemoryFrames(LrHrPair(time[:10].expand(-1, 1, 6, 6), time[:10].expand(-1, 1, 12, 12)), ((0, 10),)).padded(2, ends)
    first, again = (list(PatchLoader(short, length=5, patch=5, batch=8, steps=9, margin=m, ends=ends)) for m in (0, 2))
    assert all(torch.equal(a.lr, b.lr) for a, b in zip(first, again, strict=True))


def test_draws_follow_the_seed_and_change_with_the_epoch() -> None:
    def epoch(loader: PatchLoader) -> torch.Tensor:
        return torch.cat([batch.lr.flatten() for batch in loader])

    a, b, c = (PatchLoader(frame_set(), patch=5, batch=4, steps=6, symmetries=("flip_x",), seed=s) for s in (0, 0, 1))
    first = epoch(a)
    assert torch.equal(first, epoch(b))
    assert not torch.equal(first, epoch(c))
    assert not torch.equal(first, epoch(a))


def test_whole_frames_are_each_seen_once_per_epoch() -> None:
    frames = frame_set(frames=10)
    loader = PatchLoader(frames, patch=None, batch=4, steps=None, symmetries=("transpose",))
    batches = list(loader)
    assert [len(batch.lr) for batch in batches] == [4, 4, 2]
    assert sorted(torch.cat([batch.position for batch in batches]).tolist()) == list(range(10))
    assert batches[0].lr.shape[-2:] == (12, 15)  # oblong: never transposed


def test_all_places_are_drawn() -> None:
    loader = PatchLoader(frame_set(frames=2, size=6), patch=5, batch=64, steps=4)
    corners = {(int(v) % 10000 // 100, int(v) % 100) for batch in loader for v in batch.lr[:, 0, 0, 0, 0]}
    assert corners == {(y, x) for y in range(2) for x in range(5)}


@pytest.mark.parametrize("kind", ["memory", "stored", "mixed"])
@pytest.mark.parametrize("step", [1, 2, 3, 4, 7, 30])
def test_evaluation_sees_every_steps_frame_once_in_order(kind: str, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vsr.data.frames.EVAL_PIXELS", 5 * 24 * 30)  # batches of five frames
    pair, segments = coded(frames=23), ((0, 9), (9, 23))
    frames: FrameSet = MemoryFrames(pair, segments)
    if kind == "stored":
        frames, _ = stored(pair, segments, block=4)
    if kind == "mixed":
        frames = MixedFrames([MemoryFrames(pair[0:9], ((0, 9),)), MemoryFrames(pair[9:23], ((0, 14),))])
        assert frames.segments == segments
    batches = list(FrameLoader(frames, step))
    assert torch.equal(torch.cat([batch.hr[:, :, 0] for batch in batches]), pair.hr[::step])
    assert torch.equal(torch.cat([batch.lr[:, :, 0] for batch in batches]), pair.lr[::step])
    assert torch.cat([batch.position for batch in batches]).tolist() == list(range(len(pair.hr[::step])))
    assert max(len(batch.hr) for batch in batches) <= 5
    assert torch.equal(frames.read(11, 12).hr, pair.hr[11:12])


@pytest.mark.parametrize("length", [1, 3])
def test_patches_from_a_file_are_those_of_memory(length: int) -> None:
    pair, segments = coded(frames=23), ((0, 9), (9, 23))
    frames, log = stored(pair, segments, block=5)
    loader = PatchLoader(frames, length=length, patch=5, batch=8, steps=80, symmetries=("flip_x", "transpose"))
    seen: set[int] = set()
    for lr, hr, position, *_ in loader:
        assert torch.equal(lr, hr[..., ::2, ::2])
        first = (lr[:, 0, :, 0, 0] // 10000).long()
        assert torch.equal(first, position[:, None] + torch.arange(length))
        seen |= set(first[:, 0].tolist())
    clips = {start for a, b in ((0, 5), (5, 9), (9, 14), (14, 19), (19, 23)) for start in range(a, b - length + 1)}
    assert seen <= clips
    assert len(seen) > len(clips) / 2
    assert len(log) <= 2 * (640 // 256 + 1) + 1, "blocks are read again and again"


def test_sizes_are_mixed_in_proportion_to_their_area() -> None:
    small, large = MemoryFrames(coded(4, 6), ((0, 4),)), MemoryFrames(coded(4, 30), ((0, 4),))
    frames = MixedFrames([small, large])
    assert frames.smallest_size() == small.smallest_size()
    loader = PatchLoader(frames, patch=6, batch=16, steps=100)
    positions = torch.cat([batch.position for batch in loader])
    share = (positions >= 4).float().mean().item()
    area = [part.pair.hr.shape[-1] * part.pair.hr.shape[-2] for part in (small, large)]
    assert share == pytest.approx(area[1] / sum(area), abs=0.03)
    for lr, hr, *_ in loader:
        assert lr.shape == (16, 1, 1, 6, 6)
        assert torch.equal(lr, hr[..., ::2, ::2])


def test_masks_travel_with_their_pixels() -> None:
    pair = coded(frames=6)
    mask = (pair.hr % 7 != 0).float()
    frames = MemoryFrames(LrHrPair(pair.lr, pair.hr, mask), ((0, 6),))
    for batch in PatchLoader(frames, patch=5, batch=4, steps=20, symmetries=("flip_y", "flip_x", "transpose")):
        assert batch.mask is not None
        assert torch.equal(batch.mask, (batch.hr % 7 != 0).float())
    [batch] = FrameLoader(frames)
    assert torch.equal(batch.mask[:, :, 0], mask)


def test_gaps_are_filled_from_the_nearest_pixel() -> None:
    hr = torch.arange(48.0).reshape(1, 1, 6, 8).repeat(3, 1, 1, 1)
    hr[0, 0, :, :2] = float("nan")
    hr[1, 0, 0, 0] = float("inf")
    hr[2] = float("nan")
    filled, mask = fill_masked_pixels(hr)
    assert torch.equal(mask[0, 0], (torch.arange(8) >= 2).float().expand(6, 8))
    assert torch.equal(filled[0, 0, :, 0], hr[0, 0, :, 2])
    assert mask[1].sum() == 47
    assert filled[1, 0, 0, 0] in (1.0, 8.0)
    assert mask[2].sum() == 0
    assert torch.equal(filled[2], torch.zeros_like(filled[2]))
    whole, ones = fill_masked_pixels(hr[0:1, :, :, 2:])
    assert torch.equal(whole, hr[0:1, :, :, 2:])
    assert ones.min() == 1


def test_degrading_whole_frames_differs_from_degrading_patches() -> None:
    """Why patches are cut from degraded frames: at a patch's border the kernel would miss its neighbours."""
    torch.manual_seed(0)
    hr = torch.rand(1, 1, 24, 24)
    whole = resize_bicubic_down(hr, 2)[..., 3:9, 3:9]
    patch = resize_bicubic_down(hr[..., 6:18, 6:18], 2)
    assert (whole - patch).abs().max() > 0.01
