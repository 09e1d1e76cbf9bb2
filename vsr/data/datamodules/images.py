"""Data module of still pictures in a folder, or of the photographs inside scikit-image."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch

from vsr.data.base import SRDataModule
from vsr.data.splits import Split
from vsr.errors import UserError
from vsr.io.readers.pictures import list_offline_photographs, list_pictures, read_picture
from vsr.types import Movie


class ImageDataModule(SRDataModule):
    """Pictures of any size and kind, each a movie of one frame; patches for training, whole pictures for testing.

    Code values 0..255 become 0..1; for float pictures, the range of the training pictures becomes 0..1.

    Args:
        path: Folder of pictures (png, jpg, bmp, tif; 8 or 16 bit, float tif; grey, colour, palette, alpha); None for the
            photographs inside scikit-image, in a fixed order.
        test_path: Folder of test pictures; all of `path` is then learned from. None tests on a part of `path`.
        channels: "luma" (BT.601, 16..235) or "rgb".
        learn: Number of pictures to learn from, in natural order of their names, or a share below 1.
        test: Number of pictures to test on, or a share below 1.
        val: Share of the learning pictures that is held out for validation.
        crop: If true, pictures are cut to a multiple of the scale; if false, pictures of another size are refused.
        shared: Arguments of `SRDataModule`.

    Raises:
        UserError: If a file cannot be used.
    """

    bounds: tuple[float, float] | None = (0.0, 255.0)
    physical = False
    min_frames = 1

    def __init__(
        self,
        *,
        path: str | None = None,
        test_path: str | None = None,
        channels: Literal["luma", "rgb"] = "luma",
        learn: float = 0.765,
        test: float = 0.235,
        val: float = 0.2,
        crop: bool = True,
        **shared: Any,
    ) -> None:
        super().__init__(crop=crop, **shared)
        self.kind: Literal["luma", "rgb"] = channels
        self.files = list_offline_photographs() if path is None else list_pictures(_folder("data.path", path))
        self.test_files = None if test_path is None else list_pictures(_folder("data.test_path", test_path))
        self.name = "photographs" if path is None else Path(path).expanduser().name
        learned, tested = (learn, test) if self.test_files is None else (len(self.files), 0)
        self.split = Split(by="trajectory", learn=learned, test=tested, val=val)

    def movies(self) -> list[Movie]:
        """Return one movie of one frame for each picture."""
        return self._read(self.files)

    def extra_test_splits(self) -> dict[str, list[Movie]]:
        """Return the pictures of `test_path` as a test split with the folder's name; empty without `test_path`."""
        if self.test_files is None:
            return {}
        return {self.test_files[0].parent.name: self._read(self.test_files)}

    def _read(self, files: list[Path]) -> list[Movie]:
        rounded = self.protocol == "classical"
        pictures = [read_picture(file, self.kind, rounded=rounded) for file in files]
        floats = {picture.is_float for picture in pictures}
        if len(floats) > 1:
            raise UserError(f"{files[0].parent}: holds float pictures and others; give a folder of one kind")
        if floats == {True}:
            self.bounds = None
        movies = [torch.from_numpy(picture.values).unsqueeze(1) for picture in pictures]
        return [Movie(values, str(file), {}) for values, file in zip(movies, files, strict=True)]


def _folder(key: str, path: str) -> Path:
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise UserError(f"{key}={path}: not a folder; give the folder that holds the pictures")
    return folder
