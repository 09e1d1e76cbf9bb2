"""Score trained networks: `vsr evaluate checkpoint=A.ckpt[,B.ckpt] [data=...]`; `--help` lists the choices."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from vsr.commands.app import launch


def run(cfg: DictConfig, folder: Path) -> None:
    """Evaluate; torch is imported only here, after the check of the config."""
    from vsr.evaluation.evaluate import evaluate

    evaluate(cfg, folder)


def main() -> None:
    """Run the command with the arguments of this process."""
    launch("evaluate", run)


if __name__ == "__main__":
    main()
