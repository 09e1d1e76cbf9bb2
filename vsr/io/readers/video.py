"""Luma of whole video files, exact: the decoder's own Y plane, without a detour over RGB. Needs the extra `video` (PyAV)."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from vsr.errors import UserError
from vsr.io.readers.isolated.proxies import IsolatedVideo

log = logging.getLogger(__name__)

SUFFIXES = (".y4m", ".mp4", ".mkv", ".avi", ".mov", ".webm", ".m4v")
UNEVEN = 1.5  # times the usual distance of two frames: one that is not made by rounding to the container's ticks
BT601 = np.array([0.299, 0.587, 0.114], np.float32)


def read_luma(path: Path, limit: int | None = None) -> np.ndarray:
    """(T, H, W) float32 luma in 0..255 code values (deeper formats are scaled to that), all frames or the first `limit`.

    Of RGB, its full-range BT.601 luma in float: a conversion by ffmpeg would round. Tells of frames that are not evenly spaced.
    Raises UserError when the file is no video, is cut short, changes size, or when PyAV is not installed.
    """
    stream = IsolatedVideo(path, frames=limit, key="data.frames")
    facts = stream.facts
    frames, times = [], []
    for frame in stream:
        planes = [facts.codes(plane) for plane in frame.planes]
        frames.append(np.stack(planes, -1) @ BT601 if facts.kind == "rgb" else planes[0])
        times.append(frame.pts)
    if not frames:
        raise UserError(f"{path}: no frame can be decoded")
    if len(apart := np.diff(times)) and apart.max() > UNEVEN * np.median(apart):
        log.warning(
            "%s: frames are %.3g to %.3g s apart; networks that look at neighbouring frames take them as evenly spaced",
            path,
            float(apart.min()) * facts.tick,
            float(apart.max()) * facts.tick,
        )
    return np.stack(frames)
