"""Luma of video files, exact: the decoder's own Y plane, without a detour over RGB. Needs the extra `video` (PyAV)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from vsr.errors import UserError

SUFFIXES = (".y4m", ".mp4", ".mkv", ".avi")


def read_luma(path: Path, limit: int | None = None) -> np.ndarray:
    """(T, H, W) float32 luma in 0..255 code values (16-bit formats are scaled to that), all frames or the first `limit`.

    Raises UserError when the file is not a video, is cut short, changes size, or when PyAV is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise UserError("reading video needs PyAV; type: pip install 'vsr[video]'") from error
    try:
        # Playlists and network addresses inside a file are not followed.
        with av.open(str(path), options={"protocol_whitelist": "file"}) as container:
            if not container.streams.video:
                raise UserError(f"{path}: holds no video stream; not a video, or cut short")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            promised = _promised(path, container, stream)
            frames: list[np.ndarray] = []
            for frame in container.decode(stream):
                frames.append(_luma(frame, path))
                if frames[-1].shape != frames[0].shape:
                    raise UserError(f"{path}: frame {len(frames) - 1} is {frames[-1].shape}, the first is {frames[0].shape}")
                if len(frames) == limit:
                    break
    except av.FFmpegError as error:
        raise UserError(f"{path}: not a readable video, or cut short ({error.strerror})") from error
    if limit is None and promised is not None and len(frames) < promised:
        raise UserError(
            f"{path}: cut short, {len(frames)} of {promised} frames can be decoded; type data.frames={len(frames)} to use these"
        )
    if not frames:
        raise UserError(f"{path}: no frame can be decoded")
    return np.stack(frames).astype(np.float32)


def _promised(path: Path, container: Any, stream: Any) -> int | None:
    """How many frames the container says it holds; None when it does not say."""
    if stream.frames:
        return int(stream.frames)
    if path.suffix.lower() == ".y4m":
        # No count in the header, but frames of one size: a remainder is a frame cut short (counted, never decoded).
        with path.open("rb") as file:
            header = len(file.readline())
            frame = len(file.readline())
        chroma = {"yuv420p": 1.5, "yuv422p": 2.0, "yuv444p": 3.0, "gray": 1.0}.get(stream.codec_context.pix_fmt)
        if chroma is None or not stream.width:
            return None
        half = (stream.width + 1) // 2, (stream.height + 1) // 2
        planes = stream.width * stream.height
        planes += {1.5: 2 * half[0] * half[1], 2.0: 2 * half[0] * stream.height}.get(chroma, (chroma - 1) * planes)
        return int(-(-(path.stat().st_size - header) // (frame + planes)))
    if container.duration and stream.average_rate:
        # Durations are rounded to the time base of the container: one frame of tolerance.
        return round(container.duration / 1e6 * float(stream.average_rate)) - 1
    return None


def _luma(frame: Any, path: Path) -> np.ndarray:
    """(H, W) float32 in 0..255."""
    name = frame.format.name
    if name.startswith(("yuv", "nv12", "nv21", "gray")) and not name.endswith("be"):
        plane, bits = frame.planes[0], frame.format.components[0].bits
        kind = np.uint8 if bits <= 8 else np.uint16
        rows = np.frombuffer(plane, kind).reshape(plane.height, -1)[:, : frame.width]
        return rows.astype(np.float32) * np.float32(255 / (2**bits - 1)) if bits > 8 else rows.astype(np.float32)
    if frame.format.is_rgb or name.startswith(("rgb", "bgr", "gbr", "pal8")):
        # Full-range BT.601 luma, in float: a conversion by ffmpeg would round.
        rgb = frame.to_ndarray(format="rgb24").astype(np.float32)
        return rgb @ np.array([0.299, 0.587, 0.114], np.float32)
    raise UserError(f"{path}: pixel format {name} is not supported; convert the video to yuv420p")
