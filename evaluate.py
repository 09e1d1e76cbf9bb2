"""Score a trained network: `python evaluate.py checkpoint=FILE [data=...]`; `--help` lists the choices."""

from pathlib import Path

from omegaconf import DictConfig

from vsr.cli import launch


def task(cfg: DictConfig, folder: Path) -> None:
    """Imports torch only once the config is known to be right."""
    from vsr.run import evaluate

    evaluate(cfg, folder)


if __name__ == "__main__":
    launch(__file__, task)
