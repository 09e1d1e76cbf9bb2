"""Train a network and score it: `python train.py model=fsrcnn data=climate`; `--help` lists the choices."""

from pathlib import Path

from omegaconf import DictConfig

from vsr.commands.app import launch


def task(cfg: DictConfig, folder: Path) -> None:
    """Imports torch only once the config is known to be right."""
    from vsr.training.run import train

    train(cfg, folder)


if __name__ == "__main__":
    launch(__file__, task)
