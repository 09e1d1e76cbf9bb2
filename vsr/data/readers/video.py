"""Luma of whole video files, exact: the decoder's own Y plane, without a detour over RGB. Needs the extra `video` (PyAV)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vsr.data.readers.proxies import IsolatedVideo
from vsr.errors import UserError

SUFFIXES = (".y4m", ".mp4", ".mkv", ".avi", ".mov", ".webm", ".m4v")
BT601 = np.array([0.299, 0.587, 0.114], np.float32)


def read_luma(path: Path, limit: int | None = None) -> np.ndarray:
    """(T, H, W) float32 luma in 0..255 code values (deeper formats are scaled to that), all frames or the first `limit`.

    Of RGB, its full-range BT.601 luma in float: a conversion by ffmpeg would round. Raises UserError when the file is no video,
    is cut short, changes size, or when PyAV is not installed.
    """
    stream = IsolatedVideo(path, frames=limit, key="data.frames")
    facts = stream.facts
    frames = []
    for frame in stream:
        planes = [facts.codes(plane) for plane in frame.planes]
        frames.append(np.stack(planes, -1) @ BT601 if facts.kind == "rgb" else planes[0])
    if not frames:
        raise UserError(f"{path}: no frame can be decoded")
    return np.stack(frames)
