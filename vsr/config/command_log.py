"""How a command was typed and what it said, written into its folder once it is sure that the command is carried out.

A command that is refused must not leave its own words among those of the run that the folder holds.
"""

from __future__ import annotations

import logging
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from vsr.errors import NotWritten
from vsr.system.files import remove_unfinished, replacing

TYPED = ".hydra"


class Notes(logging.Handler):
    """Keeps what is logged, in place of the root logger's files, until it may be written.

    Args:
        folder: of the command's output. cfg: its config, as composed.
    """

    def __init__(self, folder: Path, cfg: DictConfig) -> None:
        super().__init__()
        self.folder, self.cfg = folder, cfg
        self.records: list[logging.LogRecord] = []
        root = logging.getLogger()
        self.files = [handler for handler in root.handlers if isinstance(handler, logging.FileHandler)]
        for handler in self.files:
            root.removeHandler(handler)
        root.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def write(self) -> None:
        """Write all of it; from now on the files get each line at once. Raises NotWritten."""
        root, hydra = logging.getLogger(), HydraConfig.get()
        root.removeHandler(self)
        texts = {
            "config.yaml": OmegaConf.to_yaml(self.cfg),
            "hydra.yaml": OmegaConf.to_yaml(OmegaConf.create({"hydra": hydra})),
            "overrides.yaml": OmegaConf.to_yaml(hydra.overrides.task),
        }
        try:
            remove_unfinished(self.folder / TYPED)
            for name, text in texts.items():
                with replacing(self.folder / TYPED / name) as temporary:
                    temporary.write_text(text, encoding="utf-8")
            for handler in self.files:
                root.addHandler(handler)
                for record in self.records:
                    handler.handle(record)
        except OSError as error:
            place = error.filename or self.folder / TYPED
            raise NotWritten(f"{place}: cannot be written ({error.strerror})", "type hydra.run.dir=FOLDER") from error


def write_notes() -> None:
    """Write what a command has held back, if this is one. Raises NotWritten."""
    for handler in list(logging.getLogger().handlers):
        if isinstance(handler, Notes):
            handler.write()
