"""Sharpen a movie with a trained network: `python upscale.py checkpoint=FILE input=FILE`; `--help` lists the choices."""

from pathlib import Path
from typing import cast

from omegaconf import DictConfig, OmegaConf

from vsr.cli import launch
from vsr.schemas import UpscaleSchema


def task(cfg: DictConfig, folder: Path) -> None:
    """Imports torch only once the config is known to be right."""
    from vsr.inference.files import upscale

    upscale(cast(UpscaleSchema, OmegaConf.to_object(cfg)))


if __name__ == "__main__":
    launch(__file__, task)
