"""One training run: training, scores against the baselines, and the files with the results."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict
from torch import Tensor

from vsr.config.command_log import write_command_log
from vsr.config.named_commands import task_arguments
from vsr.config.overrides import typed_argument, with_overrides
from vsr.config.plugins import plugins_as_typed
from vsr.config.resolved import resolved_window
from vsr.config.run_record import RECORD, RESULTS, write_run_record
from vsr.data.base import SRDataModule
from vsr.io.output_names import free_output
from vsr.metrics.definitions import HEADLINE_SCORES
from vsr.metrics.headline import headline_table, headline_verdict
from vsr.metrics.intervals import REFERENCES, SegmentIntervals
from vsr.metrics.variables import ALL_VARIABLES, is_overall, scores_over_variables, table_part, variable_keys
from vsr.models.cost import count_parameters
from vsr.models.weights.report import WeightsReport, weights_report_markdown, weights_report_summary, weights_report_table
from vsr.system.cpu import keep_freed_memory
from vsr.system.files import write_json_file
from vsr.system.provenance import peak_memory, provenance, software_versions
from vsr.system.ranks import current_rank
from vsr.training.arithmetic import set_arithmetic
from vsr.training.budget.resolve import budget_time_limits, resolve_budget
from vsr.training.build import build_baseline_modules, build_data, build_interim_modules, build_repeated_frame_module
from vsr.training.distributed import distributed_ranks
from vsr.training.fit import fit_all_stages, prepare_fit_module, quiet_fit_warnings
from vsr.training.loggers import Dashboard
from vsr.training.modules.base import SRModule
from vsr.training.report import training_report_figure
from vsr.training.resume.state import RunState
from vsr.training.run_folder import run_folder_relative_to_cwd, work_in_run_folder
from vsr.training.trainer import build_scoring_trainer

log = logging.getLogger(__name__)
LEAST_NEIGHBOUR_GAIN = 0.1  # dB; a smaller gain is not worth the cost of several frames


def train(cfg: DictConfig, folder: Path) -> dict[str, Any]:
    """Train the network of a config, and write checkpoints, results.json, a figure and TensorBoard files into `folder`.

    Under torchrun every process calls this function; otherwise one process calls it, and the function starts the others. The
    first process writes the results into its own folder. With the config key `resume`, the run in the folder is continued; the
    results of a finished run are returned unchanged. Raises UserError if the folder cannot be used, Stopped if a signal ended
    the run.
    """
    with distributed_ranks(cfg := _dev_run(cfg), folder, run_training) as folder:
        return run_training(cfg, folder)


def _dev_run(cfg: DictConfig) -> DictConfig:
    """Replace trainer.fast_dev_run, which keeps no checkpoint in Lightning, by one epoch of as many steps."""
    steps = int(cfg.trainer.get("fast_dev_run", 0))
    if steps:
        cfg = with_overrides(cfg, {"epochs": 1, "recipe.steps": steps, "budget": None})
        with open_dict(cfg):
            del cfg.trainer["fast_dev_run"]
        log.info("note      trainer.fast_dev_run: one epoch of %d steps, with checkpoints and scores", steps)
    return cfg


def run_training(cfg: DictConfig, folder: Path) -> dict[str, Any]:
    """Do one rank's part of a training run, and return the results; all ranks have joined the process group."""
    return work_in_run_folder(cfg, folder, _train)


def _train(cfg: DictConfig, folder: Path, run_state: RunState) -> dict[str, Any]:
    began = time.perf_counter()
    keep_freed_memory()
    quiet_fit_warnings()
    set_arithmetic(cfg.tf32)
    L.seed_everything(cfg.seed, workers=True, verbose=False)
    data = build_data(cfg)
    data.check_window(resolved_window(cfg))
    cfg, planned = resolve_budget(cfg, folder, data, run_state)
    prepared = prepare_fit_module(cfg, data)
    module, report = prepared.module, prepared.report
    axes = {"clips": "B,C,T,H,W", "window": "t,y,x"}
    text = OmegaConf.to_yaml(cfg, resolve=True)
    module.card |= {"plan": planned} if planned else {}
    module.card |= {"config_text": text, "seed": int(cfg.seed), "versions": software_versions(), "axes": axes}
    log.info("%s", _summary(cfg, data, module, report))

    if current_rank() == 0:
        overrides = list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []
        recorded = [] if (folder / RECORD).exists() else [lambda: write_run_record(folder, overrides)]
        run_state.pending = [write_command_log, *run_state.pending, *recorded]
    stages = fit_all_stages(cfg, folder, data, prepared, run_state, budget_time_limits(planned))
    whole = stages.pop("whole")
    rows = score_run(cfg, data, module, {"seconds": whole.seconds, "stage_seconds": module.stage_seconds})
    neighbours = _neighbour_gains(cfg, data, module, rows)
    if current_rank() > 0:
        return {}
    results = _results(cfg, data, module, rows) | {"history": whole.history, "init": [asdict(row) for row in report]}
    results["stages"] = {name: {"history": found.history, "seconds": found.seconds} for name, found in stages.items()}
    results |= {"plan": planned} if planned else {}
    results |= {"neighbour_gains": neighbours} if neighbours else {}
    trained = sum(found.trained for found in (whole, *stages.values()))
    cost: dict[str, Any] = {"seconds": time.perf_counter() - began, "training_seconds": trained, "peak_mib": peak_memory()}
    cost["images_per_second"] = whole.images_per_second
    results["provenance"] = provenance() | {"cost": cost}
    training_report_figure(folder / "comparison.png", module, data, cfg.name)
    _log_run(whole.trainer, cfg, data, module, rows, report)
    write_json_file(folder / RESULTS, results)  # last: with it the run is finished
    log.info("%s\n%s", headline_table(rows), _closing(cfg, whole.history, folder, rows, neighbours, module))
    return results


def score_run(cfg: DictConfig, data: SRDataModule, module: SRModule, card: dict[str, Any]) -> list[dict[str, Any]]:
    """Score the network and the baselines on the test splits, all on the same frames and pixels.

    Args:
        cfg: The config of the run.
        data: The data module.
        module: The trained module.
        card: Training times: "seconds" and, for a network trained in stages, "stage_seconds" by stage name.

    Returns:
        One row per test split and method, and per variable if the data have several, followed by a row of all variables
        together; the baselines come first and the network last. "segments" is the number of trajectories, clips or pictures
        with a score, and "intervals" has the 95% intervals over them: of the PSNR, and of the gains over bicubic and linear,
        paired frame by frame.
    """
    rows: list[dict[str, Any]] = []
    psnr: dict[tuple[str, str], np.ndarray] = {}
    set_arithmetic(tf32=False)
    scorer = build_scoring_trainer(cfg)
    interim = build_interim_modules(module)
    for method, candidate in {**build_baseline_modules(module, data.channels), **interim, cfg.name: module}.items():
        scorer.test(candidate, dataloaders=data.test_dataloader(), verbose=False)
        for split, each in candidate.scored.items():
            for keys, scored in _scores_by_variable(data, each):
                row: dict[str, Any] = {"split": split, **keys, "method": method, "frames": int((~scored["mae"].isnan()).sum())}
                means = {name: float(values.nanmean()) for name, values in scored.items()}
                row |= {name: None if math.isnan(mean) else mean for name, mean in means.items()}
                row["parameters"] = count_parameters(candidate.network)
                seconds = card.get("seconds", 0.0) if candidate is module else 0.0
                row["train_seconds"] = card.get("stage_seconds", {}).get("first", 0.0) if method in interim else seconds
                rows.append(row)
                psnr[table_part(row), method] = scored["psnr"].numpy()
    for row in rows:
        segment_of, own = _segment_of(data, row["split"]), psnr[table_part(row), row["method"]]
        row["segments"] = len(np.unique(segment_of[np.isfinite(own)]))
        over = SegmentIntervals(segment_of)
        found = {f"gain_{base}": over.mean(own - psnr[table_part(row), base]) for base in REFERENCES if base != row["method"]}
        row["intervals"] = {key: list(one) for key, one in {"psnr": over.mean(own), **found}.items() if one is not None}
    parts = list(dict.fromkeys(map(table_part, rows)))
    return sorted(rows, key=lambda row: (data.test_splits.index(row["split"]), parts.index(table_part(row))))


def _segment_of(data: SRDataModule, split: str) -> np.ndarray:
    """Return the number of the segment of each scored frame of a split."""
    lengths = [max(0, stop - start - 2 * data.trim) for start, stop in data.sets[split].segments]
    return np.repeat(np.arange(len(lengths)), lengths)


def _scores_by_variable(data: SRDataModule, each: list[dict[str, Tensor]]) -> list[tuple[dict[str, str], dict[str, Tensor]]]:
    """Return the row keys and scores of each variable, and of all together if there are several."""
    found = list(zip(variable_keys(data.card), each, strict=True))
    return found if len(each) == 1 else [*found, ({"variable": ALL_VARIABLES, "unit": ""}, scores_over_variables(each))]


def _neighbour_gains(cfg: DictConfig, data: SRDataModule, module: SRModule, rows: list[dict[str, Any]]) -> dict[str, float]:
    """Measure the gain of a trained movie network from neighbouring frames.

    Args:
        cfg: The config of the run.
        data: The data module.
        module: The trained module.
        rows: The rows of `score_run`, with the PSNR of the network.

    Returns:
        PSNR in dB of the network minus its PSNR when every frame is repeated in the place of its neighbours, by test split;
        empty for a network that is not trained or works on single frames.
    """
    candidate = build_repeated_frame_module(module) if module.trainable else None
    if candidate is None:
        return {}
    build_scoring_trainer(cfg).test(candidate, dataloaders=data.test_dataloader(), verbose=False)
    own = {row["split"]: row["psnr"] for row in rows if row["method"] == cfg.name and is_overall(row)}
    repeated = {split: _scores_by_variable(data, each)[-1][1]["psnr"] for split, each in candidate.scored.items()}
    return {split: own[split] - float(psnr.nanmean()) for split, psnr in repeated.items()}


def run_protocol(cfg: DictConfig, data: SRDataModule, module: SRModule) -> dict[str, Any]:
    """Return the protocol of a table of scores: data, degradation, scale, window, range, and definitions of PSNR and SSIM."""
    return {
        "data": data.card,
        "degradation": data.degradation.name,
        "scale": int(cfg.scale),
        "window": list(module.window),
        "pixels": data.pixel_grid.describe(),
        "ends": data.ends,
        "range": [0.0, 1.0],
        "protocol": cfg.protocol,
        "psnr": f"mean over frames, float32, {'rounded to 8 bits' if module.quantize else 'not clamped or rounded'}",
        "ssim": "11x11 Gaussian, sigma 1.5, without 5 border pixels",
    }


def _results(cfg: DictConfig, data: SRDataModule, module: SRModule, rows: list[dict[str, Any]]) -> dict[str, Any]:
    config = OmegaConf.to_container(cfg, resolve=True)
    found = {"protocol": run_protocol(cfg, data, module), "rows": rows, "versions": software_versions(), "config": config}
    return found | {"consistency": cfg.consistency}  # of the network: baselines have none, so it is not in the protocol


def _summary(cfg: DictConfig, data: SRDataModule, module: SRModule, report: WeightsReport) -> str:
    """Describe data, network and initial weights in lines of text for the log before training."""
    frames = ", ".join(f"{len(found)} {name}" for name, found in data.sets.items())
    height, width = data.card["size"]
    lines = [
        f"data      {data.name}, {height}x{width}, {data.degradation.name} x{data.scale}; frames: {frames}",
        f"network   {module.card['config']['name']}, {count_parameters(module.network)} parameters, "
        + weights_report_summary(report)
        + ("" if module.consistency is None else f"; whole frames agree with LR by {cfg.consistency}"),
    ]
    if any(row.is_loaded for row in report):
        lines.append(weights_report_table(report))
    else:
        if cfg.weights is not None:
            lines[-1] += f" (weights={cfg.weights} is not read by it)"
        if module.tune.l2sp > 0:
            lines.append("tune      l2sp has nothing to pull to: no pretrained weights were loaded")
    if module.tune.freeze:
        until = "" if module.tune.freeze_epochs is None else f" for {module.tune.freeze_epochs} epochs"
        lines.append(f"tune      frozen{until}: {', '.join(module.tune.freeze)}")
    return "\n".join(lines)


def _closing(
    cfg: DictConfig,
    history: list[dict[str, float]],
    folder: Path,
    rows: list[dict[str, Any]],
    neighbours: dict[str, float],
    module: SRModule,
) -> str:
    """Describe the scores of the first and the last epoch and the files of the run in lines of text for the log."""
    lines = []
    for row in dict.fromkeys((0, len(history) - 1)):
        found = history[row]
        scores = "; ".join(
            f"{split} MSE {found[f'{split}/mse']:.4e} SSIM {found[f'{split}/ssim']:.4f} PSNR {found[f'{split}/psnr']:.2f}"
            for split in ("train", "val")
        )
        lines.append(f"epoch {found['epoch']:<4.0f}{scores}")
    if 0 < (epochs := len(history) - 1) < cfg.epochs and cfg.patience is not None and cfg.budget is None:
        lines.append(
            f"stopped   after epoch {epochs} of {cfg.epochs}: no better {cfg.monitor} for patience={cfg.patience} epochs"
        )
    if neighbours and max(neighbours.values()) < LEAST_NEIGHBOUR_GAIN:
        gains = ", ".join(f"{gain:+.2f} dB on {split}" for split, gain in neighbours.items())
        lines.append(f"movie     neighbouring frames do not help here ({gains}); a frame network (model=resnet) costs less")
    units = module.card["data"].get("units")
    own = [headline_verdict(row, rows, units if isinstance(units, str) else "") for row in rows if row["method"] == cfg.name]
    lines += [f"verdict   {text}" for text in own]
    if module.trainable and module.reference is not None and any("The linear filter is better" in text for text in own):
        lines.append(f"          train longer (budget=30min), or type vsr train model=linear {task_arguments(cfg)}")
    folder = run_folder_relative_to_cwd(folder)
    lines.append(f"results   {folder / 'results.json'}, comparison.png, checkpoints/best.ckpt")
    checkpoint = f"checkpoint={folder / 'checkpoints' / 'best.ckpt'}{plugins_as_typed()}"
    lines += [f"next      vsr evaluate {checkpoint}", f"          vsr upscale {checkpoint} {_sharpen_arguments(cfg)}"]
    if "tensorboard" in (cfg.logger or {}):
        lines.append(f"          tensorboard --logdir {folder}")
    if cfg.data.get("path", "") is None:
        lines.append("          these movies are generated; data.path=FILE trains on yours (vsr inspect FILE says how)")
    return "\n".join(lines)


def _sharpen_arguments(cfg: DictConfig) -> str:
    """Return the arguments that sharpen the file of the training data (of pairs, of LR) into one that does not exist yet.

    A network that sees more than the variables of the file needs finer fields, too: FILE stands for an input then.
    """
    given = cfg.data.get("lr") or cfg.data.get("path")
    more = any(cfg.data.get(key) for key in ("static", "lr_variable"))
    if more or not isinstance(given, str) or not Path(given).expanduser().exists():
        return "input=FILE"
    chosen = {key: value for key in ("variable", "axes", "select", "missing") if (value := cfg.data.get(key)) is not None}
    if not isinstance(chosen.get("variable"), str):
        chosen.pop("variable", None)  # the network reads several by their names
    free = free_output(Path(given).expanduser(), cfg.scale, str(cfg.name))
    chosen |= {"output": str(free)} if free is not None else {}
    return " ".join(typed_argument(key, value) for key, value in {"input": given, **chosen}.items())


def _log_run(
    trainer: L.Trainer, cfg: DictConfig, data: SRDataModule, module: SRModule, rows: list[dict[str, Any]], report: WeightsReport
) -> None:
    """Log the settings and the scores of each test split; in TensorBoard, also the report on the initial weights.

    TensorBoard's table of runs shows network, data and what was typed; what is the same in all runs would fill it.
    """
    typed = _override_values(cfg)
    swept = {"network": cfg.name, "data": data.name, **{key: cfg[key] for key in ("scale", "seed", "epochs", "patience")}}
    swept["init"] = cfg.init["_target_"].rpartition(".")[2]
    swept |= asdict(module.recipe) | {"loss": cfg.recipe.loss if isinstance(cfg.recipe.loss, str) else cfg.recipe.loss._target_}
    swept |= {key: value for key, value in typed.items() if key.removeprefix("recipe.") not in swept}
    columns = {"model" if "model" in typed else "network", "data", *(key.removeprefix("recipe.") for key in typed)} - {"resume"}
    shown = {name: value for name, value in swept.items() if name.removeprefix("recipe.") in columns}
    own = [row for row in rows if row["method"] == cfg.name]
    places = [row["split"] if is_overall(row) else f"{row['split']}/{row['variable']}" for row in own]
    found = {f"{place}/{score}": row[score] for place, row in zip(places, own, strict=True) for score in HEADLINE_SCORES}
    scores = {name: value for name, value in found.items() if value is not None}
    for logger in trainer.loggers:
        if isinstance(logger, Dashboard):
            logger.experiment.add_text("init", weights_report_markdown(report))
            logger.log_hyperparams(shown, scores, trainer.global_step)
        else:
            logger.log_hyperparams(swept)
            logger.log_metrics(scores, trainer.global_step)
        logger.finalize("success")


def _override_values(cfg: DictConfig) -> dict[str, Any]:
    """Return the values of the keys that the command line overrides; a sweep's keys are among them."""
    if not HydraConfig.initialized():
        return {}
    found: dict[str, Any] = {}
    for line in HydraConfig.get().overrides.task:
        key, _, text = line.lstrip("+~").partition("=")
        value = OmegaConf.select(cfg, key)
        found[key] = value if isinstance(value, bool | int | float | str) else text
    return found
