"""Upscaling by several processes: the same store as by one, whatever is killed, and no unit lost or torn."""

from __future__ import annotations

import errno
import json
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.commands.test_app import Script, refused
from tests.fakes import ROOT, upscale_here
from tests.inference.test_upscale_file import checkpoints  # noqa: F401  (a fixture)
from tests.processes import start_process, wait_until
from vsr.commands.status import status_command
from vsr.config.schema import UpscaleSchema
from vsr.errors import UserError
from vsr.inference import archive as archive_module
from vsr.inference.archive import Archive
from vsr.inference.engine import Engine
from vsr.inference.upscale_worker import main as worker_main
from vsr.inference.workers import worker_devices
from vsr.io.writers import zarr_store
from vsr.system.work_units import WorkUnits, units_folder

xarray = pytest.importorskip("xarray")
zarr = pytest.importorskip("zarr")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A Zarr store of two levels of 96 frames, a part of which is missing."""
    values = np.random.default_rng(0).standard_normal((96, 2, 12, 16)).astype("<f4").cumsum(2)
    values[5:9, 0, :4] = np.nan
    values[:, 1] = 1e-4 * values[:, 1] + 0.01  # as if it were another quantity: a movie of its own
    coords = {"time": np.arange(96) * 0.5, "lat": np.linspace(-50, 50, 12), "lon": np.linspace(0, 75, 16)}
    array = xarray.DataArray(values, coords, ["time", "level", "lat", "lon"], name="t", attrs={"units": "K"})
    array.to_dataset().assign_attrs(title="a flow").chunk(time=7).to_zarr(tmp_path / "in.zarr", zarr_format=2)
    return tmp_path / "in.zarr"


def files_below(folder: Path) -> dict[str, bytes]:
    """The bytes of each file, by its path in a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def typed(archive: Path, output: str, *more: str) -> list[str]:
    return [f"input={archive}", f"output={archive.parent / output}", "select={level:all}", "guard=off", "tile=16", *more]


@pytest.mark.parametrize("version", [2, pytest.param(3, marks=pytest.mark.long)])
@pytest.mark.parametrize("model", ["pretrained:field_x2", "movie"])
def test_workers_give_the_store_of_one_process(
    checkpoints: dict[str, Path],  # noqa: F811
    archive: Path,
    model: str,
    version: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if version == 3:
        again = xarray.open_zarr(archive).load()
        shutil.rmtree(archive)
        again.drop_encoding().to_zarr(archive, zarr_format=3, consolidated=False)
    network = f"checkpoint={checkpoints.get(model, model)}"
    whole = upscale_here(typed(archive, "whole.zarr", network))
    with caplog.at_level(logging.INFO):
        parts = upscale_here(typed(archive, "parts.zarr", network, "workers=1"))
    assert "note      4 of 192 frames have NaN in LR, 0.69 % of all pixels: the result is NaN there, too" in caplog.text
    xarray.testing.assert_identical(xarray.open_zarr(whole).drop_attrs(), xarray.open_zarr(parts).drop_attrs())
    found = zarr.open_array(parts / "t", mode="r")
    assert found.metadata.zarr_format == version
    assert (found.shards is not None) == (version == 3)
    assert xarray.open_zarr(parts).attrs == xarray.open_zarr(whole).attrs
    assert not units_folder(parts).exists()


def test_a_large_unit_is_written_before_the_next_one_is_computed(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = upscale_here(typed(archive, "whole.zarr", "workers=1"))
    events: list[tuple[str, int]] = []

    def noted(name: str, function: Any) -> Any:
        def with_note(self: Archive, number: int, other: Any) -> Any:
            events.append((name, number))
            return function(self, number, other)

        return with_note

    for name in ("compute", "store"):
        monkeypatch.setattr(Archive, name, noted(name, getattr(Archive, name)))
    monkeypatch.setattr(archive_module, "UNIT_BYTES", 1)
    parts = upscale_here(typed(archive, "parts.zarr", "workers=1"))
    xarray.testing.assert_identical(xarray.open_zarr(whole).drop_attrs(), xarray.open_zarr(parts).drop_attrs())
    assert [name for name, _ in events] == ["compute", "store"] * (len(events) // 2)
    assert [number for _, number in events[::2]] == [number for _, number in events[1::2]]


def test_the_command_line_gives_what_xarray_gives(archive: Path) -> None:
    pytest.importorskip("dask.array")
    import vsr.xarray  # noqa: F401  (adds the accessor)

    lazy = xarray.open_zarr(archive).vsr.upscale(tile=16)
    for name, more in (("whole.zarr", []), ("parts.zarr", ["workers=1"])):
        made = xarray.open_zarr(upscale_here(typed(archive, name, *more)))
        assert np.array_equal(made.t, lazy.t, equal_nan=True)
    one = xarray.open_zarr(archive).isel(level=1).vsr.upscale(tile=16)
    assert np.array_equal(one.t, lazy.t.isel(level=1))
    assert float(abs(one.t - 0.01).max()) < 0.01


def test_a_worker_that_comes_late_does_not_begin_again(archive: Path, tmp_path: Path) -> None:
    target = upscale_here(typed(archive, "out.zarr", "workers=1"))
    before = {path: path.stat().st_mtime_ns for path in target.rglob("*")}
    settings = UpscaleSchema(
        input=str(archive), output=str(target), select={"level": "all"}, guard="off", workers=1, overwrite=True
    )
    (tmp_path / "settings.json").write_text(json.dumps(asdict(settings)))
    assert worker_main(tmp_path / "settings.json") == 0
    assert {path: path.stat().st_mtime_ns for path in target.rglob("*")} == before
    assert not units_folder(target).exists()


@pytest.mark.parametrize("more", [["workers=1"], ["workers=2"], ["workers=1", "dry=true"]])
def test_the_same_command_has_nothing_left_to_do(archive: Path, caplog: pytest.LogCaptureFixture, more: list[str]) -> None:
    target = upscale_here(typed(archive, "out.zarr", "workers=1"))
    before = {path: path.stat().st_mtime_ns for path in target.rglob("*")}
    caplog.clear()
    with caplog.at_level(logging.INFO):
        assert upscale_here(typed(archive, "out.zarr", *more)) == target
    assert "out.zarr is complete, nothing is left to do" in caplog.text
    assert "plan" not in caplog.text
    assert {path: path.stat().st_mtime_ns for path in target.rglob("*")} == before
    assert sorted(path.name for path in archive.parent.iterdir()) == [".out.zarr.done.json", "in.zarr", "out.zarr"]


def test_a_complete_output_of_another_command_is_no_reason_to_do_nothing(archive: Path, script: Script) -> None:
    target = upscale_here(typed(archive, "out.zarr", "workers=1"))
    with pytest.raises(UserError, match=r"out\.zarr: exists, made with another ensemble \(False, now True\); type another"):
        upscale_here(typed(archive, "out.zarr", "workers=1", "ensemble=true"))
    os.utime(archive, ns=(0, 0))  # the input has changed
    with pytest.raises(UserError, match="exists, made with another input"):
        upscale_here(typed(archive, "out.zarr", "workers=1", "dry=true"))
    os.utime(target / ".zgroup", ns=(0, 0))  # another program has written to the output
    refused(
        script("upscale", *typed(archive, "out.zarr", "workers=1")), "exists, and this command did not make it; type overwrite="
    )


def test_a_kill_between_moving_the_store_and_recording_that_is_seen_by_the_next_command(archive: Path) -> None:
    target = upscale_here(typed(archive, "out.zarr", "workers=1"))
    record = archive.parent / ".out.zarr.done.json"
    identity = json.loads(record.read_text())["identity"]
    record.unlink()
    WorkUnits.create(units_folder(target), {"units": 32, "identity": identity, "target": str(target)})
    assert upscale_here(typed(archive, "out.zarr", "workers=1", "dry=true")) == target
    assert units_folder(target).exists()
    assert upscale_here(typed(archive, "out.zarr", "workers=1")) == target
    assert not units_folder(target).exists()
    assert json.loads(record.read_text())["identity"] == identity


@pytest.mark.long
def test_processes_share_the_work_and_their_number_changes_nothing(archive: Path, script: Script) -> None:
    one = upscale_here(typed(archive, "one.zarr", "workers=1"))
    done = script("upscale", *typed(archive, "two.zarr", "workers=2"))
    assert done.returncode == 0, done.stderr
    assert "note      4 of 192 frames have NaN in LR, 0.69 % of all pixels: the result is NaN there, too" in done.stdout
    assert files_below(one) == files_below(archive.parent / "two.zarr")


def killed_somewhere(archive: Path, output: str, delay: float, workers: int = 2) -> None:
    """Start the command with workers and kill everything, or one worker, after a while."""
    target = archive.parent / output
    command = [sys.executable, str(ROOT / "upscale.py"), *typed(archive, output, f"workers={workers}")]
    process = start_process(command, cwd=archive.parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: units_folder(target).exists() or process.poll() is not None)
    time.sleep(delay)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4))
def test_a_kill_of_everything_costs_a_unit_at_most(archive: Path, seed: int) -> None:
    delays = random.Random(seed)
    one = upscale_here(typed(archive, "one.zarr", "workers=1"))
    target = archive.parent / "killed.zarr"
    for _ in range(5):
        if not target.exists():
            killed_somewhere(archive, "killed.zarr", delays.uniform(0, 12))
    if not target.exists():
        upscale_here(typed(archive, "killed.zarr", "workers=1"))
    assert files_below(one) == files_below(target)
    left = sorted(path.name for path in archive.parent.iterdir() if path.name.startswith("."))
    assert left == [".killed.zarr.done.json", ".one.zarr.done.json"]


def workers_of(pid: int) -> list[int]:
    """The processes of upscale_worker that descend from a process."""
    listed = subprocess.run(["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout.splitlines()[1:]
    rows = [(int(line.split()[0]), int(line.split()[1]), line) for line in listed]
    below, found = {pid}, list[int]()
    for _ in range(4):
        below |= {child for child, parent, _ in rows if parent in below}
    for child, _, line in rows:
        if child in below and "vsr.inference.upscale_worker" in line and "supervisor" not in line:
            found.append(child)
    return found


@pytest.mark.long
def test_killed_workers_are_replaced(archive: Path) -> None:
    draw = random.Random(0)
    one = upscale_here(typed(archive, "one.zarr", "workers=1"))
    target = archive.parent / "killed.zarr"
    command = [sys.executable, str(ROOT / "upscale.py"), *typed(archive, "killed.zarr", "workers=2")]
    process = start_process(command, cwd=archive.parent, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    kills = 0
    while process.poll() is None and kills < 4:
        time.sleep(draw.uniform(3, 9))
        if victims := workers_of(process.pid):
            os.kill(draw.choice(victims), signal.SIGKILL)
            kills += 1
    assert process.wait() == 0, process.stdout and process.stdout.read()
    assert kills
    assert files_below(one) == files_below(target)


def test_a_run_that_is_stopped_goes_on_where_it_was(
    archive: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    one = upscale_here(typed(archive, "one.zarr", "workers=1"))
    compute, calls = Engine.__call__, list[int]()

    def interrupted(self: Engine, lr: torch.Tensor, **options: object) -> torch.Tensor:
        calls.append(len(lr))
        if len(calls) > 14:
            raise KeyboardInterrupt
        return compute(self, lr, **options)  # type: ignore[arg-type]

    target = archive.parent / "again.zarr"
    with monkeypatch.context() as patch:
        patch.setattr(Engine, "__call__", interrupted)
        with pytest.raises(KeyboardInterrupt):
            upscale_here(typed(archive, "again.zarr", "workers=1"))
    assert not target.exists()
    status_command([f"output={target}"])
    said = capsys.readouterr().out
    assert "192 frames in" in said
    assert "0 running, 0 failed" in said
    assert "waiting" in said
    assert "or nobody works on it; the command that began it continues it" in said
    with pytest.raises(UserError, match="begun with workers; type workers=1 to continue it"):
        upscale_here(typed(archive, "again.zarr"))
    with pytest.raises(UserError, match="left by a run with another ensemble"):
        upscale_here(typed(archive, "again.zarr", "workers=1", "ensemble=true"))
    with caplog.at_level(logging.INFO):
        upscale_here(typed(archive, "again.zarr", "workers=1"))
    assert "units are done" in caplog.text
    assert files_below(one) == files_below(target)
    status_command([f"output={target}"])
    assert "is there, and no unit is left to do" in capsys.readouterr().out
    upscale_here(typed(archive, "again.zarr", "workers=1", "overwrite=true"))
    assert files_below(one) == files_below(target)


def test_a_unit_that_fails_is_told_at_the_end_and_the_rest_is_done(archive: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damaged = sorted((archive / "t").glob("3.*"))[0]
    whole = damaged.read_bytes()
    damaged.write_bytes(b"no chunk")
    target = archive.parent / "out.zarr"
    with pytest.raises(UserError, match=r"4 of \d+ units failed, the first is unit .*frames.*the same command again"):
        upscale_here(typed(archive, "out.zarr", "workers=1"))
    status_command([f"output={target}"])
    assert "4 failed" in capsys.readouterr().out
    damaged.write_bytes(whole)
    upscale_here(typed(archive, "out.zarr", "workers=1"))
    expected = upscale_here(typed(archive, "whole.zarr"))
    xarray.testing.assert_identical(xarray.open_zarr(target).drop_attrs(), xarray.open_zarr(expected).drop_attrs())


def test_a_full_disk_ends_the_command_and_keeps_what_was_done(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = upscale_here(typed(archive, "one.zarr", "workers=1"))
    write, calls = zarr_store._write_frames, list[int]()

    def full(*arguments: Any) -> None:
        calls.append(1)
        if len(calls) > 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(*arguments)

    target = archive.parent / "full.zarr"
    with monkeypatch.context() as patch:
        patch.setattr(zarr_store, "_write_frames", full)
        with pytest.raises(UserError, match=r"full\.zarr: the disk is full .*free space and type the same command again"):
            upscale_here(typed(archive, "full.zarr", "workers=1"))
    progress = WorkUnits(units_folder(target)).progress()
    assert (progress.done, progress.running, progress.failed) == (3, 0, {})
    upscale_here(typed(archive, "full.zarr", "workers=1"))
    assert files_below(one) == files_below(target)


def test_many_files_are_units_too(archive: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = archive.parent / "many"
    folder.mkdir()
    for number in range(3):
        np.save(folder / f"{number}.npy", np.random.default_rng(number).standard_normal((2, 9, 10)))
    upscale_here([f"input={folder}/*.npy", f"output={archive.parent / 'finer'}", "workers=1", "guard=off", "axes=tyx"])
    upscale_here([f"input={folder}/*.npy", f"output={archive.parent / 'plain'}", "guard=off", "axes=tyx"])
    assert files_below(archive.parent / "finer") == files_below(archive.parent / "plain")
    assert len(files_below(archive.parent / "finer")) == 3
    with caplog.at_level(logging.INFO):
        upscale_here([f"input={folder}/*.npy", f"output={archive.parent / 'finer'}", "workers=1", "guard=off", "axes=tyx"])
    assert "finer is complete, nothing is left to do" in caplog.text


def test_the_plan_is_told_before_anything_is_written(archive: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        upscale_here(typed(archive, "out.zarr", "workers=2", "dry=true"))
    assert "192 frames in " in caplog.text
    assert "of memory per worker" in caplog.text
    assert "with 2 worker(s) like this process, from a trial on a frame;" in caplog.text
    assert sorted(path.name for path in archive.parent.iterdir()) == ["in.zarr"]


def test_the_trial_takes_a_part_of_large_frames_and_counts_what_tiles_see_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    root = zarr.open_group(tmp_path / "large.zarr", mode="w")
    names = ("time", "lat", "lon")
    root.create_array("t", shape=(9, 400, 300), chunks=(1, 400, 300), dtype="f4", dimension_names=names)
    seen: list[tuple[int, ...]] = []
    monkeypatch.setattr(Engine, "__call__", lambda self, lr, **options: seen.append(tuple(lr.shape)))
    command = [f"input={tmp_path / 'large.zarr'}", f"output={tmp_path / 'out.zarr'}", "workers=2", "dry=true", "tile=120"]
    with caplog.at_level(logging.INFO):
        upscale_here(command)
    assert set(seen) == {(1, 1, 181, 181)}
    assert "from a trial on 181x181 of 400x300 pixels" in caplog.text


@pytest.mark.long
def test_a_dask_cluster_does_the_units(archive: Path) -> None:
    distributed = pytest.importorskip("distributed")
    one = upscale_here(typed(archive, "one.zarr", "workers=1"))
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        address = cluster.scheduler_address.replace("tcp://", "dask://")
        upscale_here(typed(archive, "cluster.zarr", f"workers='{address}'"))
    assert files_below(one) == files_below(archive.parent / "cluster.zarr")


@pytest.mark.long
def test_a_process_for_each_gpu(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes that are told to use a GPU each, of which there is none here: they compute on the CPU."""
    one = upscale_here(typed(archive, "one.zarr", "workers=1"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert worker_devices("gpu") == ["0", "1"]
    assert files_below(one) == files_below(upscale_here(typed(archive, "gpus.zarr", "workers=gpu")))


def test_each_mistake_is_one_line(script: Script, archive: Path) -> None:
    refused(script("upscale", *typed(archive, "a.zarr", "workers=0")), "workers=0: must be a number of processes")
    refused(script("upscale", *typed(archive, "a.zarr", "dry=true")), "type workers=1 with it")
    refused(script("upscale", *typed(archive, "a.nc", "workers=2")), "only to Zarr; type output=")
    refused(script("upscale", *typed(archive, "a.zarr", "workers=gpu")), "torch finds no GPU here")
    refused(script("upscale", *typed(archive, "a.zarr", "workers=tcp://127.0.0.1:8786")), "type workers=dask://127.0.0.1:8786")
    refused(script("upscale", f"input={archive}", "checkpoint=s3://bucket/best.ckpt"), "is not on this machine; download it")
    assert sorted(path.name for path in archive.parent.iterdir() if path.name != "runs") == ["in.zarr"]
    with pytest.raises(UserError, match="type vsr upscale status output=PATH"):
        status_command([])
    with pytest.raises(UserError, match="is not there, and no unit has been begun"):
        status_command([f"output={archive.parent / 'nowhere.zarr'}"])
