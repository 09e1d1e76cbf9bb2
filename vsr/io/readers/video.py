"""Exact luma of whole video files: the decoder's Y plane, not converted through RGB. Needs the extra `video` (PyAV)."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from vsr.errors import UserError
from vsr.io.readers.isolated.proxies import IsolatedVideo

log = logging.getLogger(__name__)

# Endings of the containers in `vsr.io.readers.video_stream.FORMATS`.
SUFFIXES = (
    *(".y4m", ".mp4", ".mkv", ".avi", ".mov", ".webm", ".m4v", ".gif", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg", ".m2v"),
    *(".wmv", ".flv", ".3gp", ".ogv", ".mxf", ".dv", ".nut"),
)
UNEVEN = 1.5  # largest gap between frames over the median gap; rounding to the ticks of a container stays below
BT601 = np.array([0.299, 0.587, 0.114], np.float32)


def read_video_luma(path: Path, limit: int | None = None) -> np.ndarray:
    """Read the luma of all frames of a video, or of the first `limit` frames; warn if frames are unevenly spaced in time.

    Returns:
        (T, H, W) float32 luma in codes 0..255; deeper formats are scaled to this range. The luma of RGB videos is full-range
        BT.601, computed here in float because ffmpeg would round it.

    Raises:
        UserError: If the file is no video, is cut short or changes its frame size, or if PyAV is not installed.
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
