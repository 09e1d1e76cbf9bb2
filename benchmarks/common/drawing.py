"""What all figures of the pages share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from matplotlib.figure import Figure
from omegaconf import DictConfig

from benchmarks.common.runs import ROOT
from vsr.config.schema import register
from vsr.errors import UserError
from vsr.system.files import replacing


def composed(overrides: Sequence[str]) -> DictConfig:
    """The config of a run that is only looked at, named after nothing."""
    register()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("train", [*overrides, "name=figure"])


def save(figure: Figure, path: Path, dpi: int = 100) -> None:
    """As PNG, whole or not at all, without the date and the version of what drew it. Raises UserError naming the path."""
    try:
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=dpi, format="png", metadata={"Software": None})
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); type page=FILE to write elsewhere") from error
