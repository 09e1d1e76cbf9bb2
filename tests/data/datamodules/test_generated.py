"""Data modules of phantoms and of spectral turbulence, and the cache of generated arrays."""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.fakes import compose_config
from vsr.config.check import check_config
from vsr.data.cache import cache_path, generate_in_parallel, load_cached_or_generate
from vsr.data.datamodules.phantom import PhantomDataModule
from vsr.data.datamodules.spectral import SpectralDataModule
from vsr.data.simulation.phantom import render_phantom_movie
from vsr.data.simulation.turbulence import simulate_turbulence
from vsr.degradations import Bicubic
from vsr.errors import UserError
from vsr.recipe import Recipe

COMMON: dict = {"scale": 2, "degradation": Bicubic(), "recipe": Recipe(patch=8), "frames": 4, "learn": 8, "test": 4}


def phantom(**options: object) -> PhantomDataModule:
    return PhantomDataModule(**({"size": 24} | COMMON | options))


def spectral(folder: Path, **options: object) -> SpectralDataModule:
    return SpectralDataModule(**({"size": 24, "sampling": 2, "cache": str(folder)} | COMMON | options))


def test_each_phantom_movie_is_another_head() -> None:
    data = phantom(variant="original", seed=5)
    data.setup()
    assert data.bounds == (0, 2)
    made = {}
    for split, seed in (("train", (5, 0, 0)), ("val", (5, 0, 1)), ("test", (5, 1, 0))):
        made[split] = render_phantom_movie(variant="original", size=24, frames=4, seed=seed)
        np.testing.assert_array_equal(data.sets[split].pair.hr[:, 0], made[split])
    assert np.abs(made["test"] - made["train"]).max() > 0.5
    again, another = phantom(variant="original", seed=5), phantom(variant="original", seed=6)
    again.setup()
    another.setup()
    assert again.card["sha256"] == data.card["sha256"] != another.card["sha256"]


@pytest.mark.parametrize("scale", [2, 3, 4, 6, 8])
def test_default_sizes_are_divisible_by_every_scale(scale: int, tmp_path: Path) -> None:
    data = phantom(size=120, frames=2, learn=4, test=2, scale=scale)
    data.setup()
    assert data.card["size"] == [120, 120]
    assert 72 % scale == 0  # of SpectralDataModule


def test_spectral_is_the_solvers_field_cached_keyed_and_repaired(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = spectral(tmp_path)
    data.setup()
    for split, seed in (("train", (0, 0, 0)), ("val", (0, 0, 1)), ("test", (0, 1, 0))):
        np.testing.assert_array_equal(data.sets[split].pair.hr[:, 0], simulate_turbulence(seed, 48, 2, 4, field="scalar"))
    [file] = tmp_path.iterdir()
    stamp = file.stat().st_mtime_ns
    again = spectral(tmp_path)
    again.setup()
    assert file.stat().st_mtime_ns == stamp
    assert again.card == data.card
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    repaired = spectral(tmp_path)
    repaired.setup()
    assert "damaged" in caplog.text
    assert repaired.card == data.card
    paths = {spectral(tmp_path, **options).path for options in ({}, {"seed": 1}, {"field": "vorticity"}, {"sampling": 3})}
    assert len(paths) == 4


def test_symmetries_are_those_of_the_law(tmp_path: Path) -> None:
    assert phantom().symmetries == ("flip_x",)
    assert spectral(tmp_path).symmetries == ("flip_x",)
    assert spectral(tmp_path, field="vorticity").symmetries == ()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"motion": 0.2}, "data.motion=0.2: must lie between 0 and 0.05; type data.motion=0.05"),
        ({"variety": -1.0}, "data.variety=-1.0: must lie between 0 and 1"),
        ({"size": 8}, "data.size=8: must be 16 or more"),
        ({"test": 1}, "data.learn=8, data.test=1: data come in trajectories of 4 frames"),
        ({"frames": 0}, "data.frames=0: must be 1 or more; type data.frames=10"),
        ({"size": 25}, "25x25 are not divisible by scale=2; type data.crop=true"),
    ],
)
def test_phantoms_that_cannot_be_made_are_refused(options: dict, message: str) -> None:
    with pytest.raises(UserError) as caught:
        phantom(**options).setup()
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 16, "sampling": 1}, "the solver 48 cells per side; type data.size=72 data.sampling=3"),
        ({"learn": 11}, "data.learn=11, data.test=4: data come in trajectories of 4 frames"),
        ({"seed": -1}, "data.seed=-1: must be 0 or more"),
    ],
)
def test_flows_that_cannot_be_made_are_refused(options: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        spectral(tmp_path, **options)
    assert message in str(caught.value)


def test_a_flow_beyond_its_bounds_names_the_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def beyond(*_: object) -> None:
        raise FloatingPointError("the scalar of seed (0, 0, 0) spans -20 to 3")

    monkeypatch.setattr("vsr.data.datamodules.spectral.generate_in_parallel", beyond)
    with pytest.raises(UserError, match=r"spans -20 to 3; type another data.seed"):
        spectral(tmp_path).setup()
    assert not list(tmp_path.iterdir())


def test_cache_holds_what_was_made_and_notices_damage(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = cache_path(str(tmp_path / "new"), "numbers", {"version": 1, "seeds": [(1, 2)]})
    assert path != cache_path(str(tmp_path / "new"), "numbers", {"version": 2, "seeds": [(1, 2)]})
    calls: list[int] = []

    def make() -> list[np.ndarray]:
        calls.append(1)
        return [np.arange(1000.0), np.ones(3)]

    for _ in range(2):
        found = load_cached_or_generate(path, ["a/0", "b"], make)
        np.testing.assert_array_equal(found["a/0"], np.arange(1000.0))
        np.testing.assert_array_equal(found["b"], np.ones(3))
    assert len(calls) == 1
    with h5py.File(path, "r") as file:
        offset = file["a/0"].chunks and file["a/0"].id.get_chunk_info(0).byte_offset
    raw = bytearray(path.read_bytes())
    raw[offset + 16] ^= 1  # one bit: the checksum finds it
    path.write_bytes(raw)
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(load_cached_or_generate(path, ["a/0", "b"], make)["a/0"], np.arange(1000.0))
    assert len(calls) == 2
    assert "damaged" in caplog.text
    assert load_cached_or_generate(path, ["a/0", "b"], make).keys() == {"a/0", "b"}
    assert len(calls) == 2


def test_an_interrupted_or_unwritable_cache_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> list[np.ndarray]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_cached_or_generate(tmp_path / "x.h5", ["a"], interrupted)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="type data.cache=FOLDER"):
        load_cached_or_generate(tmp_path / "file" / "x.h5", ["a"], lambda: [np.ones(3)])


def test_parallel_calls_come_back_in_order_and_errors_come_through() -> None:
    simulate = partial(simulate_turbulence, field="scalar")
    calls = [((k,), 48, 4, 2) for k in range(3)]
    for call, found in zip(calls, generate_in_parallel(simulate, calls, 6, "test"), strict=True):
        assert found.tobytes() == simulate(*call).tobytes()
    with pytest.raises(ValueError, match="40 cells per side are too few"):
        generate_in_parallel(simulate, [calls[0], ((1,), 40, 4, 2)], 4, "test")


@pytest.mark.parametrize("name", ["phantom", "spectral"])
def test_configs_are_accepted_and_agree_with_the_defaults(name: str) -> None:
    cfg = compose_config("train", [f"data={name}"])
    check_config(cfg)
    plain = {key: value for key, value in cfg.data.items() if key != "_target_"}
    kind = {"phantom": PhantomDataModule, "spectral": SpectralDataModule}[name]
    stated, default = (vars(kind(**options, scale=2, degradation=Bicubic(), recipe=Recipe())) for options in (plain, {}))
    for key in ("name", "bounds", "size", "path", "lengths", "split", "variety", "motion", "speed"):
        assert stated.get(key) == default.get(key)


def test_of_several_that_need_the_same_file_one_makes_it_and_nothing_else_stays(tmp_path: Path) -> None:
    made = []

    def make() -> list[np.ndarray]:
        made.append(1)
        time.sleep(0.2)
        return [np.arange(3.0)]

    with ThreadPoolExecutor(4) as pool:  # locks are of open files, so that threads stand for processes here
        found = list(pool.map(lambda _: load_cached_or_generate(tmp_path / "x.h5", ["a"], make)["a"].tolist(), range(4)))
    assert found == [[0.0, 1.0, 2.0]] * 4
    assert len(made) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["x.h5"]
