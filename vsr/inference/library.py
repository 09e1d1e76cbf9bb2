"""Training from Python, as `vsr.fit`: the same run as `vsr train`, without a command line."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf

from vsr.config import CONF
from vsr.config.compose import Composer
from vsr.config.overrides import override_text
from vsr.config.plugins import open_announced_plugins, open_plugins
from vsr.errors import UserError
from vsr.inference.upscaler import Array, Upscaler, load_upscaler
from vsr.metrics.headline import headline_table
from vsr.models.base import Network
from vsr.training.run import train

AXES = {3: "tyx", 4: "tcyx", 5: "ntcyx"}  # meaning of an array's indices, by their number
Options = Mapping[str, Any]


@dataclass(frozen=True)
class Fitted:
    """Finished training run.

    Attributes:
        folder: Folder of the run, with results.json, checkpoints/ and the logger's files.
        results: Content of results.json.
        plugins: Packages whose classes the checkpoint names.
    """

    folder: Path
    results: dict[str, Any]
    plugins: tuple[str, ...] = ()

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Rows of the results table: the scores of the network and of the baselines on each test split."""
        return self.results["rows"]

    @property
    def checkpoint(self) -> Path:
        """Path of the checkpoint of the best epoch."""
        return self.folder / "checkpoints" / "best.ckpt"

    @cached_property
    def upscaler(self) -> Upscaler:
        """The trained network, ready to upscale movies."""
        return load_upscaler(self.checkpoint, plugins=self.plugins)

    def upscale(self, movie: Array) -> Array:
        """Upscale a movie; see `vsr.inference.upscaler.Upscaler.upscale`."""
        return self.upscaler.upscale(movie)

    def __str__(self) -> str:
        return headline_table(self.rows)


def fit(
    model: str | type[Network] | Options = "fsrcnn",
    data: str | Path | np.ndarray | torch.Tensor | Options = "climate",
    *,
    recipe: str | Options = "default",
    folder: str | Path | None = None,
    plugins: Sequence[str] = (),
    overrides: Sequence[str] = (),
    resume: bool = False,
    **settings: Any,
) -> Fitted:
    """Train a network and score it beside the baselines, as `vsr train` does.

    Example:
        >>> run = vsr.fit("fsrcnn", movie, epochs=20, recipe={"rate": 1e-3})  # movie: (T, H, W) array in physical units
        >>> print(run)
        >>> sharper = run.upscale(other_movie)

    Args:
        model: Name of a config of conf/model, a class of a module that can be imported, or a mapping with the keys of a config.
        data: Name of a config of conf/data, path of an array file, HR frames as an array in physical units of shape (T, H, W),
            (T, C, H, W) or (N, T, C, H, W), or a mapping with the keys of a config. An array is saved in the folder.
        recipe: Name of a config of conf/recipe, or a mapping of keys that differ from the default recipe.
        folder: Folder of the run; None for a new folder below runs/fit/.
        plugins: Packages whose classes the config names, such as ["mypackage"].
        overrides: Further arguments of the command line, such as ["init=checkpoint", "weights=best.ckpt"].
        resume: True to continue the run in `folder`, or to return the results of a finished run.
        **settings: Top-level keys of the config, such as epochs=20, scale=3, seed=1, budget="5min".

    Returns:
        The finished run.

    Raises:
        UserError: If a setting is wrong, or if the run cannot be trained.
    """
    if resume and folder is None:
        raise UserError("resume=True: needs the folder of the run; give folder=FOLDER")
    place = Path(folder) if folder is not None else Path("runs", "fit", time.strftime("%Y-%m-%d_%H-%M-%S"))
    lines, opened = _model_overrides(model)
    opened = (*plugins, *opened)
    lines += _data_overrides(data, place)
    lines += [f"recipe={recipe}"] if isinstance(recipe, str) else [f"recipe.{key}={override_text(recipe[key])}" for key in recipe]
    lines += [f"{key}={override_text(value)}" for key, value in settings.items()]
    open_announced_plugins()
    open_plugins(opened)  # before Hydra looks for configs: a package may have some of its own
    config = Composer(CONF.parent / "train.py", CONF).config([f"plugins=[{','.join(opened)}]", *lines, *overrides])
    place.mkdir(parents=True, exist_ok=True)
    try:
        results = train(OmegaConf.create(config | {"resume": "auto" if resume else "never"}), place)
    except UserError as error:  # the key of the command line is an argument here
        raise UserError(str(error).replace("hydra.run.dir=FOLDER", "folder=FOLDER")) from error
    return Fitted(place, results, opened)


def _model_overrides(model: str | type[Network] | Options) -> tuple[list[str], tuple[str, ...]]:
    """Return the overrides that select a network, and the package to open for a class of the user."""
    if isinstance(model, str):
        return [f"model={model}"], ()
    if isinstance(model, Mapping):
        node, package = dict(model), "vsr"
    else:
        if not (isinstance(model, type) and issubclass(model, Network)):
            raise UserError(f"model: must be a name, a subclass of vsr.models.base.Network or a mapping, not {model!r}")
        if model.__module__ == "__main__":
            raise UserError(
                f"model={model.__name__}: a checkpoint could not name it; move the class into a file, such as mine.py"
            )
        node, package = {"_target_": f"{model.__module__}.{model.__qualname__}"}, model.__module__.split(".")[0]
    if "_target_" not in node:
        raise UserError("model: the mapping has no '_target_'; give the name of a class, as in conf/model/fsrcnn.yaml")
    opened = () if package == "vsr" else (package,)
    return ["~model", f"+model={override_text(node)}", f"name={str(node['_target_']).rpartition('.')[2]}"], opened


def _data_overrides(data: str | Path | np.ndarray | torch.Tensor | Options, place: Path) -> list[str]:
    """Return the overrides that select the data; an array is saved as frames.npy in the folder of the run."""
    if isinstance(data, Mapping):
        if "_target_" not in data:
            return [f"data.{key}={override_text(value)}" for key, value in data.items()]
        return ["~data", f"+data={override_text(dict(data))}"]
    if isinstance(data, Path) or (isinstance(data, str) and (Path(data).suffix or Path(data).exists())):
        return [f"data.path={override_text(str(data))}"]
    if isinstance(data, str):
        return [f"data={data}"]
    array = data.detach().cpu().numpy() if isinstance(data, torch.Tensor) else data
    if not isinstance(array, np.ndarray) or array.ndim not in AXES:
        what = f"an array of {array.ndim} indices" if isinstance(array, np.ndarray) else repr(type(data).__name__)
        raise UserError(
            f"data: must be a name, a file, a mapping or an array (T, H, W), (T, C, H, W) or (N, T, C, H, W), not {what}"
        )
    place.mkdir(parents=True, exist_ok=True)
    path = place / "frames.npy"
    np.save(path, array)
    return [f"data.path={override_text(str(path.resolve()))}", f"data.axes={AXES[array.ndim]}"]
