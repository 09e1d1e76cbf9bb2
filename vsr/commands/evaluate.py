"""Score trained networks: `vsr evaluate checkpoint=A.ckpt[,B.ckpt] [data=...]`; `--help` lists the choices."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from vsr.commands.app import run_hydra_app


def _task(cfg: DictConfig, folder: Path) -> None:
    """Score the networks of a checked config. torch is imported here, after the check of the config and the files."""
    from vsr.config.input_files import check_data_files

    check_data_files(cfg)
    from vsr.evaluation.evaluate import evaluate

    evaluate(cfg, folder)


def evaluate_command() -> None:
    """Run `vsr evaluate` with the arguments of this process."""
    run_hydra_app("evaluate", _task)


if __name__ == "__main__":
    evaluate_command()
