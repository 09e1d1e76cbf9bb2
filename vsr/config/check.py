"""Checks of a whole config, made before anything is imported, opened or written."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from vsr.config.duration import check_duration
from vsr.config.monitor import MONITORS
from vsr.config.overrides import overridden_keys
from vsr.config.plugins import find_plugin_source, is_plugin_target
from vsr.config.signatures import signature_parameters
from vsr.errors import LINEAR_FILTER_REMOVED, UserError, error_suggestion
from vsr.geometry import MOST_SCALE_OF_PAIRS
from vsr.models.weights.shipped import WORD, find_shipped, is_shipped_name, list_shipped
from vsr.system.address import Address, path_or_address

SCALES = (2, 3, 4, 6, 8)
# Networks whose layers are for small scales alone, and what to type instead.
SMALL_SCALES = {"vsr.models.fsrcnn.FSRCNNOriginal": (4, "model=fsrcnn")}
DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("fp32", "bf16", "fp16", "auto")
# Engines of upscaling beside torch, with the packages that they need.
RUNTIMES = {"onnxruntime": ("onnxruntime", "onnx", "onnxscript"), "openvino": ("openvino", "onnx", "onnxscript")}
ENGINES = ("auto", "torch", *RUNTIMES)
TRAINING_PRECISIONS = ("32", "bf16", "16", "auto")
ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps")
STRATEGIES = ("auto", "ddp", "ddp_spawn", "fsdp")
PROFILERS = ("simple", "advanced", "pytorch")  # write fit-profile.txt into the folder of the run
PERIODIC = ("none", "x", "y", "xy", "globe")
GUARDS = ("warn", "linear", "off")
PROTOCOLS = ("float", "classical")
ENDS = ("replicate", "reflect")
CONSISTENCIES = ("none", "projection", "backprojection", "ratio", "mean")

# Packages of the optional loggers.
LOGGER_PACKAGES = {"vsr.training.loggers.WandB": "wandb", "vsr.training.loggers.MLflow": "mlflow"}
# Arguments of the Trainer that vsr decides, and what to type instead.
DECIDED = {
    "precision": "precision=bf16",
    "max_epochs": "epochs=N",
    "max_steps": "recipe.steps=N, the steps per epoch, and epochs=N",
    "max_time": "budget=5min",
    "min_epochs": "patience=null, which trains all epochs",
    "deterministic": "deterministic=true",
    "callbacks": "+callbacks.NAME._target_=CLASS",
    "logger": "logger=tensorboard, logger=[tensorboard,csv], or ~logger for none",
    "plugins": "no plugins: vsr writes its checkpoints itself",
    "enable_checkpointing": "checkpoint_seconds=null checkpoint_steps=null; the best and the last epoch are always kept",
    "num_sanity_val_steps": "nothing: the network is scored before training",
    "default_root_dir": "hydra.run.dir=FOLDER",
    "limit_test_batches": "nothing: all test frames are scored, so that rows of tables are comparable",
    "limit_predict_batches": "nothing: training predicts nothing",
    "check_val_every_n_epoch": "nothing: each epoch is validated, as the best one is kept",
    "val_check_interval": "recipe.steps=N for shorter epochs; each epoch is validated at its end",
    "reload_dataloaders_every_n_epochs": "nothing: the loaders are built once, so that a resumed run draws the same patches",
    "use_distributed_sampler": "nothing: vsr shares the batches out itself",
    "enable_progress_bar": "2>/dev/null, as the bar goes to standard error",
}

# A config may name only classes of these modules and these classes. Hydra's own blocklist is not a security boundary.
OWN_MODULES = (
    "vsr.models.",
    "vsr.data.",
    "vsr.degradations.",
    "vsr.recipe.",
    "vsr.models.weights.init.",
    "vsr.training.finetune.",
    "vsr.training.callbacks.",
    "vsr.training.loggers.",
)
FOREIGN = (
    "lightning.pytorch.Trainer",
    "lightning.pytorch.callbacks.EarlyStopping",
    "lightning.pytorch.callbacks.ModelCheckpoint",
    "lightning.pytorch.loggers.TensorBoardLogger",
)
# Arguments that build.py supplies so that they agree with the rest of the config, and the key to set instead.
SUPPLIED = {
    "model": {"scale": "scale", "channels": "the data's channels", "inputs": "data.inputs", "alignment": "data.align"},
    "data": {"scale": "scale", "degradation": "degradation", "recipe": "recipe", "draw_seed": "seed"},
}

GROUPS = ("model", "data", "degradation", "recipe", "init", "tune", "trainer")
LEAST = {"epochs": 0, "patience": 0, "seed": 0, "tile": 0, "memory": 1, "crf": 0, "consistency_steps": 1}
LEAST |= {"checkpoint_seconds": 0, "checkpoint_steps": 1, "members": 2}
MOST_SEED = 2**32 - 1  # of NumPy's generators
MOST_WEIGHT = 1e9  # of a term of the loss


def check_config(cfg: DictConfig) -> None:
    """Check the target classes, arguments, types, ranges and files of a composed config.

    Raises:
        UserError: If a value cannot work; the message names the key and what to type instead.
    """
    try:
        plain = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None) or "config"
        if isinstance(error, MissingMandatoryValue):
            raise UserError(f"{key}: needed; type {key}=VALUE") from error
        raise UserError(f"{key}: {str(error).splitlines()[0]}") from error
    assert isinstance(plain, dict)
    degradation = plain.get("degradation")
    paired = isinstance(degradation, dict) and degradation.get("_target_") == "vsr.degradations.scaling.Paired"
    _check_values(plain, range(2, MOST_SCALE_OF_PAIRS + 1) if paired else SCALES)
    _check_missing(plain.get("missing"))
    _check_workers(plain)
    if plain.get("select") is not None and not isinstance(plain["select"], dict):
        raise UserError(f"select={plain['select']}: must name a dimension and a value; type 'select={{level:500}}'")
    _check_frames(plain.get("frames"), "frames")
    _check_fps(plain.get("fps"))
    data = plain.get("data") or {}
    if not is_plugin_target(str(data.get("_target_"))):
        _check_frames(data.get("frames"), "data.frames")
    _check_groups({str(key): node for key, node in plain.items()})
    # The config in a checkpoint has no `resume`; the overrides of this command line are not its own.
    check_duration(plain.get("budget"), overridden_keys() if "resume" in plain else set())
    _check_init(plain.get("init"), "init")
    if isinstance(plain.get("recipe"), dict) and plain["recipe"].get("residual") == "linear":
        raise UserError(LINEAR_FILTER_REMOVED)  # before the check of types, which does not know the word any more
    _check_loggers(plain.get("logger"))
    for path, node in _nodes(plain, ()):
        target = str(node["_target_"])
        nested = path[0] in SUPPLIED and (target.startswith(("vsr.data.", "vsr.models.")) or is_plugin_target(target))
        _check_target(".".join(path), node, SUPPLIED.get(path[0], {}) if len(path) == 1 or nested else {})
        most, advice = SMALL_SCALES.get(target, (MOST_SCALE_OF_PAIRS, ""))
        if path[0] == "model" and path[-1] != "second" and plain.get("scale", 1) > most:
            name = target.rpartition(".")[2]
            raise UserError(f"scale={plain['scale']}: {name} is for scales up to {most}; type {advice}, or scale={most}")
    _check_choices(plain)
    if "engine" in plain:
        check_engine(str(plain["engine"]), plain.get("precision"), compile=bool(plain.get("compile")))
    _check_trainer(plain.get("trainer") or {})
    _check_recipe(plain.get("recipe") or {})
    _check_tune(plain.get("tune") or {})
    _check_paths(plain.get("data") or {}, plain.get("checkpoint"), plain.get("input"), plain.get("calibration"))


def _check_values(plain: dict[Any, Any], scales: Sequence[int]) -> None:
    """Check the top-level values scale, monitor, seed and window, and the top-level counts."""
    if "scale" in plain and plain["scale"] not in scales:
        *most, last = map(str, scales)
        known = f"{', '.join(most)} or {last}" if scales == SCALES else f"{most[0]} to {last}"
        nearest = min(scales, key=lambda scale: abs(scale - plain["scale"]))
        raise UserError(f"scale={plain['scale']}: networks here enlarge by {known}; type scale={nearest}")
    if "monitor" in plain and plain["monitor"] not in MONITORS:
        raise UserError(f"monitor={plain['monitor']}{error_suggestion(plain['monitor'], MONITORS)}")
    for key, least in LEAST.items():
        if plain.get(key) is not None and plain[key] < least:
            raise UserError(f"{key}={plain[key]}: must be {least} or more")
    if plain.get("seed") is not None and plain["seed"] > MOST_SEED:
        raise UserError(f"seed={plain['seed']}: must be {MOST_SEED} or less")
    window = plain.get("window")
    if window is not None and (len(window) != 3 or not all(isinstance(n, int) and n >= 0 for n in window)):
        raise UserError(f"window={plain['window']}: must be three numbers (t,y,x) of 0 or more; type window=[0,4,4]")


def _check_workers(plain: dict[Any, Any]) -> None:
    """Check the keys `workers` and `dry` of upscale.yaml."""
    workers = plain.get("workers")
    right = workers in (None, "gpu") or (isinstance(workers, int) and not isinstance(workers, bool) and workers > 0)
    if not right and not re.fullmatch(r"dask://[^/\s]+:[0-9]+", str(workers)):
        address = re.fullmatch(r"(?:dask://)?(?:tcp://)?([^/\s]+:[0-9]+)", str(workers))
        advice = f"workers=dask://{address[1]}" if address else "workers=2"
        raise UserError(f"workers={workers}: must be a number of processes, gpu, or dask://HOST:PORT; type {advice}")
    if plain.get("dry") and workers is None:
        raise UserError("dry=true: says how much there is to do with workers; type workers=1 with it")


def _check_missing(missing: Any) -> None:
    """Check the values of the key `missing` of upscale.yaml."""
    numbers = missing if isinstance(missing, list) else [] if missing is None else [missing]
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            raise UserError(f"missing={missing}: must be a number or numbers; type missing=-9999 or missing=[-9999,1e20]")


def _check_choices(plain: dict[Any, Any]) -> None:
    """Check the top-level settings that must be one of a few words."""
    choices_of = {
        "protocol": PROTOCOLS,
        "ends": ENDS,
        "device": DEVICES,
        "periodic": PERIODIC,
        "consistency": CONSISTENCIES,
        "guard": GUARDS,
        "engine": ENGINES,
        "precision": TRAINING_PRECISIONS if "recipe" in plain else PRECISIONS,
    }
    for key, choices in choices_of.items():
        if plain.get(key) is not None and str(plain[key]) not in choices:
            told = f"; known: {', '.join(sorted(choices))}" if key == "precision" else error_suggestion(str(plain[key]), choices)
            raise UserError(f"{key}={plain[key]}{told}")


def check_engine(engine: str, precision: str | None, *, compile: bool) -> None:
    """Check that the engine of upscaling is installed and knows the other options.

    Raises:
        UserError: If a package is missing, or if an option is for another engine.
    """
    for package in RUNTIMES.get(engine, ()):
        if find_spec(package) is None:
            raise UserError(f"engine={engine}: needs the package {package}; type: pip install 'vsr-movies[fast]'")
    if engine == "torch":
        return
    if compile:
        raise UserError(f"compile=true: is for engine=torch, not for engine={engine}; leave one of them out")
    if precision == "fp16" or (precision == "bf16" and engine == "onnxruntime"):
        advice = "engine=torch" if precision == "fp16" else "engine=openvino"
        raise UserError(f"precision={precision}: engine={engine} does not compute in it; type {advice}, or precision=fp32")


def _check_groups(plain: dict[str, Any]) -> None:
    """Check that each config group holds a config with a `_target_`, since the target decides which other keys are right."""
    for key in GROUPS:
        node = plain.get(key)
        if node is not None and not (isinstance(node, dict) and "_target_" in node):
            raise UserError(f"{key}={node}: is no config of {key}; type {key}=NAME of one in conf/{key}")


def _check_trainer(trainer: dict[str, Any]) -> None:
    """Check devices, nodes and strategy of the Trainer as far as possible without torch."""
    for key, choices in {"accelerator": ACCELERATORS, "strategy": STRATEGIES, "profiler": PROFILERS}.items():
        if trainer.get(key, choices[0]) not in choices:
            raise UserError(f"trainer.{key}={trainer[key]}{error_suggestion(str(trainer[key]), choices)}")
    for key, advice in DECIDED.items():
        if key in trainer:
            raise UserError(f"trainer.{key}: is decided by vsr; type {advice}")
    known = signature_parameters("lightning.pytorch.Trainer") or {}
    if known and (unknown := [key for key in trainer if key != "_target_" and key not in known]):
        raise UserError(f"trainer.{unknown[0]}: unknown key{error_suggestion(unknown[0], set(known) - set(DECIDED))}")
    devices, nodes = trainer.get("devices", 1), trainer.get("num_nodes", 1)
    each = devices if isinstance(devices, list) else [devices]
    numbered = isinstance(devices, list)
    right = all(isinstance(number, int) and number >= (not numbered) for number in each) and each
    if devices != "auto" and (not right or len(set(each)) < len(each)):
        raise UserError(
            f"trainer.devices={devices}: must be how many, or which GPUs; type trainer.devices=2 or trainer.devices=[0,1]"
        )
    if not isinstance(nodes, int) or nodes < 1:
        raise UserError(f"trainer.num_nodes={nodes}: must be 1 or more; type trainer.num_nodes=1")


def _check_loggers(loggers: Any) -> None:
    """Check that the logger group holds loggers by name, whose packages are installed."""
    if loggers is None:
        return
    if not isinstance(loggers, dict) or not all(isinstance(node, dict) and "_target_" in node for node in loggers.values()):
        raise UserError(f"logger={loggers}: is no config of logger; type logger=tensorboard, logger=[tensorboard,csv] or ~logger")
    for node in loggers.values():
        package = LOGGER_PACKAGES.get(node["_target_"])
        if package is not None and find_spec(package) is None:
            raise UserError(f"logger={package}: needs the package {package}; type pip install 'vsr-movies[{package}]'")


def _check_paths(data: dict[str, Any], checkpoint: Any, movie: Any, calibration: Any) -> None:
    """Check that the input files exist."""
    checkpoints = checkpoint if isinstance(checkpoint, list) else [checkpoint]
    named = [("data.path", data.get("path")), ("data.test_path", data.get("test_path")), ("input", movie)]
    named += [("calibration", calibration)]
    named += [("data.lr", data.get("lr")), ("data.hr", data.get("hr"))]
    for key, value in named + [("checkpoint", each) for each in checkpoints]:
        for each in value if isinstance(value, list) else [value]:
            if key != "input" and isinstance(path_or_address(str(each)), Address):
                raise UserError(f"{key}={each}: is not on this machine; download it and give the local file")
        if key in ("data.path", "data.lr", "data.hr", "input") and (
            isinstance(value, list) or any(letter in str(value) for letter in "*?[")
        ):
            continue  # many files: the reader has the better message
        if key == "checkpoint" and is_shipped_name(str(value)):
            continue
        if key == "checkpoint" and str(value) in {found.name for found in list_shipped()} and not _exists(Path(str(value))):
            raise UserError(f"checkpoint={value}: no such file; type checkpoint={WORD}:{value} for the network of the package")
        path = path_or_address(str(value))
        if value is not None and not isinstance(path, Address) and not _exists(path):  # the reader fetches what has an address
            raise UserError(f"{key}={value}: {_missing_file(path)}")
    for each in filter(None, checkpoints):
        if str(each) != WORD:  # the kind of the file decides
            find_checkpoint(Path(str(each)).expanduser())


def find_checkpoint(path: Path) -> Path:
    """Return the checkpoint that a path means: the file itself, or the best checkpoint of the newest run in a folder.

    Args:
        path: A checkpoint, the folder of a run, a folder of runs (also of folders of runs, as runs/fsrcnn-climate), or
            "pretrained:NAME" for a network of the package.

    Raises:
        UserError: If a folder has no such run, or the package has no such network.
    """
    if is_shipped_name(str(path)):
        return find_shipped(str(path))
    if not path.exists() and str(path) in {found.name for found in list_shipped()}:
        raise UserError(f"{path}: no such file; type {WORD}:{path} for the network of the package")
    if not path.is_dir():
        return path
    patterns = ("checkpoints", "*/checkpoints", "*/*/checkpoints")
    for pattern in patterns:
        if found := list(path.glob(f"{pattern}/best.ckpt")):
            return max(found, key=lambda each: each.stat().st_mtime_ns)
    raise UserError(f"checkpoint={path}: a folder without a trained run; give a checkpoint, or the folder of a run")


def _check_init(init: Any, key: str) -> None:
    """Check the files and the scale of initial weights."""
    if not isinstance(init, dict):
        return
    for part in ("first", "second"):
        _check_init(init.get(part), f"{key}.{part}")
    if "path" not in init:
        if init.get("scale") not in (None, 2, 3):  # of the weights that come with the package
            raise UserError(f"{key}.scale={init['scale']}: weights are for x2 or x3; type {key}.scale=2")
        return
    if (value := init["path"]) is None:
        raise UserError(f"{key}.path: needed; type {key}.path=FILE, or weights=FILE, which a sweep over starts takes")
    if not _exists(path := Path(str(value)).expanduser()):
        raise UserError(f"{key}.path={value}: {_missing_file(path)}")
    if path.is_dir():
        raise UserError(f"{key}.path={value}: is a folder; type {key}.path={Path(str(value)) / 'checkpoints' / 'best.ckpt'}")


def _check_tune(tune: dict[str, Any]) -> None:
    for name, factor in (tune.get("rates") or {}).items():
        if factor <= 0:
            raise UserError(f"tune.rates.{name}={factor}: must be positive; type tune.freeze=[{name}] to keep it as it is")
    if tune.get("l2sp", 0) < 0:
        raise UserError(f"tune.l2sp={tune['l2sp']}: must be 0 or more")
    if tune.get("freeze_epochs") is not None:
        if tune["freeze_epochs"] < 1:
            raise UserError(f"tune.freeze_epochs={tune['freeze_epochs']}: must be 1 or more, or null for all epochs")
        if not tune.get("freeze"):
            raise UserError(f"tune.freeze_epochs={tune['freeze_epochs']}: of no effect without tune.freeze=[MODULE]")


def _nodes(node: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Yield the path and the content of every mapping in a config that has a `_target_`."""
    if isinstance(node, dict):
        if "_target_" in node:
            yield path, node
        for key, value in node.items():
            yield from _nodes(value, (*path, str(key)))
    elif isinstance(node, list):
        for i, value in enumerate(node):
            yield from _nodes(value, (*path, str(i)))


def _check_target(where: str, node: dict[str, Any], supplied: dict[str, str]) -> None:
    target = node["_target_"]
    if odd := [key for key in node if str(key).startswith("_") and key != "_target_"]:
        raise UserError(f"{where}.{odd[0]}: only _target_ is understood here; remove it")
    if target in FOREIGN:
        return
    if not isinstance(target, str) or not (target.startswith(OWN_MODULES) or is_plugin_target(target)):
        raise UserError(f"{where}._target_={target}: not a class that a config may name{_plugin_advice(target)}")
    known = signature_parameters(target)
    if known is None:
        raise UserError(f"{where}._target_={target}: no such class{_source_advice(target)}")
    for key, value in node.items():
        if key == "_target_":
            continue
        if key in supplied:
            raise UserError(f"{where}.{key}: follows from {supplied[key]} and is not set here")
        if key not in known:
            raise UserError(f"{where}.{key}: unknown{error_suggestion(str(key), set(known) - set(supplied))}")
        if not (isinstance(value, dict) and "_target_" in value) and not known[key].accepts(value):
            words = known[key].text.removeprefix("one of ").split(", ") if isinstance(value, str) else []
            near = error_suggestion(value, words) if words else ""
            advice = near if "did you mean" in near else ""
            if (where, key) == ("recipe", "loss"):
                advice += "; a class of your own needs plugins=[PACKAGE]"
            raise UserError(f"{where}.{key}={value}: must be {known[key].text}, not {type(value).__name__} {value!r}{advice}")
    missing = [name for name, parameter in known.items() if parameter.required and name not in node and name not in supplied]
    if missing and not where.startswith("callbacks"):
        raise UserError(f"{where}.{missing[0]}: needed by {target}; type {where}.{missing[0]}=VALUE")


def _plugin_advice(target: Any) -> str:
    package, dot, _ = str(target).partition(".")
    if not dot or package in ("vsr", "lightning", "torch", *sys.stdlib_module_names):
        return f" (known: classes of vsr, {', '.join(FOREIGN)})"
    return f"; type plugins=[{package}] if you trust the code of that package"


def _source_advice(target: str) -> str:
    module, _, name = target.rpartition(".")
    path = find_plugin_source(module)
    return f" ({module} is no Python module)" if path is None else f" (class {name} is not in {path})"


def _check_frames(frames: Any, key: str) -> None:
    """Raise UserError unless `frames` is null, a count, or the first frame and the end, as in [100,200]."""
    span = frames if isinstance(frames, list) else [0, frames]
    whole = all(isinstance(number, int) and not isinstance(number, bool) for number in span)
    if frames is not None and not (whole and len(span) == 2 and 0 <= span[0] < span[1]):
        raise UserError(f"{key}={frames}: must be a number of frames, or [START,STOP]; type {key}=100 or {key}=[100,200]")


def _check_fps(fps: Any) -> None:
    """Raise UserError unless `fps` is null, or a number or fraction up to 1000."""
    try:
        right = fps is None or (not isinstance(fps, bool) and 0 < Fraction(str(fps)) <= 1000)
    except (ValueError, ZeroDivisionError):
        right = False
    if not right:
        raise UserError(f"fps={fps}: must be the frames per second, up to 1000; type fps=25 or fps=30000/1001")


def _check_recipe(recipe: dict[str, Any]) -> None:
    for key in ("rate", "batch", "frames", "patch", "steps", "clip"):
        if recipe.get(key) is not None and not 0 < recipe[key] < float("inf"):
            raise UserError(f"recipe.{key}={recipe[key]}: must be positive{'' if recipe[key] <= 0 else ' and finite'}")
    for key in ("gradient", "spectral", "temporal", "finetune"):
        if not 0 <= recipe.get(key, 0) <= (1 if key == "finetune" else MOST_WEIGHT):
            raise UserError(f"recipe.{key}={recipe[key]}: must be 0 or more{', and 1 at most' * (key == 'finetune')}")
    if recipe.get("mix") is not None and not 0 < recipe["mix"] <= 1:
        raise UserError(f"recipe.mix={recipe['mix']}: is a share of the clips above 0, and 1 at most; type recipe.mix=1, or null")
    weights = recipe.get("weights")
    for name, weight in weights.items() if isinstance(weights, dict) else ():
        if not 0 < weight <= MOST_WEIGHT:
            raise UserError(
                f"recipe.weights={{{name}: {weight}}}: must be positive; leave the variable out of data.variable for none"
            )
    if recipe.get("ema") is not None and not 0 < recipe["ema"] < 1:
        raise UserError(f"recipe.ema={recipe['ema']}: must lie between 0 and 1, or be null")


def _exists(path: Path) -> bool:
    """Return True if a path exists; False also for a name that the system refuses."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _missing_file(path: Path) -> str:
    """Return a message that a file is missing, with existing names near it."""
    folder = path.parent
    while not os.path.isdir(folder):
        folder = folder.parent
    if folder != path.parent:
        return f"no such file (there is no folder {path.parent}; {folder} exists)"
    names = [entry.name for entry in folder.iterdir() if entry.suffix == path.suffix]
    return (
        f"no such file{error_suggestion(path.name, names) if names else ''}" if len(names) < 30 else f"no such file in {folder}"
    )
