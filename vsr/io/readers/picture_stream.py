"""Pictures of one size as the frames of a video."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from vsr.errors import UserError
from vsr.io.readers.pictures import PictureFacts, read_facts_of_one_size, read_picture
from vsr.io.readers.video_stream import LEFT, UNSPECIFIED, VideoFacts, VideoFrame

# Signs of a, b, c, d in a display matrix (`VideoFacts.display`), and the value of the tag Orientation that turns pictures alike.
TURNS: dict[tuple[int, ...], int] = {
    **{(1, 0, 0, 1): 1, (-1, 0, 0, 1): 2, (-1, 0, 0, -1): 3, (1, 0, 0, -1): 4},
    **{(0, 1, 1, 0): 5, (0, 1, -1, 0): 6, (0, -1, -1, 0): 7, (0, -1, 1, 0): 8},
}


class PictureStream:
    """Pictures of one size as a video, with the interface of `IsolatedVideo` that `VideoSource` and `VideoSink` need.

    Args:
        folder: The folder of the pictures.
        files: The pictures, in order.
        rate: Frames per second.

    Raises:
        UserError: The pictures differ in size or in the turn that EXIF asks for, or one cannot be read.
    """

    frames = None

    def __init__(self, folder: Path, files: list[Path], rate: Fraction) -> None:
        self.path, self.files, self.length = folder, files, len(files)
        found = read_facts_of_one_size(files)
        turns = [_orientation(facts) for facts in found]
        if len(set(turns)) > 1:
            other = next(file for file, turn in zip(files, turns, strict=True) if turn != turns[0])
            raise UserError(f"{other}: EXIF turns it unlike {files[0].name}; turn the pictures before they become a video")
        turn = next((matrix for matrix, orientation in TURNS.items() if orientation == turns[0] != 1), None)
        self.facts = VideoFacts(
            height=found[0].height,
            width=found[0].width,
            kind="gray" if all(facts.grey for facts in found) else "rgb",
            bits=16 if any(facts.deep for facts in found) else 8,
            chroma=(1, 1),
            siting=LEFT,
            full=True,
            matrix=UNSPECIFIED,
            primaries=UNSPECIFIED,
            transfer=UNSPECIFIED,
            aspect=None,
            display=None if turn is None else (turn[0] << 16, turn[1] << 16, 0, turn[2] << 16, turn[3] << 16, 0, 0, 0, 1 << 30),
            interlaced=False,
            hdr10=False,
            rate=rate,
            variable=False,
            tick=1 / rate,
            frames=len(files),
            end=None,
            beside=(),
        )
        alpha, profile = any(facts.alpha for facts in found), any("icc_profile" in facts.tags for facts in found)
        lost = ["transparency"] * alpha + ["colour profile"] * profile
        self.notes = [f"{folder}: the {what} of the pictures is left out, as videos have none" for what in lost]

    def read(self, start: int = 0, known: tuple[int, int] | None = None) -> Iterator[VideoFrame]:
        """Yield the pictures from number `start` on; `known` is not needed."""
        top, kind = (65535, np.uint16) if self.facts.bits == 16 else (255, np.uint8)
        for number, file in enumerate(self.files[start:], start):
            values = read_picture(file, "luma" if self.facts.kind == "gray" else "rgb").values
            yield VideoFrame(number, number, tuple(np.rint(values * (top / 255)).astype(kind)), 1)


def _orientation(facts: PictureFacts) -> int:
    """Return the value of the EXIF tag Orientation: 1 for a picture that is shown as it is stored."""
    from PIL import Image

    exif = Image.Exif()
    exif.load(facts.tags.get("exif", b""))
    return exif.get(274, 1)
