"""Sharpen a movie with a trained network: `python upscale.py checkpoint=FILE input=FILE`; `--help` lists the choices."""

from pathlib import Path
from typing import cast

from omegaconf import DictConfig, OmegaConf

from vsr.commands.app import launch
from vsr.config.schema import UpscaleSchema


def task(cfg: DictConfig, folder: Path) -> None:
    """Imports torch only once the config is known to be right."""
    from vsr.inference.upscale_file import upscale

    upscale(cast(UpscaleSchema, OmegaConf.to_object(cfg)))


if __name__ == "__main__":
    launch(__file__, task)
