"""Evaluation of checkpoints and baseline methods on the same pixels, frames, data range, degradation and splits."""

from __future__ import annotations

import logging
import re
import shlex
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf

from vsr.config.check import check_config
from vsr.config.command_log import write_command_log
from vsr.config.named_commands import task_arguments
from vsr.config.overrides import with_overrides
from vsr.config.plugins import plugins_as_typed
from vsr.config.resolved import resolved_window
from vsr.data.base import SRDataModule
from vsr.data.frames import FrameSet
from vsr.data.loaders import add_border
from vsr.data.lr_statistics import LRStatistics
from vsr.degradations.consistency import BlockRatio, degradation_for_consistency
from vsr.errors import UserError
from vsr.evaluation.checkpoints import Checkpoint, read_evaluated_checkpoints
from vsr.evaluation.evaluated_data import build_evaluated_data, check_split, evaluated_static_fields, fit_to_data
from vsr.evaluation.lead_time import CALIBRATED, add_lead_time_curves, lead_time_findings, lead_time_sentences
from vsr.evaluation.report.write import write_report
from vsr.evaluation.rows import pair_sentences
from vsr.evaluation.scored import MethodScores, SampleFrames
from vsr.evaluation.uncertainty import activity_edges, calibrate, guarantee_line, member_count, uncertainty_lines
from vsr.inference.out_of_distribution import FRAMES, PairsScore, out_of_distribution_score
from vsr.metrics.calibration import CALIBRATED_LEVELS, Calibration
from vsr.metrics.collection import DataProperties, MetricCollection
from vsr.metrics.definitions import DEFINITIONS, Definition, lengths_in
from vsr.metrics.fields import VectorScores
from vsr.metrics.headline import headline_table
from vsr.metrics.variables import ALL_VARIABLES, scores_over_variables, variable_keys
from vsr.models.cost import count_parameters
from vsr.models.linear import Linear
from vsr.models.transform import Transformed
from vsr.system.files import write_json_file
from vsr.system.progress import progress_bar
from vsr.system.provenance import software_versions
from vsr.system.ranks import current_rank, rank_count
from vsr.training.build import build_baseline_modules, build_consistent_module, build_interim_modules, build_module
from vsr.training.build_network import build_from_node
from vsr.training.distributed import distributed_ranks
from vsr.training.fit import prepare_fit_loaders, quiet_fit_warnings
from vsr.training.hardware import hardware_placement
from vsr.training.modules.base import SRModule
from vsr.training.progress_bars import ScoringProgressBar
from vsr.training.run import run_protocol
from vsr.training.trainer import build_scoring_trainer

log = logging.getLogger(__name__)

CALIBRATION = "calibration.json"
SAMPLE_FRAMES = 24  # frames of a movie in the report
SAMPLE_VALUES = 1 << 26  # pixel values of all methods together in a movie of the report


@dataclass(frozen=True)
class ScoredMethod:
    """A method to score.

    Attributes:
        method: Name of its row.
        module: Its LightningModule.
        train_seconds: Seconds of training.
        baseline: True for a method to compare with, False for a network under evaluation.
        members: Number of members of an ensemble; 0 for the output of the network.
        calibration: Intervals around the output, or around the mean of the members; None without.
        single: Name of the row of the output of the network, where this row is another.
    """

    method: str
    module: SRModule
    train_seconds: float = 0.0
    baseline: bool = True
    members: int = 0
    calibration: Calibration | None = None
    single: str = ""

    def calibrated(self, data: SRDataModule, edges: list[tuple[float, float]]) -> ScoredMethod:
        """Return the method with calibrated intervals; `edges` are those of `activity_edges`. Raises UserError."""
        found = calibrate(self.module, self.members, data, edges)
        return replace(self, method=f"{self.method}{CALIBRATED}", calibration=found, single=self.single or self.method)

    @property
    def values(self) -> int:
        """Number of the values that stand for the predicted distribution of a pixel; 1 for a single prediction."""
        return self.members or 1 if self.calibration is None else 2 * len(CALIBRATED_LEVELS) + 1


def evaluate(cfg: DictConfig, folder: Path) -> dict[str, Any]:
    """Score checkpoints and baseline methods on the same frames, and write a report.

    Args:
        cfg: Config of `vsr evaluate`; without `data`, checkpoints are scored on the data of their training.
        folder: Folder of the report.

    Returns:
        A dictionary with "rows", the rows of the results table, and "protocol", the data and settings of the scores.

    Raises:
        UserError: If something cannot be read, or if the scores of the checkpoints would not be comparable.
    """
    if cfg.get("workers") is not None:
        cfg = with_overrides(cfg, {"trainer.strategy": "ddp", "trainer.accelerator": "cpu", "trainer.devices": cfg.workers})
    with distributed_ranks(cfg, folder, _evaluate_rank, hardware_placement(cfg.trainer)) as folder:
        return _evaluate_rank(cfg, folder)


def _evaluate_rank(cfg: DictConfig, folder: Path) -> dict[str, Any]:
    """Do one rank's part of an evaluation: each rank scores whole segments, and the first one writes the report."""
    with _metrics_of_plugins(cfg.get("metrics") or {}):
        return _evaluate(cfg, folder)


@contextmanager
def _metrics_of_plugins(nodes: Mapping[str, Any]) -> Iterator[None]:
    """Add the definitions of scores that a config names to the definitions of vsr, inside the block."""
    for name, node in nodes.items():
        if name in DEFINITIONS:
            raise UserError(f"metrics.{name}: is a score of vsr; choose another name")
        if not (OmegaConf.is_dict(node) and "_target_" in node):
            raise UserError(f"metrics.{name}={node}: names no class; type +metrics.{name}._target_=mypackage.MyScore")
    added = {name: build_from_node(f"metrics.{name}", node) for name, node in nodes.items()}
    hints = get_type_hints(Definition)
    for name, one in added.items():
        if one.function is None:
            raise UserError(f"metrics.{name}: has no function; see docs/guides/plugins.md")
        for field in ("better", "group", "per", "needs"):
            if getattr(one, field) not in (choices := get_args(hints[field])):
                known = ", ".join(repr(choice) for choice in choices)
                raise UserError(f"metrics.{name}: {field}={getattr(one, field)!r} in its class; must be one of {known}")
    DEFINITIONS.update(added)
    try:
        yield
    finally:
        for name in added:
            del DEFINITIONS[name]


def _evaluate(cfg: DictConfig, folder: Path) -> dict[str, Any]:
    quiet_fit_warnings()
    checkpoints = read_evaluated_checkpoints(cfg)
    config = checkpoints[0].config
    check_config(config)
    fields = evaluated_static_fields(cfg.get("static"), config, checkpoints[0].trained)
    data = build_evaluated_data(config, checkpoints, fields, typed=cfg.data is not None)
    for checkpoint in checkpoints if cfg.data is not None else ():
        check_split(checkpoint.trained, data, config, bool(cfg.get("calibrate")))
    checkpoints = [fit_to_data(checkpoint, data) for checkpoint in checkpoints]
    networks = [_network(checkpoint, data) for checkpoint in checkpoints]
    modules = [network.module for network in networks]
    members = member_count(cfg.get("members"), config, modules)
    longest = max(modules, key=lambda module: module.network.context)
    prepare_fit_loaders(data, longest, *(module.network for module in modules))
    candidates = _baselines(networks, checkpoints, data)
    for network, checkpoint in zip(networks, checkpoints, strict=True):
        candidates += [*_interim_results(network, checkpoint, several=len(networks) > 1), network]
        if network.module.ensemble is not None:
            several = f"{network.method}, {members} members"
            candidates.append(replace(network, method=several, members=members, single=network.method))
    uncertain = bool(cfg.get("calibrate")) or any(module.ensemble is not None for module in modules)
    edges = activity_edges(modules[0], data) if uncertain else None
    if cfg.get("calibrate") and edges is not None:
        candidates += [each.calibrated(data, edges) for each in candidates if not each.baseline]
    scored = add_lead_time_curves(_score(config, data, candidates, edges))
    if current_rank() > 0:
        return {}
    protocol = run_protocol(config, data, networks[0].module)
    protocol["checkpoints"] = [
        checkpoint.protocol(_ood_scores(network, data, checkpoint))
        for network, checkpoint in zip(networks, checkpoints, strict=True)
    ]
    protocol |= {"members": members} if members else {}
    if named := {split: names for split in data.test_splits if (names := data.trajectory_names(split))}:
        protocol["test trajectories"] = named if len(named) > 1 else next(iter(named.values()))
    calibrations = {each.method: each.calibration for each in candidates if each.calibration is not None}
    if calibrations:
        protocol["calibration trajectories"] = next(iter(calibrations.values())).trajectories
    protocol["versions"] = software_versions()
    samples = list(_samples(data, candidates)) if cfg.report else []
    write_command_log()
    kinds = {"field": data.physical, "grid": data.pixel_grid, "pictures": cfg.report}
    with lengths_in(data.pixel_grid.unit):
        rows = write_report(folder, scored, samples, protocol, command=_command(), **kinds)
    if calibrations:
        of = {network.method: (network.module, one) for network, one in zip(networks, checkpoints, strict=True)}
        described = {
            each.method: each.calibration.to_plain() | _calibrated_network(*of[each.single], each.members, data)
            for each in candidates
            if each.calibration is not None
        }
        write_json_file(folder / CALIBRATION, described)
    parts = lead_time_sentences(lead_time_findings(scored))
    said = [f"pair      {line}" for line in pair_sentences(scored)]
    said += [f"lead time {f'{part}: ' if len(parts) > 1 else ''}{line}" for part, lines in parts.items() for line in lines]
    said += uncertainty_lines(rows, {each.method: each.single for each in candidates if each.values > 1})
    said += [guarantee_line(next(iter(calibrations.values())))] if calibrations else []
    for each in candidates:
        if each.calibration is not None:
            asked = f"members={each.members} " if each.members else ""
            path = of[each.single][1].trained.path
            arguments = f"checkpoint={path} input=lr.nc {asked}calibration={folder / CALIBRATION}{plugins_as_typed()}"
            said.append(f"next      vsr upscale {arguments}")
    if any(window := resolved_window(config)):
        cut = f"window={list(window)}".replace(" ", "")
        said.append(f"window    {window[1]} rows and {window[2]} columns at each side of a frame are not scored ({cut})")
    said += _below_linear(rows, [checkpoint.method for checkpoint in checkpoints if checkpoint.general], config)
    count = len({name for row in rows for name in row} & set(DEFINITIONS))
    where = f"all {count} scores: table.md, frames.csv, segments.csv"
    report = f"; open {folder / 'report.html'} in a browser" if cfg.report else ""
    log.info("\n".join([headline_table(rows), *said, f"results   {folder / 'results.json'}; {where}{report}"]))
    return {"rows": rows, "protocol": protocol}


def _calibrated_network(module: SRModule, checkpoint: Checkpoint, members: int, data: SRDataModule) -> dict[str, Any]:
    """Return what a calibration is for: it is refused for anything else."""
    return {
        "checkpoint": checkpoint.trained.sha256,
        "members": members,
        "scale": data.scale,
        "degradation": data.degradation.name,
        "consistency": checkpoint.config.consistency,
        "variables": list(data.variables),
        "ranges": (module.normalizer.high - module.normalizer.low).flatten().tolist(),
    }


def _below_linear(rows: list[dict[str, Any]], general: Collection[str], config: DictConfig) -> list[str]:
    """Return lines for each network and split on which the linear filter is better, and the command that writes this filter.

    Args:
        rows: The results rows.
        general: The networks that take fields of any values.
        config: Config of the evaluation.
    """
    psnr = {(row["split"], row["method"]): row["psnr"] for row in rows if row.get("psnr") is not None}
    networks = {row["method"] for row in rows if not row["baseline"]}
    lines: list[str] = []
    task = task_arguments(config)
    for (split, method), own in psnr.items():
        linear = psnr.get((split, "linear"))
        if method not in networks or linear is None or linear <= own:
            continue
        advice = "train it longer (budget=30min)"
        if better := [other for other in networks if psnr.get((split, other), linear) > linear]:
            advice = f"{max(better, key=lambda other: psnr[split, other])} is above it"
        elif method in general:
            advice = f"a network that is trained on them is likely better: vsr train preset=balanced {task}"
        lines.append(
            f"linear    {method} is {linear - own:.2f} dB below the best linear filter of these data on {split}; {advice}"
        )
    return [*lines, f"          this filter as a checkpoint: vsr train model=linear {task}"] if lines else []


def _network(checkpoint: Checkpoint, data: SRDataModule) -> ScoredMethod:
    build = partial(build_module, test_splits=data.test_splits)
    module = checkpoint.trained.build_with(build, checkpoint.config, data.border.periodic)
    # Data with declared bounds use them: a network sees the unit interval wherever it is used.
    module.normalizer.set(*data.frame_bounds)
    assert data.bounds is not None
    for part in (module.network, module.consistency):
        if isinstance(part, Transformed | BlockRatio):
            part.set_bounds(data.bounds)
    if checkpoint.general:  # the fair rival knows the data
        module.reference = Linear(scale=data.scale, channels=data.channels)
        known = (module.in_unit_interval(frames) for frames in (data.training_frames(), data.validation_frames()))
        module.reference.prepare_best_size(*known)
    return ScoredMethod(checkpoint.method, module, checkpoint.trained.seconds, baseline=False)


def _baselines(networks: list[ScoredMethod], checkpoints: list[Checkpoint], data: SRDataModule) -> list[ScoredMethod]:
    """Build the baseline methods: interpolations, and a linear filter for each data set that checkpoints were trained on."""
    found = build_baseline_modules(networks[0].module, data.channels)
    if (projected := build_consistent_module(found["bicubic"], data.unit_degradation(), data.scale)) is not None:
        linear = found.pop("linear")
        found |= {"bicubic+projection": projected, "linear": linear}
    seen = [checkpoints[0].linear_fit(data.card)]
    for network, checkpoint in zip(networks[1:], checkpoints[1:], strict=True):
        if (fit := checkpoint.linear_fit(data.card)) not in seen:
            seen.append(fit)
            found[f"linear ({network.method})"] = build_baseline_modules(network.module, data.channels)["linear"]
    taken = {network.method for network in networks}
    return [ScoredMethod(name, module) for name, module in found.items() if name not in taken]


def _interim_results(network: ScoredMethod, checkpoint: Checkpoint, several: bool) -> list[ScoredMethod]:
    """Build a candidate for each intermediate output of a `Cascade` of two networks; return [] for any other network."""
    seconds = checkpoint.trained.stage_seconds.get("first", 0.0)
    parts = build_interim_modules(network.module)
    return [ScoredMethod(f"{network.method}: {part}" if several else part, module, seconds) for part, module in parts.items()]


def _score(
    config: DictConfig, data: SRDataModule, candidates: list[ScoredMethod], activity: list[tuple[float, float]] | None
) -> list[MethodScores]:
    """Score every candidate on every test split; return the scores in the order of the splits.

    Args:
        config: The config of the evaluation.
        data: The data module.
        candidates: The methods.
        activity: As `activity_edges` returns it; None if no method predicts a distribution.
    """
    properties = _data_properties(config, data, activity)
    found: list[MethodScores] = []
    total = len(candidates) * sum(len(data.sets[split]) for split in data.test_splits)
    first = current_rank() == 0
    with progress_bar(-(-total // rank_count()), "scoring", "frame") if first else nullcontext() as bar:
        scorer = build_scoring_trainer(config, [ScoringProgressBar(bar)] if first else [])
        for candidate in candidates:
            module = candidate.module
            module.members, module.calibration = candidate.members, candidate.calibration
            values, drawn = candidate.values, candidate.calibration is None
            module.collections = {
                split: [MetricCollection(each, values, drawn) for each in known] for split, known in properties.items()
            }
            module.vector_scores = _vector_scores(config, data)
            scorer.test(module, dataloaders=data.test_dataloader(), verbose=False)
            for split, each in module.collections.items():
                lead, lead_unit = data.lead_times(split) or (None, "")
                own = [
                    MethodScores(
                        split=split,
                        keys=keys,
                        method=candidate.method,
                        frames=metrics.frames(),
                        segments=metrics.segments(),
                        segment_of=metrics.segment_of(),
                        curves=metrics.curves(),
                        parameters=count_parameters(module.network),
                        train_seconds=candidate.train_seconds,
                        baseline=candidate.baseline,
                        lead=lead,
                        lead_unit=lead_unit,
                    )
                    for keys, metrics in zip(variable_keys(data.card), each, strict=True)
                ]
                if len(own) > 1:
                    together = scores_over_variables([one.frames for one in own]) | _frames_of(module.vector_scores.get(split))
                    keys = {"variable": ALL_VARIABLES, "unit": ""}
                    own.append(replace(own[0], keys=keys, frames=together, segments={}, curves={}))
                found += own
            module.collections, module.vector_scores, module.members, module.calibration = {}, {}, 0, None
    parts = list(dict.fromkeys(one.part for one in found))
    return sorted(found, key=lambda one: (data.test_splits.index(one.split), parts.index(one.part)))


def _data_properties(
    config: DictConfig, data: SRDataModule, activity: list[tuple[float, float]] | None
) -> dict[str, list[DataProperties]]:
    """Return, for each test split, the properties of the data that decide which scores apply, for each variable.

    Args:
        config: The config of the evaluation.
        data: The data module.
        activity: As `activity_edges` returns it; None without ensembles.
    """
    low, high = (np.ravel(bound).tolist() for bound in data.frame_bounds)
    return {
        split: [
            DataProperties(
                scale=data.scale,
                bounds=(bounds[0], bounds[1]),
                window=resolved_window(config),
                periodic=data.card["periodic"],
                movie=max(b - a for a, b in data.sets[split].segments) > 1,
                field=data.physical,
                geostrophic=data.geostrophic and not data.variables,
                degrade=degradation_for_consistency(data.unit_degradation(i), data.scale),
                grid=data.pixel_grid,
                step=step,
                activity=activity[i] if activity else None,
            )
            for i, (*bounds, step) in enumerate(zip(low, high, data.rounding_steps, strict=True))
        ]
        for split in data.test_splits
    }


def _vector_scores(config: DictConfig, data: SRDataModule) -> dict[str, VectorScores]:
    """Return what scores the velocities of each test split; nothing for data without vectors."""
    if not data.scored_vectors:
        return {}
    bounds = np.broadcast_to(np.reshape(np.array(data.bounds), (-1, 2)), (data.channels, 2)).tolist()
    _, y, x = resolved_window(config)
    return {split: VectorScores(data.scored_vectors, bounds, (y, x), data.walls) for split in data.test_splits}


def _frames_of(scores: VectorScores | None) -> dict[str, np.ndarray]:
    """Return the scores of velocities of all frames by name, (N,), over all processes; nothing without any."""
    if scores is None:
        return {}
    with scores.sync_context():
        return {name: column.cpu().numpy() for name, column in scores.per_frame().items()}


def _ood_scores(network: ScoredMethod, data: SRDataModule, checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the out-of-distribution score of each test split, and warn of splits that are unlike the training data."""
    if (known := checkpoint.trained.lr_statistics) is not None:
        return _unlike_pairs(network.method, data, known)
    found: dict[str, Any] = {}
    for split in data.test_splits:
        score = out_of_distribution_score(
            network.module,
            data.sets[split],
            data.unit_degradation(),
            checkpoint.trained.consistency,
            data.ends,
            data.border.periodic,
        )
        if score is not None:
            found[split] = score.as_json()
            if score.unfamiliar:
                log.warning("warning   '%s' is unlike what %s was trained on: %s", split, network.method, score)
    return found


def _unlike_pairs(method: str, data: SRDataModule, known: LRStatistics) -> dict[str, Any]:
    """Compare the LR frames of each test trajectory with the training pairs of a network, and warn of those that are unlike."""
    found: dict[str, Any] = {}
    offset = np.reshape(data.offset, (-1, 1, 1))
    for split in data.test_splits:
        frames, unlike, timed = data.sets[split], [], data.lead_times(split)
        leads, unit = (np.empty(0), "") if timed is None else timed
        for start, stop in frames.segments:
            chosen = np.unique(np.linspace(start, stop - 1, FRAMES).astype(int)).tolist()
            lr = np.concatenate([frames.read(k, k + 1).lr[:, : data.channels].double().numpy() for k in chosen])
            own, leads = np.split(leads, [stop - start - 2 * data.trim])
            score = PairsScore(known.differences(lr + offset, float(own.max()) if len(own) else None, unit))
            unlike += [score] if score.unfamiliar else []
        found[split] = {"trajectories": len(frames.segments), "unlike": [list(score.differences) for score in unlike]}
        if unlike:
            log.warning(
                "warning   %d of %d trajectories of '%s' are unlike what %s was trained on: %s",
                *(len(unlike), len(frames.segments), split, method, unlike[0]),
            )
    return found


@torch.no_grad()
def _samples(data: SRDataModule, candidates: list[ScoredMethod]) -> Iterator[SampleFrames]:
    """Yield, for each test split and variable, a few frames from its middle, super-resolved by every method."""
    context = max(candidate.module.network.context for candidate in candidates)
    normalizer, (_, *window) = candidates[-1].module.normalizer, candidates[-1].module.window
    several, units = variable_keys(data.card), data.card.get("units")
    ranges: list[list[float]] = np.reshape(data.card["bounds"], (-1, 2)).tolist()
    in_units = data.physical and (bool(data.variables) or data.pixel_grid.known)
    for split in data.test_splits:
        frames = data.sets[split]
        start, stop = _sample_range(frames, len(candidates))
        clip = add_border(frames.clip(start, stop, context, data.ends), data.border, data.reach)
        truth = normalizer(clip.hr)
        made = {}
        for candidate in (each for each in candidates if each.values == 1):
            _, y, x = candidate.module.network.geometry.margin
            height, width = truth.shape[-2:]
            picture = truth.clone()  # stands in for the border that the network does not give
            picture[..., y : height - y, x : width - x] = candidate.module.predict_clip(clip)
            made[candidate.method] = picture[0].transpose(0, 1).float().numpy()
        lr = normalizer(clip.own_lr[:, : data.channels])[0].transpose(0, 1)
        middle = (stop - start) // 2
        ensembles = {}
        for candidate in (each for each in candidates if each.members and each.calibration is None):
            candidate.module.members = candidate.members
            at = add_border(frames.clip(start + middle, start + middle + 1, context, data.ends), data.border, data.reach)
            ensembles[candidate.method] = candidate.module.predict_members(at)[0, :, :, 0].transpose(0, 1).float().numpy()
            candidate.module.members = 0
        for i, keys in enumerate(several):
            unit = keys.get("unit", units if isinstance(units, str) else "")
            own = slice(i, i + 1) if len(several) > 1 else slice(None)
            yield SampleFrames(
                split=split,
                keys=keys,
                first=start,
                lr=lr[:, own].numpy(),
                hr=truth[0].transpose(0, 1)[:, own].numpy(),
                methods={name: frames[:, own] for name, frames in made.items()},
                members={name: frame[:, own] for name, frame in ensembles.items()},
                window=(window[0], window[1]),
                areas=None if data.pixel_grid.cosines is None else np.array(data.pixel_grid.cosines),
                bounds=(ranges[i][0], ranges[i][1]) if in_units else None,
                unit="" if unit == "1" else unit,
                axes=data.pixel_grid.axes if data.physical else None,
            )


def _sample_range(frames: FrameSet, methods: int) -> tuple[int, int]:
    """Return the range start..stop-1 of frames to show: at most 24, fewer if large, from the middle of the longest segment."""
    a, b = max(frames.segments, key=lambda segment: segment[1] - segment[0])
    height, width = frames.smallest_size()
    count = max(1, min(SAMPLE_FRAMES, b - a, SAMPLE_VALUES // (height * width * frames.channels * (methods + 2))))
    start = a + (b - a - count) // 2
    return start, start + count


def _command() -> str:
    """Return the command of this evaluation for a shell, without the quotes that paths need in Hydra's grammar alone."""
    if not sys.argv[0].endswith("evaluate.py"):
        return "vsr evaluate"
    typed = [re.sub(r"""^([^=]+)=(['"])([^'"]*)\2$""", r"\1=\3", argument) for argument in sys.argv[1:]]
    return shlex.join(["vsr", "evaluate", *typed])
