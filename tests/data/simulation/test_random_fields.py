"""Random fields of many kinds: seeds, finite values, spectra, independence of the frames."""

from __future__ import annotations

import numpy as np
import pytest

from vsr.data.simulation.random_fields import KINDS, Kind, draw_random_field, random_field_movie


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_is_finite_and_not_constant(kind: Kind) -> None:
    for seed in range(8):
        field = kind(np.random.default_rng(seed), 48)
        assert field.shape == (48, 48)
        assert np.isfinite(field).all()
        assert field.std() > 0


def test_a_seed_is_a_movie_to_the_bit() -> None:
    first, again, other = (random_field_movie((0, 1, k), 32, 4) for k in (0, 0, 1))
    assert first.dtype == np.float32
    assert first.shape == (4, 32, 32)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.1


def test_fields_have_no_mean_and_one_spread_and_nothing_in_common() -> None:
    rng = np.random.default_rng(0)
    fields = np.stack([draw_random_field(rng, 48) for _ in range(60)])
    assert np.abs(fields.mean((1, 2))).max() < 0.01
    assert np.abs(fields.std((1, 2)) - 1).max() < 0.01
    common = np.corrcoef(fields.reshape(60, -1)) - np.eye(60)
    assert np.abs(common).mean() < 0.15


def test_smooth_and_rough_fields_are_both_there() -> None:
    """The part of the variance that neighbouring pixels do not share goes over orders of magnitude."""
    rng = np.random.default_rng(1)
    fields = np.stack([draw_random_field(rng, 48) for _ in range(80)])
    rough = np.diff(fields, axis=2).var((1, 2)) / 2
    assert np.quantile(rough, 0.9) > 10 * np.quantile(rough, 0.1)
    assert rough.min() < 0.01
