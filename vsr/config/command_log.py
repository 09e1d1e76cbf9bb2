"""Log and .hydra folder of a command, written once it is certain that the command is carried out.

A refused command must not write into the folder of an earlier run.
"""

from __future__ import annotations

import logging
from logging.handlers import MemoryHandler
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from vsr.errors import WriteError
from vsr.system.files import remove_unfinished_files, replacing_file

HYDRA_FOLDER = ".hydra"


class CommandLog(MemoryHandler):
    """Log handler that keeps records in memory, in place of the root logger's file handlers.

    `write_command_log` writes the records to the log files. A command that is refused before that leaves no log file.

    Args:
        folder: Output folder of the command.
        cfg: Composed config of the command.
    """

    def __init__(self, folder: Path, cfg: DictConfig) -> None:
        super().__init__(capacity=100_000, flushLevel=logging.CRITICAL + 1)
        self.folder, self.cfg = folder, cfg
        root = logging.getLogger()
        self.files = [handler for handler in root.handlers if isinstance(handler, logging.FileHandler)]
        for handler in self.files:
            root.removeHandler(handler)
        root.addHandler(self)

    def write(self) -> None:
        """Write the .hydra folder and all records so far; later records go directly to the log files. Raises WriteError."""
        root, hydra = logging.getLogger(), HydraConfig.get()
        root.removeHandler(self)
        texts = {
            "config.yaml": OmegaConf.to_yaml(self.cfg),
            "hydra.yaml": OmegaConf.to_yaml(OmegaConf.create({"hydra": hydra})),
            "overrides.yaml": OmegaConf.to_yaml(hydra.overrides.task),
        }
        try:
            remove_unfinished_files(self.folder / HYDRA_FOLDER)
            for name, text in texts.items():
                with replacing_file(self.folder / HYDRA_FOLDER / name) as temporary:
                    temporary.write_text(text, encoding="utf-8")
            for handler in self.files:
                root.addHandler(handler)
                for record in self.buffer:
                    handler.handle(record)
        except OSError as error:
            place = error.filename or self.folder / HYDRA_FOLDER
            raise WriteError(f"{place}: cannot be written ({error.strerror})", "type hydra.run.dir=FOLDER") from error


def write_command_log() -> None:
    """Write the log and the .hydra folder of this command; do nothing outside a command. Raises WriteError."""
    for handler in list(logging.getLogger().handlers):
        if isinstance(handler, CommandLog):
            handler.write()
