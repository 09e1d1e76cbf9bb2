"""Upscaling by several processes: parts of an array to one Zarr store, or many files (`workers` of upscale.yaml)."""

from __future__ import annotations

import json
import logging
import os
import shutil
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vsr.config.schema import UpscaleSchema
from vsr.errors import UserError
from vsr.inference.engine import Engine
from vsr.inference.engine_choice import first_pixels
from vsr.inference.inputs import check_zarr_target, open_input_movie
from vsr.inference.ood_policy import apply_ood_policy
from vsr.inference.open_files import open_array, output_identity
from vsr.inference.stream import Gaps
from vsr.inference.upscaler import Upscaler
from vsr.io.readers.printable import printable_bytes
from vsr.io.writers.base import OutputProgress, identity_differences, replace_output, writing_errors
from vsr.io.writers.zarr_store import ZarrParts, begin_at_address, finish_at_address
from vsr.system.address import Address
from vsr.system.work_units import WorkUnits, completed_identity, record_completion, units_folder

log = logging.getLogger(__name__)

UNIT_BYTES = 1 << 26  # of SR frames, unless a block of the network is larger
FEWEST_UNITS = 32  # of a short movie, so that workers end at about the same time
TRIAL_PIXELS = 1 << 15  # LR pixels of a frame on which the time of a frame is estimated
LIBRARIES = 450 << 20  # bytes that a process has in memory before it reads a frame
GAPS = "gaps-"  # beginning of the names of files that count missing pixels, one for each process


class Archive:
    """Array whose frames are upscaled in units of whole frames, each by some process, to one Zarr store.

    Args:
        settings: The settings of upscale.yaml.
        given: Path of the input.
        target: Path of the Zarr store that appears when all units are done.
        upscaler: The network.

    Raises:
        UserError: If the input does not suit the network, or the output is no Zarr store or cannot be written.

    Attributes:
        small_units: True if a process may hold two units: one that is written, and one that is computed.
    """

    def __init__(self, settings: UpscaleSchema, given: Path, target: Path, upscaler: Upscaler) -> None:
        movie = open_input_movie(settings, given, upscaler.variables, upscaler.any_values)
        self.settings, self.folder, self.given, self.target = settings, units_folder(target), given, target
        recorded: dict[str, Any] = completed_identity(target) or {}
        with suppress(FileNotFoundError):
            recorded = WorkUnits(self.folder).plan["identity"]
        self.upscaler_of, self.source, template, self.notes = open_array(settings, given, target, upscaler, movie, recorded)
        self.upscaler = self.upscaler_of(0)
        engine = self.upscaler.engine
        self.block = (self.upscaler.members or engine).block(self.source.height, self.source.width)
        self.movies, self.length = template.shape[0], template.shape[2]
        bytes_of_frame = template.item * int(np.prod([template.shape[axis] for axis in (1, 3, 4)]))
        most = min(UNIT_BYTES // bytes_of_frame, self.movies * self.length // FEWEST_UNITS)
        self.frames = self.block * max(1, most // self.block)
        self.small_units = self.frames * bytes_of_frame <= UNIT_BYTES
        self.template = replace(template, storage={**template.storage, "unit": self.frames})
        self.units_of_movie = -(-self.length // self.frames)
        self.count = self.movies * self.units_of_movie
        self._gaps: dict[int, Gaps] = {}  # of units that are computed and not yet stored
        identity = output_identity(settings, given, self.upscaler)
        self.identity = json.loads(json.dumps({**identity, "layout": self.template.digest(), "torch": torch.__version__}))

    def span(self, number: int) -> tuple[int, int, int]:
        """Return the movie, the first and the last + 1 frame of a unit."""
        movie, place = divmod(number, self.units_of_movie)
        return movie, place * self.frames, min((place + 1) * self.frames, self.length)

    def completed(self) -> bool:
        """Return True if a run with the same identity has completed the output, and it is not to be made anew.

        Raises:
            UserError: If the output exists, and another run made it.
        """
        check_zarr_target(self.target, self.settings.overwrite)
        known = None if self.settings.overwrite else completed_identity(self.target)
        if known is None:
            return False
        if differing := identity_differences(known, self.identity):
            advice = "type another output=PATH, or overwrite=true to make it anew"
            raise UserError(f"{self.target}: exists, made with another {', '.join(differing)}; {advice}")
        return True

    def open_units(self) -> WorkUnits | None:
        """Open the units that a run with the same identity left or works on, or make them; None if the output is complete.

        Raises:
            UserError: If the target exists, or units of another identity are there.
        """
        completed, overwrite = self.completed(), self.settings.overwrite
        if self.folder.exists() and not (self.folder / "store").exists() and self.target.exists():
            self.finish()  # another process was killed between moving the store and tidying up
        if not completed and isinstance(self.target, Address):
            begin_at_address(self.target, self.identity)
            completed = self.completed()  # by another command, just before that
        if completed:
            return None
        if self.folder.exists():
            units = WorkUnits(self.folder)
            differing, progress = identity_differences(units.plan["identity"], self.identity), units.progress()
            if not differing:
                return units
            if progress.running:
                raise UserError(f"{self.target}: other processes write it, with another {', '.join(differing)}; stop them first")
            if progress.done and not overwrite:
                raise UserError(
                    f"{self.folder}: left by a run with another {', '.join(differing)}; type overwrite=true to start over, or "
                    f"repeat the command of that run to continue it"
                )
            shutil.rmtree(self.folder)
        if not isinstance(self.target, Address):  # no run without workers writes it
            OutputProgress(self.target, self.identity, overwrite=overwrite, folder=True).close()
        plan = {"units": self.count, "identity": self.identity, "block": self.block, "frames_of_unit": self.frames}
        linear = apply_ood_policy(self.source, self.upscaler, self.settings.guard)
        plan |= {"frames": self.movies * self.length, "linear": linear, "target": str(self.target)}
        return WorkUnits.create(self.folder, plan, lambda folder: ZarrParts.create(folder / "store", self.template))

    @cached_property
    def parts(self) -> ZarrParts:
        """The store, opened for writing."""
        return ZarrParts(self.folder / "store", self.template, self.target)

    def compute(self, number: int, plan: dict[str, Any]) -> np.ndarray:
        """Compute the SR frames (t, C, H, W) of a unit."""
        movie, start, stop = self.span(number)
        engine = self.upscaler.engine
        index = engine.window(start, stop, self.length)
        low, high = int(index.min()), int(index.max()) + 1
        lr = torch.from_numpy(np.stack(list(self.source.frames(movie, low, high))))
        self._gaps[number] = Gaps()
        self._gaps[number].add(lr[start - low : stop - low, : self.source.channels])
        blocks = []
        for first in range(start, stop, plan["block"]):
            last = min(first + plan["block"], stop)
            window = lr[engine.window(first, last, self.length) - low]
            sr = self._network(movie, plan)(window, first)
            blocks.append(self.upscaler_of(movie).with_offset(sr, np.dtype(self.template.dtype)))
        return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)

    def _network(self, movie: int, plan: dict[str, Any]) -> Callable[[torch.Tensor, int], np.ndarray]:
        engine, members = self.upscaler_of(movie).engine, self.upscaler_of(movie).members
        if members is not None:
            before = movie * self.length  # one process counts the frames of all movies, and noise is that of a frame
            return lambda window, first: members(window, first_frame=first, before=before).numpy()
        if movie not in plan["linear"]:
            return lambda window, first: engine(window, first_frame=first).numpy()
        linear: Engine = self.upscaler_of(movie).linear
        return lambda window, first: linear(window[engine.context : len(window) - engine.context], first_frame=first).numpy()

    def store(self, number: int, frames: np.ndarray) -> None:
        """Write the SR frames of a unit to the store, synced to disk."""
        movie, start, _ = self.span(number)
        self.parts.write(movie, start, frames)
        if (gaps := self._gaps.pop(number)).pixels:
            with (self.folder / f"{GAPS}{socket.gethostname()}-{os.getpid()}").open("a", encoding="utf-8") as file:
                file.write(f"{number} {gaps.frames} {gaps.pixels}\n")

    def finish(self) -> None:
        """Move the complete store to the target, record that it is complete, and remove the folder of the units."""
        store = self.folder / "store"
        if store.exists():  # a process that was killed here may have moved it
            self._log_gaps()
            for left in store.rglob("*.partial"):  # what was being written when a process was killed
                left.unlink(missing_ok=True)
            with writing_errors(self.target):
                if isinstance(self.target, Address):
                    finish_at_address(store, self.target)
                else:
                    replace_output(store, self.target)
        with writing_errors(self.target), suppress(FileNotFoundError):  # of the folder: another process has done it
            record_completion(self.target, WorkUnits(self.folder).plan["identity"])
        shutil.rmtree(self.folder, ignore_errors=True)

    def _log_gaps(self) -> None:
        """Say how many pixels are missing, as the processes counted them."""
        lines = [line.split() for path in self.folder.glob(f"{GAPS}*") for line in path.read_text(encoding="utf-8").splitlines()]
        of_unit = {line[0]: (int(line[1]), int(line[2])) for line in lines if len(line) == 3}  # a unit may be done twice
        gaps, pixels = Gaps(), self.source.height * self.source.width
        gaps.frames, gaps.pixels = (sum(each[i] for each in of_unit.values()) for i in (0, 1))
        if (told := gaps.describe(self.movies * self.length, pixels)) and not self.upscaler.knows_gaps:
            log.info("note      %s", told)

    def describe(self, number: int) -> str:
        """Return the frames of a unit in words."""
        movie, start, stop = self.span(number)
        of = f" of movie {movie + 1}" if self.movies > 1 else ""
        return f"unit {number} (frames {start} to {stop - 1}{of})"

    def plan_text(self) -> str:
        """Say how much there is to do, and how much memory a worker needs."""
        per_frame = 4 * self.upscaler.channels * self.source.height * self.source.width
        total = self.movies * self.length
        context = 2 * self.upscaler.engine.context
        unit = self.template.data_bytes // total * self.frames
        # Frames are held as they are read, beside each other, and as the network sees them; a unit beside the results of layers,
        # and then as the library packs it: in pieces, and joined.
        size = self.source.height, self.source.width
        members = 0 if self.upscaler.members is None else self.upscaler.members.held_bytes(*size)
        held = members + (2 if self.small_units else 1) * unit + max(self.settings.memory << 20, 2 * unit)
        memory = LIBRARIES + held + 3 * (self.frames + context) * per_frame
        read, written, needed = map(printable_bytes, (per_frame * total, self.template.data_bytes, memory))
        units = f"{self.count} unit{'s' * (self.count != 1)} of {self.frames}"
        return f"{total} frames in {units}, reads {read}, writes up to {written}, at most about {needed} of memory per worker"

    def trial(self) -> tuple[float, str]:
        """Measure how long the network takes, on pixels from the middle of the first block: the shorter of two times.

        Returns:
            Seconds for a whole frame, in proportion to the pixels that the network sees, and what was computed, in words.
        """
        engine, size = self.upscaler.engine, (self.source.height, self.source.width)
        network = self.upscaler.members or engine
        stop = min(self.block, self.length)
        index = engine.window(0, stop, self.length)
        lr = torch.from_numpy(np.stack(list(self.source.frames(0, 0, int(index.max()) + 1))))
        part = lr if self.upscaler.module.network.whole_frames else first_pixels(lr, TRIAL_PIXELS)
        height, width = part.shape[-2:]
        network(part[index])  # the first time takes memory, and opens what computes
        times = []
        for _ in range(2):
            since = time.perf_counter()
            network(part[index])
            times.append((time.perf_counter() - since) / stop)
        on = "a frame" if (height, width) == size else f"{height}x{width} of {size[0]}x{size[1]} pixels"
        return min(times) * engine.seen_pixels(*size) / engine.seen_pixels(height, width), on


class ManyFiles:
    """Files that are upscaled to a file each, each by some process.

    Args:
        settings: The settings of upscale.yaml.
        inputs: Paths of the inputs.
        outputs: Paths of the outputs, in one folder.
        upscaler: The network.
        upscale_one: Function that upscales one input to its output.
    """

    def __init__(
        self,
        settings: UpscaleSchema,
        inputs: Sequence[Path],
        outputs: Sequence[Path],
        upscaler: Upscaler,
        upscale_one: Callable[[Path, Path], object],
    ) -> None:
        self.settings, self.inputs, self.outputs, self.upscale_one = settings, inputs, outputs, upscale_one
        self.notes: list[str] = []
        self.target, self.count, self.small_units = outputs[0].parent, len(inputs), False
        self.folder = units_folder(self.target)
        files = {"input": [str(path.resolve()) for path in inputs], "outputs": [str(path.resolve()) for path in outputs]}
        self.identity = json.loads(json.dumps({**output_identity(settings, inputs[0], upscaler), **files}))

    def completed(self) -> bool:
        """Return True if all outputs are there, and are not to be made anew."""
        return not self.settings.overwrite and not self.folder.exists() and all(path.exists() for path in self.outputs)

    def open_units(self) -> WorkUnits | None:
        """Open the units of another process with the same files, or make them; None if nothing is left.

        Raises:
            UserError: If other processes write other files there.
        """
        if self.completed():
            return None
        if self.folder.exists():
            units = WorkUnits(self.folder)
            if not (differing := identity_differences(units.plan["identity"], self.identity)):
                return units
            if units.progress().running:
                raise UserError(f"{self.target}: other processes write here, with other {', '.join(differing)}; wait for them")
            shutil.rmtree(self.folder)
        with writing_errors(self.target):
            self.target.mkdir(parents=True, exist_ok=True)
        return WorkUnits.create(self.folder, {"units": self.count, "identity": self.identity, "target": str(self.target)})

    def compute(self, number: int, plan: dict[str, Any]) -> None:
        """Upscale a file, unless its output is there."""
        if not self.outputs[number].exists() or self.settings.overwrite:
            self.upscale_one(self.inputs[number], self.outputs[number])

    def store(self, number: int, frames: None) -> None:
        """Do nothing: `compute` has written the file."""

    def finish(self) -> None:
        """Remove the folder of the units."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def describe(self, number: int) -> str:
        """Return the name of a file."""
        return str(self.inputs[number])

    def plan_text(self) -> str:
        """Say how much there is to do."""
        left = sum(not path.exists() for path in self.outputs)
        return f"{self.count} files to {self.target}, {self.count - left} of them are there already"


Work = Archive | ManyFiles


def join_units(work: Work) -> WorkUnits | None:
    """Return the units that another process has opened; None if the work has ended meanwhile.

    Raises:
        UserError: If the units are those of another network, input or version.
    """
    try:
        units = WorkUnits(work.folder)
    except FileNotFoundError:
        return None
    if differing := identity_differences(units.plan["identity"], work.identity):
        raise UserError(f"{work.target}: other processes write it, with another {', '.join(differing)}; stop them first")
    return units
