"""Train a network and score it: `vsr train model=fsrcnn data=climate`; `--help` lists the choices."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from vsr.commands.app import run_hydra_app


def _task(cfg: DictConfig, folder: Path) -> None:
    """Train and score the network of a checked config. torch is imported here, after the check of the config and the files."""
    from vsr.config.input_files import check_data_files

    check_data_files(cfg)
    from vsr.training.run import train

    train(cfg, folder)


def train_command() -> None:
    """Run `vsr train` with the arguments of this process."""
    run_hydra_app("train", _task)


if __name__ == "__main__":
    train_command()
