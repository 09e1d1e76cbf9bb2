"""Promises of `adapt_weights`: what is copied, what is adapted so that the function stays, left alone, and reported."""

from __future__ import annotations

from typing import Any, Literal

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vsr.models.fsrcnn import FSRCNN, FSRCNNOriginal
from vsr.models.linear import Linear
from vsr.models.srcnn import SRCNN
from vsr.models.weights.adapt import AdaptedTensor, adapt_weights, adapted_transposed_kernels

sizes = st.integers(1, 5)
odd = st.sampled_from([1, 3, 5])
seeds = st.integers(0, 10**6)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def fit_one(own: Tensor, found: Tensor, name: str = "a.weight", **options: Any) -> tuple[Tensor, AdaptedTensor]:
    values, rows = adapt_weights({name: own}, {name: found}, **options)
    return values[name], rows[0]


# --- whole networks -------------------------------------------------------------------------------------------------------


def test_a_network_into_its_like() -> None:
    ours, theirs = FSRCNN(scale=2), FSRCNN(scale=2).double()
    target = dict(ours.named_parameters())
    before = {name: tensor.clone() for name, tensor in target.items()}
    values, rows = adapt_weights(target, theirs.state_dict())
    assert rows == [AdaptedTensor(name, name, "loaded") for name in target]
    for name, value in values.items():
        assert value.dtype == torch.float32
        assert not value.requires_grad
        assert torch.equal(value, theirs.state_dict()[name].float())
        assert torch.equal(target[name], before[name])  # nothing in place
        assert value.data_ptr() not in (target[name].data_ptr(), theirs.state_dict()[name].data_ptr())


def test_names_that_differ_and_tensors_that_are_missing() -> None:
    target = {"body.0.weight": drawn(2, 1, 3, 3), "body.0.bias": drawn(2), "tail.bias": drawn(3)}
    source = {"conv1.weight": drawn(2, 1, 3, 3, seed=1), "body.0.bias": drawn(2, seed=2), "other": drawn(9)}
    values, rows = adapt_weights(target, source, names={"body.0.weight": "conv1.weight", "tail.bias": "nothing"})
    assert rows == [
        AdaptedTensor("body.0.weight", "conv1.weight", "loaded"),
        AdaptedTensor("body.0.bias", "body.0.bias", "loaded"),
        AdaptedTensor("tail.bias", None, "fresh", "not in the file"),
    ]
    assert torch.equal(values["body.0.weight"], source["conv1.weight"])
    assert torch.equal(values["tail.bias"], target["tail.bias"])
    assert values["tail.bias"] is not target["tail.bias"]


def test_other_widths_are_refused_unless_asked_for() -> None:
    target, source = FSRCNNOriginal(d=32, s=5, m=1, scale=2), FSRCNNOriginal(scale=2)
    named = dict(target.named_parameters())
    values, rows = adapt_weights(named, source.state_dict())
    assert {row.status for row in rows} == {"refused", "loaded"}  # the bias of the one output fits
    assert all(torch.equal(values[row.tensor], named[row.tensor]) for row in rows if row.status == "refused")
    assert rows[0].reason == "(56, 1, 5, 5) in the file, (32, 1, 5, 5) here"
    _, rows = adapt_weights(named, source.state_dict(), overlap=True, transposed=adapted_transposed_kernels(target))
    assert {row.tensor: row.status for row in rows if row.tensor.startswith("enlarge")} == {
        "enlarge.weight": "overlap",
        "enlarge.bias": "loaded",
    }
    assert rows[0].reason == "leading (32, 1): (56, 1, 5, 5) in the file, (32, 1, 5, 5) here"


# --- overlap ----------------------------------------------------------------------------------------------------------------


@given(st.tuples(sizes, sizes, odd), st.tuples(sizes, sizes), st.booleans(), seeds)
@settings(deadline=None)
def test_overlap_copies_what_both_have_and_never_touches_the_rest(
    mine: tuple[int, int, int], theirs: tuple[int, int], transposed: bool, seed: int
) -> None:
    own = drawn(*mine, mine[2], seed=seed)
    found = drawn(*(n + 1 for n in theirs), mine[2], mine[2], seed=seed + 1)  # 1 would be spread
    names = {"a.weight"} if transposed else set()
    value, row = fit_one(own, found, overlap=True, transposed=names)
    rows, columns = min(own.shape[0], found.shape[0]), min(own.shape[1], found.shape[1])
    assert torch.equal(value[:rows, :columns], found[:rows, :columns])
    assert torch.equal(value[rows:], own[rows:])
    assert torch.equal(value[:, columns:], own[:, columns:])
    assert row.status == ("loaded" if own.shape == found.shape else "overlap")
    again, same = fit_one(value, found, overlap=True, transposed=names)
    assert torch.equal(again, value)
    assert same == row


def test_overlap_of_biases_and_slopes() -> None:
    own, found = drawn(8), drawn(5, seed=1)
    for name in ("a.bias", "a.weight"):
        value, row = fit_one(own, found, name, overlap=True)
        assert row.status == "overlap"
        assert row.reason == "leading 5: (5,) in the file, (8,) here"
        assert torch.equal(value, torch.cat([found, own[5:]]))
        assert fit_one(own, found, name)[1].status == "refused"


# --- PReLU ------------------------------------------------------------------------------------------------------------------


@given(sizes, seeds)
@settings(deadline=None)
def test_one_slope_for_all_is_the_same_function(channels: int, seed: int) -> None:
    value, row = fit_one(drawn(channels + 1), drawn(1, seed=seed))
    x = drawn(2, channels + 1, 4, 4, seed=seed)
    torch.testing.assert_close(F.prelu(x, value), F.prelu(x, drawn(1, seed=seed)), rtol=0, atol=0)
    assert row.status == "loaded"


def test_slopes_become_one_by_their_mean_where_asked_for() -> None:
    value, row = fit_one(drawn(1), torch.tensor([0.1, 0.3], dtype=torch.float64), overlap=True)
    assert value.tolist() == pytest.approx([0.2])
    assert (row.status, row.reason) == ("loaded", "the mean of 2 slopes")
    assert fit_one(drawn(1), drawn(2, seed=1))[1].status == "refused"


def test_biases_are_no_slopes() -> None:
    own, found = drawn(1), drawn(4, seed=1)
    assert fit_one(own, found, "a.bias", overlap=True)[0].item() == found[0].item()
    assert fit_one(drawn(4), drawn(1, seed=1), "a.bias")[1].status == "refused"


# --- channels ---------------------------------------------------------------------------------------------------------------


@given(st.integers(2, 4), sizes, odd, st.booleans(), seeds)
@settings(deadline=None)
def test_spread_over_channels_a_grey_frame_gives_the_same(channels: int, width: int, k: int, transposed: bool, seed: int) -> None:
    width += 1
    narrow = drawn(*((1, width) if transposed else (width, 1)), k, k, seed=seed)
    own = drawn(*((channels, width) if transposed else (width, channels)), k, k)
    convolve = F.conv_transpose2d if transposed else F.conv2d
    value, row = fit_one(own, narrow, overlap=True, transposed={"a.weight"} if transposed else ())
    grey = drawn(2, 1, 6, 7, seed=seed)
    torch.testing.assert_close(convolve(grey.expand(-1, channels, -1, -1), value), convolve(grey, narrow))
    assert (row.status, row.reason) == ("loaded", f"one channel spread over {channels}")
    assert fit_one(own, narrow)[1].status == "refused"


@pytest.mark.parametrize("network", [SRCNN, FSRCNN, FSRCNNOriginal])
@torch.no_grad()
def test_a_luma_network_becomes_one_for_colour(network: Any) -> None:
    luma, colour = network(scale=2).double(), network(scale=2, channels=3).double()
    target = dict(colour.named_parameters())
    values, rows = adapt_weights(target, luma.state_dict(), overlap=True, transposed=adapted_transposed_kernels(colour))
    assert {row.status for row in rows} == {"loaded"}
    colour.load_state_dict(values)
    grey = torch.rand(2, 1, 9, 8, dtype=torch.float64)
    torch.testing.assert_close(colour(grey.expand(-1, 3, -1, -1)), luma(grey).expand(-1, 3, -1, -1))


def test_spread_and_other_width_at_once() -> None:
    own, found = drawn(8, 3, 5, 5), drawn(5, 1, 5, 5, seed=1)
    value, row = fit_one(own, found, overlap=True)
    torch.testing.assert_close(value[:5].sum(1, keepdim=True), found)
    assert torch.equal(value[5:], own[5:])
    assert row.status == "overlap"
    assert row.reason.startswith("one channel spread over 3, leading (5, 3): ")


# --- time -------------------------------------------------------------------------------------------------------------------


@given(sizes, sizes, odd, odd, seeds)
@settings(deadline=None)
def test_inflated_at_the_centre_each_frame_gives_what_the_2d_layer_gives(o: int, i: int, t: int, k: int, seed: int) -> None:
    flat = drawn(o, i, k, k, seed=seed)
    value, row = fit_one(drawn(o, i, t, k, k), flat, inflate="centre")
    clip = drawn(1, i, 4, 6, 7, seed=seed)
    ours = F.conv3d(clip, value, padding=(t // 2, 0, 0))
    frames = torch.stack([F.conv2d(clip[:, :, n], flat) for n in range(4)], dim=2)
    torch.testing.assert_close(ours, frames)
    assert (row.status, row.reason) == ("loaded", f"2D kernel, centre of {t} frames")


@given(sizes, sizes, st.integers(1, 5), odd, seeds)
@settings(deadline=None)
def test_averaged_over_time_a_still_clip_gives_what_the_2d_layer_gives(o: int, i: int, t: int, k: int, seed: int) -> None:
    flat = drawn(o, i, k, k, seed=seed)
    value, row = fit_one(drawn(o, i, t, k, k), flat, inflate="average")
    still = drawn(1, i, 6, 7, seed=seed)
    ours = F.conv3d(still.unsqueeze(2).expand(-1, -1, t + 2, -1, -1), value)
    torch.testing.assert_close(ours, F.conv2d(still, flat).unsqueeze(2).expand_as(ours))
    assert row.status == "loaded"


@pytest.mark.parametrize("mode", ["centre", "average"])
def test_inflated_into_a_wider_kernel(mode: Literal["centre", "average"]) -> None:
    own, flat = drawn(6, 3, 3, 5, 5), drawn(4, 1, 5, 5, seed=1)
    value, row = fit_one(own, flat, inflate=mode, overlap=True)
    torch.testing.assert_close(value[:4].sum((1, 2)), flat[:, 0])
    assert torch.equal(value[4:], own[4:])
    assert row.status == "overlap"
    assert fit_one(own, flat, inflate=mode)[1].status == "refused"


def test_inflation_must_be_asked_for_and_possible() -> None:
    flat, solid = drawn(2, 1, 5, 5), drawn(2, 1, 3, 5, 5)
    for overlap in (False, True):
        row = fit_one(solid, flat, overlap=overlap)[1]
        assert row.reason.startswith("a 2D kernel goes into a 3D one only with init.inflate")
        assert row.status == "refused"
        assert "4 frames have no centre" in fit_one(drawn(2, 1, 4, 5, 5), flat, inflate="centre", overlap=overlap)[1].reason
        assert fit_one(flat, solid, inflate="centre", overlap=overlap)[1].status == "refused"


# --- scale and what cannot be ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("scale", [3, 4])
def test_what_is_made_for_a_scale_stays_with_it(scale: int, overlap: bool) -> None:
    for kind, bound in ((FSRCNN, "enlarge.weight"), (FSRCNNOriginal, "enlarge.weight")):
        ours, theirs = kind(scale=scale), kind(scale=2)
        named = dict(ours.named_parameters())
        values, rows = adapt_weights(
            named, theirs.state_dict(), overlap=overlap, transposed=adapted_transposed_kernels(ours), scales=(2, scale)
        )
        by_name = {row.tensor: row for row in rows}
        assert by_name.pop(bound) == AdaptedTensor(bound, bound, "fresh" if overlap else "refused", f"made for x2, here x{scale}")
        assert {row.status for row in by_name.values()} == {"loaded"}
        assert torch.equal(values[bound], named[bound])
    _, rows = adapt_weights(Linear(scale=scale).state_dict(), Linear(scale=2).state_dict(), overlap=overlap, scales=(2, scale))
    assert {row.status for row in rows} == {"fresh" if overlap else "refused"}
    shuffled = [fit_one(drawn(3 * scale**2, 8, 3, 3), drawn(12, 8, 3, 3), overlap=overlap, scales=(2, scale))[1]]
    assert shuffled[0].reason == f"made for x2, here x{scale}"


def test_the_same_scale_binds_nothing() -> None:
    network = FSRCNN(scale=2)
    _, rows = adapt_weights(
        dict(network.named_parameters()), network.state_dict(), transposed=adapted_transposed_kernels(network), scales=(2, 2)
    )
    assert {row.status for row in rows} == {"loaded"}
    assert adapted_transposed_kernels(network) == {"enlarge.weight"}


def test_kernels_of_another_size_stay_fresh() -> None:
    own, found = drawn(4, 4, 3, 3), drawn(4, 4, 5, 5, seed=1)
    for overlap, status in ((False, "refused"), (True, "fresh")):
        value, row = fit_one(own, found, overlap=overlap)
        assert torch.equal(value, own)
        assert (row.source, row.status) == ("a.weight", status)
        assert row.reason == "kernels of another size: (4, 4, 5, 5) in the file, (4, 4, 3, 3) here"


def test_other_kinds_of_numbers() -> None:
    for overlap in (False, True):
        _, row = fit_one(torch.ones(3), torch.ones(3, dtype=torch.int64), overlap=overlap)
        assert (row.status, row.reason) == ("refused", "int64 in the file, float32 here")
        _, row = fit_one(torch.ones(3), torch.full((3,), 1e300, dtype=torch.float64), overlap=overlap)
        assert (row.status, row.reason) == ("refused", "holds values that float32 cannot hold")
        assert fit_one(torch.ones(3, 2), torch.ones(3), overlap=overlap)[1].status == "refused"
    value, row = fit_one(torch.tensor(1), torch.tensor(7))
    assert (value.item(), row.status) == (7, "loaded")


@given(st.lists(sizes, min_size=1, max_size=5), st.lists(sizes, min_size=1, max_size=5), st.booleans(), st.booleans(), seeds)
@settings(deadline=None, max_examples=200)
def test_any_two_shapes_fit_or_are_refused_and_again_the_same(
    mine: list[int], theirs: list[int], overlap: bool, transposed: bool, seed: int
) -> None:
    own, found = drawn(*mine, seed=seed), drawn(*theirs, seed=seed + 1)
    options: dict[str, Any] = {"overlap": overlap, "inflate": "average", "transposed": {"a.weight"} if transposed else ()}
    before = own.clone(), found.clone()
    value, row = fit_one(own, found, **options)
    assert value.shape == own.shape
    assert torch.equal(own, before[0])
    assert torch.equal(found, before[1])
    assert torch.equal(value, own) == (row.status in ("fresh", "refused"))
    assert row.status != "loaded" or not (value == own).any()
    assert (row.reason == "") == (own.shape == found.shape)
    again, same = fit_one(value, found, **options)
    assert torch.equal(again, value)
    assert same == row
