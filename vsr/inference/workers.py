"""Upscaling by several processes of this machine, of a Dask cluster, or of other machines (`workers` of upscale.yaml)."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import count, islice
from pathlib import Path
from typing import Any

import torch

from vsr.config import PACKAGE
from vsr.config.plugins import opened_plugins
from vsr.config.schema import UpscaleSchema
from vsr.errors import UserError
from vsr.inference.archive import Archive, Work
from vsr.inference.upscale_worker import WAIT, unit_of_cluster, work_on_units
from vsr.models.weights.shipped import WORD
from vsr.system.address import path_or_address
from vsr.system.cpu import usable_cores
from vsr.system.jobs import Job, Outcome, run_jobs
from vsr.system.progress import duration_text, progress_bar
from vsr.system.work_units import WorkUnits
from vsr.version import __version__

log = logging.getLogger(__name__)

DEATHS = 5  # of each worker, one after the other, while no unit gets done


def run_work(work: Work, settings: UpscaleSchema) -> Path:
    """Do all units of some work with `settings.workers` processes, together with other commands of the same kind.

    Args:
        work: What is to be done.
        settings: The settings of upscale.yaml.

    Returns:
        The path of the output.

    Raises:
        UserError: If units failed, which the message lists; the other units are done.
    """
    workers = worker_devices(settings.workers)
    if work.completed() and (settings.dry or work.open_units() is None):  # which tidies up after a process that was killed
        return _nothing_left(work)
    log.info("plan      %s", work.plan_text())
    for note in work.notes:
        log.info("note      %s", note)
    if settings.dry:
        if isinstance(work, Archive):
            _log_hours(work, settings)
        return work.target
    if isinstance(settings.workers, str) and settings.workers.startswith("dask://"):
        with _connected(settings) as client:
            return _run_units(work, settings, lambda units: _work_on_cluster(work, units, settings, client))
    if len(workers) > 1:
        return _run_units(work, settings, lambda units: _work_in_processes(work, units, settings, workers))
    return _run_units(work, settings, lambda units: _work_here(work, units))


def _run_units(work: Work, settings: UpscaleSchema, do: Callable[[WorkUnits], None]) -> Path:
    """Open the units, do them, and finish the output."""
    units = work.open_units()
    if units is None:  # another command has just completed it
        return _nothing_left(work)
    progress = units.progress()
    if progress.done or progress.running:
        log.info("continue  %d of %d units are done, others work on %d", progress.done, units.count, progress.running)
    if progress.failed and not progress.running:
        units.retry_failed()
    do(units)
    _end(work, units)
    log.info("result    %s", work.target)
    return work.target


def _nothing_left(work: Work) -> Path:
    log.info("result    %s is complete, nothing is left to do", work.target)
    return work.target


def _work_here(work: Work, units: WorkUnits) -> None:
    """Do the units in this process."""
    with progress_bar(units.count, "upscaling", "unit", units.done()) as bar:
        work_on_units(work, units, lambda: bar.update(units.done() - bar.n))


def worker_devices(workers: Any) -> list[str | None]:
    """Return the device of each worker process: the number of a GPU, or None for the setting `device`.

    Raises:
        UserError: If there is no GPU for workers=gpu.
    """
    if workers == "gpu":
        if not (count := torch.cuda.device_count()):
            raise UserError("workers=gpu: torch finds no GPU here; type workers=N for N processes on the CPU")
        return [str(number) for number in range(count)]
    return [None] * (workers if isinstance(workers, int) else 1)


def _end(work: Work, units: WorkUnits) -> None:
    """Finish the output if all units are done; raise UserError if some failed."""
    while units.folder.exists():
        progress = units.progress()
        if progress.failed:
            names = [f"{work.describe(number)}: {error}" for number, error in progress.failed.items()]
            for name in names:
                log.error("failed    %s", name)
            raise UserError(
                f"{work.target}: {len(names)} of {units.count} units failed, the first is {names[0]}; "
                f"{progress.done} units are done; mend it and type the same command again"
            )
        if progress.done < units.count:
            raise UserError(f"{work.target}: {units.count - progress.done} units are left; type the same command again")
        if units.claim_number(units.count):  # the last unit is the end of the work, which one process does
            try:
                work.finish()
            except BaseException:
                units.release(units.count)
                raise
            return
        time.sleep(WAIT)


def _log_hours(work: Archive, settings: UpscaleSchema) -> None:
    seconds, on = work.trial()
    workers = len(worker_devices(settings.workers))
    log.info(
        "estimate  %s for the network alone with %d worker(s) like this process, from a trial on %s; "
        "the start of workers, reading and writing come on top",
        duration_text(seconds * work.movies * work.length / workers),
        workers,
        on,
    )


def _work_in_processes(work: Work, units: WorkUnits, settings: UpscaleSchema, devices: Sequence[str | None]) -> None:
    """Let processes of this machine do the units; a process that is killed is replaced.

    Raises:
        UserError: If a process cannot write the output, or if processes die one after the other.
    """
    logs = units.folder / "logs"
    logs.mkdir(exist_ok=True)
    path = logs / f"settings-{os.getpid()}.json"
    path.write_text(json.dumps(_settings_of_worker(settings)), encoding="utf-8")
    threads, numbers = str(max(1, usable_cores() // len(devices))), count(1)
    ended: list[Outcome] = []
    errors: list[str] = []
    found = [str(PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]  # this vsr, installed or not

    def job(device: str | None) -> Job:
        env = {"OMP_NUM_THREADS": threads, "PYTHONPATH": os.pathsep.join(found)}
        if device is not None:
            env["CUDA_VISIBLE_DEVICES"] = device
        name = f"worker-{os.getpid()}-{next(numbers)}"
        command = [sys.executable, "-m", "vsr.inference.upscale_worker", str(path)]
        return Job(name=name, command=command, log=logs / f"{name}.log", env=env)

    def jobs() -> Iterator[Job | None]:
        yield from map(job, devices)
        alive, deaths, done = len(devices), 0, 0
        while alive:
            if not ended:
                yield None
                continue
            outcome, now = ended.pop(0), units.done()
            deaths, done = (0 if now > done else deaths + 1), now
            if outcome.status > 128 and units.left() and deaths <= DEATHS * len(devices):
                yield job(outcome.job.env.get("CUDA_VISIBLE_DEVICES"))
                continue
            alive -= 1
            if outcome.status:
                errors.append(outcome.error)

    with progress_bar(units.count, "upscaling", "unit", units.done()) as bar:
        shown = 0.0

        def watch(_: Job) -> None:
            nonlocal shown
            if time.monotonic() - shown > 1:
                shown = time.monotonic()
                bar.update(units.done() - bar.n)

        for outcome in run_jobs(jobs(), len(devices), label="", watch=watch):
            ended.append(outcome)  # noqa: PERF402  (the generator `jobs` takes it meanwhile)
        bar.update(units.done() - bar.n)
    if errors and units.left() and not units.progress().failed:
        raise UserError(f"workers ended: {errors[0]}; the same command continues")


@contextmanager
def _connected(settings: UpscaleSchema) -> Iterator[Any]:
    """Connect to a Dask cluster. Raises UserError if nobody answers within 30 s."""
    from distributed import Client

    try:
        client = Client(settings.workers.replace("dask://", "tcp://", 1), timeout=30, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UserError(f"workers={settings.workers}: no Dask scheduler answers there ({error}); type its address") from error
    with client:
        yield client


def _work_on_cluster(work: Work, units: WorkUnits, settings: UpscaleSchema, client: Any) -> None:
    """Let the workers of a Dask cluster do the units.

    Raises:
        UserError: If the cluster has other versions, or does not see the output.
    """
    from distributed import as_completed

    with progress_bar(units.count, "upscaling", "unit", units.done()) as bar:
        own = _versions()
        try:
            found = client.run(_versions_and_files, str(units.folder.resolve()))
        except Exception as error:
            raise UserError(
                f"workers={settings.workers}: a worker cannot import vsr ({error}); install it on all workers"
            ) from error
        if not found:
            raise UserError(f"workers={settings.workers}: the cluster has no worker; start one")
        for worker, (versions, sees) in found.items():
            if versions != own:
                raise UserError(
                    f"workers={settings.workers}: {worker} has vsr {versions[0]} and torch {versions[1]}, this process has "
                    f"{own[0]} and {own[1]}; install the same versions"
                )
            if not sees:
                raise UserError(
                    f"workers={settings.workers}: {worker} does not see {units.folder.resolve()}; type output=PATH on "
                    f"a file system that all workers share"
                )
        plain = _settings_of_worker(settings) | _absolute(settings, work)
        waiting = iter(range(units.count))
        futures = as_completed(loop=client.loop)

        def submit(most: int) -> None:
            for number in islice(waiting, most):
                futures.add(client.submit(unit_of_cluster, plain, number, pure=False))

        submit(2 * sum(client.nthreads().values()))
        for future in futures:
            if (problem := future.result()) is not None:
                client.cancel(list(futures.futures))
                raise UserError(problem)
            bar.update(units.done() - bar.n)
            submit(1)


def _settings_of_worker(settings: UpscaleSchema) -> dict[str, Any]:
    """Return the settings for a process that does units; the key `plugins` was taken off when the packages were opened."""
    return {**asdict(settings), "workers": 1, "plugins": opened_plugins()}


def _absolute(settings: UpscaleSchema, work: Work) -> dict[str, Any]:
    """Return the paths of the settings as seen from another folder."""
    paths = [str(path_or_address(each).resolve()) for each in _listed(settings.input)]
    checkpoint = settings.checkpoint
    if checkpoint is not None and not checkpoint.startswith(WORD):
        checkpoint = str(Path(checkpoint).expanduser().resolve())
    calibration = None if settings.calibration is None else str(Path(settings.calibration).expanduser().resolve())
    static = []
    for each in _listed(settings.static or []):
        path, colon, name = each.rpartition(":")
        static.append(f"{Path(path).expanduser().resolve()}:{name}" if colon else str(Path(each).expanduser().resolve()))
    return {
        "static": static or None,
        "input": paths if not isinstance(settings.input, str) else paths[0],
        "output": str(work.target.resolve()),
        "checkpoint": checkpoint,
        "calibration": calibration,
    }


def _listed(given: Any) -> list[str]:
    return [given] if isinstance(given, str) else [str(each) for each in given]


def _versions() -> tuple[str, str]:
    return __version__, torch.__version__


def _versions_and_files(folder: str) -> tuple[tuple[str, str], bool]:
    return _versions(), Path(folder).is_dir()
