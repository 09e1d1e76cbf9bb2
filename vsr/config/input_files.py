"""Checks of the data files of a config that need no torch, made before torch is imported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from vsr.errors import UserError
from vsr.geometry import frame_size_problem
from vsr.io.readers.joined import open_movies
from vsr.io.readers.variables import variables_on_one_grid
from vsr.io.static_fields import open_static_fields

ARRAYS = "vsr.data.datamodules.climate.ClimateDataModule"  # the data module that reads files of arrays


def check_data_files(cfg: DictConfig) -> None:
    """Open the array files that a config names, and check their axes and sizes without reading values.

    The scale is only known in training; without it, sizes are not checked.

    Raises:
        UserError: If a file cannot be opened, does not say which array or which axes form the movie, or has frames that the
            scale does not divide.
    """
    open_static_fields(OmegaConf.select(cfg, "static") or [], "static")
    data = None if cfg.data is None else OmegaConf.to_container(cfg.data, resolve=True)
    scale = OmegaConf.select(cfg, "scale")
    if not isinstance(data, Mapping) or data.get("_target_") != ARRAYS or data.get("path") is None:
        return
    keys: dict[str, Any] = {key: data[key] for key in ("variable", "axes", "select", "missing", "max_bytes") if key in data}
    keys["variable"] = keys.get("variable") or variables_on_one_grid(data["path"], keys.get("select"))[0] or None
    for movie in open_movies(data["path"], **{"axes": None, **keys}):
        if scale and (problem := frame_size_problem(movie.shape[3], movie.shape[4], int(scale), data.get("crop"))) is not None:
            raise UserError(f"{movie.name}: {problem}")
    open_static_fields(data.get("static") or [])
