"""Score trained networks: `python evaluate.py checkpoint=A.ckpt[,B.ckpt] [data=...]`; `--help` lists the choices."""

from pathlib import Path

from omegaconf import DictConfig

from vsr.commands.app import launch


def task(cfg: DictConfig, folder: Path) -> None:
    """Imports torch only once the config is known to be right."""
    from vsr.evaluation.evaluate import evaluate

    evaluate(cfg, folder)


if __name__ == "__main__":
    launch(__file__, task)
