"""What commands do with a file, from the first look to the last value that a training step or a score would get.

A job ends well when all that it got is finite; refused, it exits as the commands do, with status 1 and one line.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import av  # noqa: F401
import h5netcdf  # noqa: F401
import h5py  # noqa: F401
import numpy as np
import PIL.Image
import scipy.io  # noqa: F401
import torch
import xarray  # noqa: F401
import zarr  # noqa: F401
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

import vsr
import vsr.inference.upscaler
import vsr.training.run
from tests.fakes import CONF
from vsr.__main__ import run_command
from vsr.commands.app import run_hydra_app
from vsr.config.check import check_config
from vsr.config.messages import one_line_message
from vsr.config.schema import SCHEMAS
from vsr.data.base import SRDataModule
from vsr.data.datamodules.climate import ClimateDataModule
from vsr.data.datamodules.images import ImageDataModule
from vsr.data.datamodules.movies import MovieDataModule
from vsr.degradations.scaling import Bicubic
from vsr.errors import UserError
from vsr.models.fsrcnn import FSRCNNOriginal
from vsr.models.weights.init import Authors, Checkpoint
from vsr.recipe import Recipe

PIL.Image.init()
torch.set_num_threads(1)
RECIPE = Recipe(batch=2, patch=4, steps=1)


def refuse(error: UserError) -> NoReturn:
    """As the commands do."""
    print(f"error: {error}", file=sys.stderr)
    sys.exit(1)


@contextmanager
def refusing() -> Iterator[None]:
    """A script's own way with a mistake."""
    try:
        yield
    except UserError as error:
        refuse(error)
    except MemoryError:
        refuse(UserError("out of memory"))


def read_all(data: SRDataModule) -> None:
    """What training does before its first step, and every frame that its steps and its scores would get."""
    data.setup()
    for lr, hr, _ in data.training_frames():
        assert lr.isfinite().all()
        assert hr.isfinite().all()
    for loader in (data.train_dataloader(), *data.val_dataloader(), *data.test_dataloader()):
        for clip in loader:
            assert clip.lr.isfinite().all()
            assert clip.hr.isfinite().all()


def arrays(path: str, axes: str = "") -> None:
    """vsr inspect FILE, then training on it."""
    run_command("inspect", [path, *(["--axes", axes] if axes else [])])
    with refusing():
        read_all(ClimateDataModule(path=path, axes=axes or None, scale=2, degradation=Bicubic(), recipe=RECIPE, crop=True))


def video(path: str) -> None:
    """The same of a video."""
    run_command("inspect", [path])
    with refusing():
        read_all(MovieDataModule(path=path, scale=2, degradation=Bicubic(), recipe=RECIPE, crop=True))


def pictures(folder: str) -> None:
    """Training on a folder of stills, one of them damaged."""
    with refusing():
        read_all(ImageDataModule(path=folder, learn=4, test=2, scale=2, degradation=Bicubic(), recipe=RECIPE))


def checkpoint(path: str) -> None:
    """What upscale.py and evaluate.py do with a checkpoint."""
    with refusing():
        found = vsr.load(path, device="cpu").upscale(np.linspace(0, 1, 2 * 12 * 14, dtype=np.float32).reshape(2, 12, 14))
        assert np.isfinite(found).all()


def weights(path: str) -> None:
    """vsr weights FILE, then init=checkpoint weights=FILE, or init=authors."""
    run_command("weights", [path])
    network = FSRCNNOriginal(scale=2, channels=1, d=4, s=2, m=1)
    with refusing():
        if path.endswith(".mat"):
            Authors(path=path, scale=2)(network)
        else:
            Checkpoint(path=path, mismatch="overlap", scale=2)(network)
    assert all(tensor.isfinite().all() for tensor in network.state_dict().values())


def run(folder: str) -> None:
    """train.py resume=FOLDER, up to the training."""
    config("train", f"resume={folder}")


def config(script: str, *arguments: str) -> None:
    """A script with these arguments, up to its work."""
    sys.argv = [f"{script}.py", *arguments]
    run_hydra_app(script, lambda cfg, folder: None)


def train(script: str, *arguments: str) -> None:
    """The same with its work."""
    sys.argv = [f"{script}.py", *arguments]
    run_hydra_app(script, lambda cfg, folder: print(vsr.training.run.train(cfg, folder)["rows"]))


def whole(script: str, name: str) -> None:
    """What a script does with a composed config before its work: its types, then the check."""
    try:
        cfg = OmegaConf.merge(OmegaConf.structured(SCHEMAS[script]), OmegaConf.load(name))
        assert isinstance(cfg, DictConfig)
        check_config(cfg)
    except UserError as error:
        refuse(error)
    except OmegaConfBaseException as error:
        refuse(UserError(one_line_message(error, CONF, script)))
