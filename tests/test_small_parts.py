"""Normaliser, geometry, losses, splits of strings: the pieces that fit on a page."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vsr.errors import error_suggestion
from vsr.geometry import Geometry
from vsr.models.normalize import Normalizer
from vsr.system.files import replacing_file
from vsr.training.modules.losses import loss_function

triples = st.tuples(*[st.integers(0, 5)] * 3)
scales = st.tuples(*[st.integers(1, 4)] * 3)


@given(low=st.floats(-1e3, 1e3), width=st.floats(1e-2, 1e3), x=st.floats(-2e3, 2e3))
@settings(deadline=None)
def test_normalizer_is_invertible_and_affine(low: float, width: float, x: float) -> None:
    normalizer = Normalizer(low, low + width).double()
    value = torch.tensor(x, dtype=torch.float64)
    assert normalizer.inverse(normalizer(value)).item() == pytest.approx(x, abs=1e-6 * (1 + abs(x) + abs(low)))
    assert normalizer(normalizer.low).item() == 0
    assert normalizer(normalizer.high).item() == 1


def test_normalizer_travels_in_the_state_dict_and_refuses_nonsense() -> None:
    state = Normalizer(-10.0, 10.0).state_dict()
    other = Normalizer(0.0, 1.0)
    other.load_state_dict(state)
    assert other.bounds == (-10, 10)
    other.set(5.0, 255.0)
    assert (other(torch.tensor(130.0)), other.bounds) == (0.5, (5, 255))
    for bounds in [(1.0, 1.0), (2.0, 1.0), (float("nan"), 1.0)]:
        with pytest.raises(ValueError, match="ascending"):
            Normalizer(*bounds)


@given(st.lists(st.tuples(scales, triples), min_size=3, max_size=3), triples)
def test_geometries_compose_like_the_networks_would(parts: list, size: tuple[int, int, int]) -> None:
    a, b, c = (Geometry(scale, margin) for scale, margin in parts)
    assert a.then(b).then(c) == a.then(b.then(c))
    assert a.then(b).output(size) == b.output(a.output(size))
    assert a.then(Geometry((1, 1, 1))) == a


def test_geometry_fits_a_window() -> None:
    assert Geometry((1, 2, 2), (2, 2, 2)).fits((2, 4, 4))
    assert not Geometry((1, 2, 2), (2, 2, 2)).fits((0, 4, 4))


def test_losses() -> None:
    sr, hr = torch.tensor([0.0, 3.0]), torch.tensor([0.0, 0.0])
    assert loss_function("mse", sr, hr) == pytest.approx(4.5)
    assert loss_function("l1", sr, hr) == pytest.approx(1.5)
    assert loss_function("mse", sr, hr, torch.tensor([1.0, 0.0])) == 0
    assert loss_function("l1", sr, hr, torch.tensor([0.0, 1.0])) == 3
    with pytest.raises(ValueError, match="unknown loss"):
        loss_function("l3", sr, hr)  # type: ignore[arg-type]
    assert loss_function("charbonnier", sr, hr) == pytest.approx((1e-3 + (9 + 1e-6) ** 0.5) / 2, rel=1e-6)


def test_suggestions() -> None:
    assert error_suggestion("fsrcn", ["fsrcnn", "srcnn"]) == "; did you mean 'fsrcnn'?"
    assert error_suggestion("xyz", ["b", "a"]) == "; known: a, b"


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    with replacing_file(path) as temporary:
        temporary.write_text("first")
        assert not path.exists()
    assert path.read_text() == "first"

    def half_way() -> None:
        with replacing_file(path) as temporary:
            temporary.write_text("sec")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        half_way()
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]
