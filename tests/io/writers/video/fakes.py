"""Tiny videos with all that real ones have, and an independent look into files."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from vsr.io.writers.open import open_writer_pair

Planes = list[np.ndarray]


def noise(pixels: str, height: int, width: int, count: int, seed: int = 0, low: float = 0.0, high: float = 1.0) -> list[Planes]:
    """Random planes of a planar pixel format, codes from `low` to `high` of its range."""
    rng = np.random.default_rng(seed)
    parts = av.VideoFormat(pixels, width, height).components
    kind = np.uint8 if parts[0].bits == 8 else np.uint16
    top = 2 ** parts[0].bits
    return [
        [rng.integers(int(low * top), int(high * top), (c.height, c.width)).astype(kind) for c in parts] for _ in range(count)
    ]


def flat(pixels: str, height: int, width: int, count: int, codes: Sequence[int]) -> list[Planes]:
    """Frames of one colour."""
    return [
        [np.full_like(plane, code) for plane, code in zip(planes, codes, strict=True)]
        for planes in noise(pixels, height, width, count)
    ]


def av_frame(planes: Planes, pixels: str) -> av.VideoFrame:
    """Planes (those of rgb in the order r, g, b) as ffmpeg has them."""
    height, width = planes[0].shape
    frame = av.VideoFrame(width, height, pixels)
    if pixels == "bgr0":
        stored = [np.stack([planes[2], planes[1], planes[0], 0 * planes[0]], -1).reshape(height, -1)]
    elif pixels == "nv12":
        stored = [planes[0], np.stack(planes[1:], -1).reshape(planes[1].shape[0], -1)]
    elif pixels in ("yuyv422", "uyvy422", "yvyu422"):
        places = {"y": iter((planes[0][:, ::2], planes[0][:, 1::2])), "u": iter(planes[1:2]), "v": iter(planes[2:3])}
        stored = [np.stack([next(places[letter]) for letter in pixels[:4]], -1).reshape(height, -1)]
    else:
        stored = [planes[1], planes[2], planes[0]] if pixels.startswith("gbr") else planes
    for plane, values in zip(frame.planes, stored, strict=True):
        np.frombuffer(memoryview(plane), values.dtype).reshape(plane.height, -1)[:, : values.shape[1]] = values
    return frame


def write(
    path: Path,
    frames: list[Planes],
    pixels: str,
    codec: str = "ffv1",
    *,
    rate: Fraction = Fraction(25),
    tick: Fraction | None = None,
    times: Sequence[int] | None = None,
    colours: tuple[int, int, int, int] | None = None,
    aspect: Fraction | None = None,
    display: Sequence[int] | None = None,
    durations: Sequence[int] | None = None,
    audio: str | None = None,
    options: dict[str, str] | None = None,
    subtitles: bool = False,
) -> Path:
    """A video with frames at `times` for `durations` (in ticks), perhaps a sine wave beside it, English, and a title."""
    with av.open(str(path), "w") as out:
        out.metadata["title"] = "ducks"
        stream: Any = out.add_stream(codec, rate=rate)
        context = stream.codec_context
        context.height, context.width, context.pix_fmt = *frames[0][0].shape, pixels
        context.time_base = tick or 1 / rate
        context.options = options or {}
        if colours:
            context.color_range, context.colorspace, context.color_primaries, context.color_trc = colours
        if aspect:
            context.sample_aspect_ratio = aspect
        stream.set_display_matrix(display)
        sound: Any = out.add_stream(audio, rate=48000) if audio else None
        if sound:
            sound.metadata["language"] = "eng"
        if subtitles:
            text = out.add_stream("subrip")
            text.codec_context.subtitle_header = b""
        packets: list[Any] = []
        for number, planes in enumerate(frames):
            frame = av_frame(planes, pixels)
            frame.pts, frame.time_base = times[number] if times else number, context.time_base
            packets += stream.encode(frame)
        for packet in packets + stream.encode():
            if durations:
                packet.duration = durations[(times or range(len(frames))).index(packet.pts)]
            out.mux(packet)
        if sound:
            _sine(out, sound, seconds=float(len(frames) / rate))
        if subtitles:
            for n in range(2):
                packet = av.Packet(f"word {n}".encode())
                packet.stream, packet.time_base = text, Fraction(1, 1000)
                packet.pts = packet.dts = 40 * n
                packet.duration = 30
                out.mux(packet)
    return path


def _sine(out: Any, sound: Any, seconds: float) -> None:
    wave = np.sin(np.arange(int(48000 * seconds)) * (2 * np.pi * 440 / 48000)).astype(np.float32) * 0.5
    fit = av.AudioResampler(sound.codec_context.format, sound.codec_context.layout, 48000)
    size = sound.codec_context.frame_size or 1024
    for start in range(0, len(wave) - size + 1, size):
        frame = av.AudioFrame.from_ndarray(np.stack([wave[start : start + size]] * 2), format="fltp", layout="stereo")
        frame.sample_rate, frame.pts = 48000, start
        for piece in fit.resample(frame):
            out.mux(sound.encode(piece))
    out.mux(sound.encode())


def decoded(path: Path) -> list[tuple[Fraction, Planes]]:
    """Times in seconds and planes of all frames, by ffmpeg's own conversion to arrays."""
    found = []
    with av.open(str(path)) as file:
        for frame in file.decode(video=0):
            pixels, size = frame.format.name, (frame.height, frame.width)
            kind = np.uint8 if max(c.bits for c in frame.format.components) == 8 else np.uint16
            if frame.format.is_rgb:
                planes = list(frame.to_ndarray(format="rgb24" if kind is np.uint8 else pixels).transpose(2, 0, 1))
            else:
                planes = [
                    np.array(np.frombuffer(plane, kind).reshape(plane.height, -1)[:, : plane.width]) for plane in frame.planes
                ]
            assert planes[0].shape == size
            found.append((frame.pts * frame.time_base, planes))
    return found


def packets(path: Path, kind: str) -> list[bytes]:
    """The content of all packets of a kind of stream, as they are stored."""
    with av.open(str(path)) as file:
        return [bytes(packet) for packet in file.demux(**{kind: 0}) if packet.size]


def nearest(lr: np.ndarray, scale: int) -> np.ndarray:
    """The simplest network whose SR values are whole codes where those of LR are."""
    return lr.repeat(scale, -2).repeat(scale, -1)


def enlarge(source: Path, target: Path, *, scale: int = 2, channels: str = "luma", block: int = 7, **options: Any) -> list[str]:
    """`source` through `nearest` to `target`; the notes."""
    pair = open_writer_pair(source, target, scale=scale, channels=channels, identity={"network": "nearest"}, **options)  # type: ignore[arg-type]
    lr, sink = pair
    with sink:
        for start, frames in lr.blocks(block, sink.done):
            sink.write(start, nearest(frames, scale))
        sink.finish()
    return lr.notes
