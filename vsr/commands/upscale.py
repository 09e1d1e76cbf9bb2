"""Sharpen a movie with a trained network: `vsr upscale checkpoint=FILE input=FILE`; `--help` lists the choices."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from omegaconf import DictConfig, OmegaConf

from vsr.commands.app import launch
from vsr.config.schema import UpscaleSchema


def run(cfg: DictConfig, folder: Path) -> None:
    """Upscale; torch is imported only here, after the check of the config."""
    from vsr.inference.upscale_file import upscale

    upscale(cast(UpscaleSchema, OmegaConf.to_object(cfg)))


def main() -> None:
    """Run the command with the arguments of this process."""
    launch("upscale", run)


if __name__ == "__main__":
    main()
