"""Sharpen a movie: `vsr upscale input=FILE`, with a network of the package or of yours; `--help` lists the choices."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from omegaconf import DictConfig, OmegaConf

from vsr.commands.app import run_hydra_app
from vsr.config.schema import UpscaleSchema


def upscale_checked(settings: UpscaleSchema) -> Path:
    """Upscale the input of checked settings, and write a page that compares if `page` asks for it."""
    from vsr.inference.upscale_file import open_work, upscale_file

    if settings.workers is not None:
        from vsr.inference.workers import run_work

        return run_work(open_work(settings), settings)
    if settings.page:
        from vsr.evaluation.before_after import write_before_after_page

        return upscale_file(settings, write_before_after_page)
    return upscale_file(settings)


def _task(cfg: DictConfig, folder: Path) -> None:
    """Upscale the input of a checked config. torch is imported here, after the check of the config and the files."""
    from vsr.inference.inputs import check_upscale_files

    settings = cast(UpscaleSchema, OmegaConf.to_object(cfg))
    check_upscale_files(settings)
    upscale_checked(settings)


def upscale_command() -> None:
    """Run `vsr upscale` with the arguments of this process."""
    run_hydra_app("upscale", _task)


if __name__ == "__main__":
    upscale_command()
