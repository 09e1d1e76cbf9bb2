"""Networks and baselines as rows of one table: the same pixels, frames, range, degradation and split, or a refusal."""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from vsr.config.check import check
from vsr.config.command_log import write_notes
from vsr.config.schema import method as method_name
from vsr.data.base import SRDataModule
from vsr.data.frames import FrameSet
from vsr.degradations.consistency import repeatable_degradation
from vsr.errors import UserError
from vsr.evaluation.report.tables import text
from vsr.evaluation.report.write import write_all
from vsr.evaluation.scored import Sample, Scored
from vsr.inference.out_of_distribution import score_frames
from vsr.inference.trained import Trained, read_trained
from vsr.metrics.collection import DataProperties, MetricCollection
from vsr.models.base import parameter_count
from vsr.system.progress import progress_bar
from vsr.system.provenance import versions
from vsr.training.build import build_baselines, build_consistent, build_data, build_interim, evaluation_window
from vsr.training.fit import quiet_warnings, serve
from vsr.training.hardware import require_single_process
from vsr.training.modules.base import SRModule
from vsr.training.progress_bars import ScoreBar
from vsr.training.run import described
from vsr.training.trainer import build_scorer

log = logging.getLogger(__name__)

# What must be the same in rows of one table, with what to type where it is not.
SHARED = {"scale": "", "ends": "", "protocol": "protocol=float", "window": "window=[0,8,8]", "degradation": "degradation=bicubic"}
# Of a data config, what does not change the frames.
HANDLING = ("cache", "memory", "max_bytes", "geostrophic")
SAMPLE_FRAMES, SAMPLE_VALUES = 24, 1 << 26  # of the movies in the report: frames, and numbers of all methods together


def evaluate(cfg: DictConfig, folder: Path) -> dict[str, Any]:
    """Score checkpoints on the data of their training or on `data`, beside the baselines, and leave a report in `folder`.

    Raises UserError for what cannot be read and for checkpoints whose scores would not be comparable.
    """
    require_single_process("evaluate.py", cfg.trainer)
    quiet_warnings()
    paths = cfg.checkpoint if OmegaConf.is_list(cfg.checkpoint) else [cfg.checkpoint]
    trained = [read_trained(Path(str(path)).expanduser()) for path in paths]
    for i, each in enumerate(trained):
        if each.sha256 in {other.sha256 for other in trained[:i]}:
            raise UserError(f"checkpoint: {each.path} is given twice; leave one of them out")
    configs = [_config(each, cfg) for each in trained]
    _check_comparable(trained, configs)
    check(configs[0])
    data = build_data(configs[0], *(each.bounds for each in trained))
    for each in trained:
        if data.channels != each.channels:
            raise UserError(f"{data.name}: has {data.channels} channels, {each.path} was trained on {each.channels}")
    data.check_window(evaluation_window(configs[0]))
    modules = {}
    for name, each, config in zip(labels(trained, configs), trained, configs, strict=True):
        modules[name] = each.module(config, data.test_splits)
        # Data that declare bounds use them: a network sees the unit interval wherever it is used.
        modules[name].normalizer.set(*data.card["bounds"])
    serve(data, max(modules.values(), key=lambda module: module.network.context))
    candidates = {**_baselines(data, modules, trained), **_with_interim(modules)}
    seconds = {name: each.seconds for name, each in zip(modules, trained, strict=True)}
    seconds |= {name: each.stage_seconds.get("first", 0.0) for name, each in _interim_of(modules, trained)}
    scored = _score(configs[0], data, candidates, modules, seconds)
    familiar = {name: _familiar(name, module, data, each) for (name, module), each in zip(modules.items(), trained, strict=True)}
    protocol = described(configs[0], data, next(iter(modules.values())))
    protocol["checkpoints"] = [
        {
            "method": name,
            "path": str(each.path),
            "sha256": each.sha256,
            "trained on": each.facts.get("name"),
            "training data sha256": each.facts.get("sha256"),
            "consistency": config.consistency,
            "consistency steps": config.consistency_steps if config.consistency == "backprojection" else None,
            "familiar": familiar[name],
        }
        for name, each, config in zip(modules, trained, configs, strict=True)
    ]
    protocol["versions"] = versions()
    samples = list(_samples(data, candidates, modules)) if cfg.report else []
    command = (
        shlex.join(["python", "evaluate.py", *sys.argv[1:]]) if sys.argv[0].endswith("evaluate.py") else "python evaluate.py"
    )
    write_notes()
    rows = write_all(folder, scored, samples, protocol, command=command, field=data.physical, pictures=cfg.report)
    log.info("%s\n%s", text(rows), _closing(folder, cfg.report))
    return {"rows": rows, "protocol": protocol}


def labels(trained: list[Trained], configs: list[DictConfig]) -> list[str]:
    """A name for the row of each checkpoint: its run's and its consistency, and the run's folder where several share that."""
    names = [
        method_name(str(each.config.name), config.consistency, each.config.consistency)
        for each, config in zip(trained, configs, strict=True)
    ]
    found: list[str] = []
    for each, name in zip(trained, names, strict=True):
        folder = each.path.resolve().parent
        folder = folder.parent if folder.name == "checkpoints" else folder
        label = name if names.count(name) == 1 else f"{name} ({folder.name})"
        found.append(label if label not in found else f"{label[:-1]}, {each.path.stem}, {each.sha256[:8]})")
    return found


def _config(trained: Trained, cfg: DictConfig) -> DictConfig:
    """That of the training, with what the command line replaces."""
    config = trained.config.copy()
    OmegaConf.resolve(config)
    for group in ("data", "degradation"):
        if cfg[group] is not None:
            config[group] = cfg[group]
    config.trainer = cfg.trainer
    config.protocol = cfg.protocol or config.protocol
    for key in ("window", "consistency", "consistency_steps"):
        if cfg[key] is not None:
            config[key] = cfg[key]
    return config


def _check_comparable(trained: list[Trained], configs: list[DictConfig]) -> None:
    """Raise UserError when the rows would not be of the same pixels, frames, range, degradation and split."""
    first = configs[0]
    for each, config in zip(trained[1:], configs[1:], strict=True):
        for key, typed in SHARED.items():
            if config[key] != first[key]:
                raise UserError(
                    f"{trained[0].path} has {key}={_short(first[key])}, {each.path} {key}={_short(config[key])}: their scores "
                    f"are not comparable; {f'type {typed} to score both alike' if typed else 'evaluate them one by one'}"
                )
        ours, theirs = ({k: v for k, v in node.data.items() if k not in HANDLING} for node in (first, config))
        if ours != theirs:
            differing = [key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)]
            both = " and ".join(_short(node.get(differing[0])) for node in (ours, theirs))
            raise UserError(
                f"{trained[0].path} and {each.path} were trained on different data (data.{differing[0]}: {both}); "
                f"type data=... to score both on the same"
            )


def _short(value: Any) -> str:
    text = (
        str(value["_target_"]).rpartition(".")[2].lower() if isinstance(value, DictConfig) and "_target_" in value else str(value)
    )
    return text if len(text) < 60 else f"{text[:57]}..."


def _baselines(data: SRDataModule, modules: dict[str, SRModule], trained: list[Trained]) -> dict[str, SRModule]:
    """Those of the first checkpoint, its own name left to it, and the linear filters of others that were fitted elsewhere."""
    first = next(iter(modules.values()))
    found = build_baselines(first, data.channels)
    if (projected := build_consistent(found["bicubic"], data.degradation, data.scale)) is not None:
        found = {**{k: v for k, v in found.items() if k != "linear"}, "bicubic+projection": projected, "linear": found["linear"]}
    seen = {trained[0].facts.get("sha256")}
    for (name, module), each in list(zip(modules.items(), trained, strict=True))[1:]:
        if each.facts.get("sha256") not in seen:
            seen.add(each.facts.get("sha256"))
            found[f"linear ({name})"] = build_baselines(module, data.channels)["linear"]
    return {name: module for name, module in found.items() if name not in modules}


def _with_interim(modules: dict[str, SRModule]) -> dict[str, SRModule]:
    """The networks, each behind the rows for what it has between its parts."""
    found: dict[str, SRModule] = {}
    for name, module in modules.items():
        found |= {_interim_name(part, name, modules): interim for part, interim in build_interim(module).items()}
        found[name] = module
    return found


def _interim_of(modules: dict[str, SRModule], trained: list[Trained]) -> Iterator[tuple[str, Trained]]:
    for (name, module), each in zip(modules.items(), trained, strict=True):
        for part in build_interim(module):
            yield _interim_name(part, name, modules), each


def _interim_name(part: str, name: str, modules: dict[str, SRModule]) -> str:
    return part if len(modules) == 1 else f"{name}: {part}"


def _score(
    cfg: DictConfig,
    data: SRDataModule,
    candidates: dict[str, SRModule],
    modules: dict[str, SRModule],
    seconds: dict[str, float],
) -> list[Scored]:
    """Every candidate on every test split, in the order of the splits."""
    facts = _facts(cfg, data)
    found: list[Scored] = []
    total = len(candidates) * sum(len(data.sets[split]) for split in data.test_splits)
    with progress_bar(total, "scoring", "frame") as bar:
        scorer = build_scorer(cfg, [ScoreBar(bar)])
        for method, candidate in candidates.items():
            candidate.collections = {split: MetricCollection(known) for split, known in facts.items()}
            scorer.test(candidate, dataloaders=data.test_dataloader(), verbose=False)
            for split, metrics in candidate.collections.items():
                found.append(
                    Scored(
                        split=split,
                        method=method,
                        frames=metrics.frames(),
                        segments=metrics.segments(),
                        segment_of=metrics.segment_of(),
                        curves=metrics.curves(),
                        parameters=parameter_count(candidate.network),
                        train_seconds=seconds.get(method, 0.0),
                        baseline=candidate not in modules.values(),
                    )
                )
            candidate.collections = {}
    return sorted(found, key=lambda row: data.test_splits.index(row.split))


def _familiar(name: str, module: SRModule, data: SRDataModule, trained: Trained) -> dict[str, Any]:
    """By test split, whether its LR frames tell that the network knows their kind; said where they tell that it does not."""
    found: dict[str, Any] = {}
    for split in data.test_splits:
        score = score_frames(module, data.sets[split], data.degradation, trained.consistency, data.ends)
        if score is not None:
            found[split] = score.as_json()
            if score.unfamiliar:
                log.warning("warning   '%s' is unlike what %s was trained on: %s", split, name, score)
    return found


def _facts(cfg: DictConfig, data: SRDataModule) -> dict[str, DataProperties]:
    """What the referee of each test split must know."""
    return {
        split: DataProperties(
            scale=data.scale,
            bounds=tuple(data.card["bounds"]),
            window=evaluation_window(cfg),
            periodic=data.card["periodic"],
            movie=max(b - a for a, b in data.sets[split].segments) > 1,
            field=data.physical,
            geostrophic=1.0 if data.geostrophic else None,
            degrade=repeatable_degradation(data.degradation, data.scale),
        )
        for split in data.test_splits
    }


@torch.no_grad()
def _samples(data: SRDataModule, candidates: dict[str, SRModule], modules: dict[str, SRModule]) -> Iterator[Sample]:
    """A few frames from the middle of each test split, as every method gives them."""
    context = max(module.network.context for module in candidates.values())
    window = next(iter(modules.values())).window
    for split in data.test_splits:
        frames = data.sets[split]
        start, stop = _middle(frames, len(candidates))
        clip = frames.clip(start, stop, context, data.ends)
        normalizer = next(iter(modules.values())).normalizer
        truth = normalizer(clip.hr)
        made = {}
        for method, module in candidates.items():
            _, y, x = module.network.geometry.margin
            height, width = truth.shape[-2:]
            picture = truth.clone()
            picture[..., y : height - y, x : width - x] = module.predict_clip(clip)
            made[method] = picture[0].transpose(0, 1).float().numpy()
        lr = normalizer(clip.lr)[0, :, context : context + stop - start].transpose(0, 1)
        yield Sample(
            split=split,
            first=start,
            lr=lr.numpy(),
            hr=truth[0].transpose(0, 1).numpy(),
            methods=made,
            window=(window[1], window[2]),
        )


def _middle(frames: FrameSet, methods: int) -> tuple[int, int]:
    """The first and last frame, from the middle of the longest segment, of as many as can be shown."""
    a, b = max(frames.segments, key=lambda segment: segment[1] - segment[0])
    height, width = frames.smallest()
    count = max(1, min(SAMPLE_FRAMES, b - a, SAMPLE_VALUES // (height * width * frames.channels * (methods + 2))))
    start = a + (b - a - count) // 2
    return start, start + count


def _closing(folder: Path, report: bool) -> str:
    return f"results   {folder / 'results.json'}" + (f"; open {folder / 'report.html'} in a browser" if report else "")
