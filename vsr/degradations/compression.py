"""Degradation steps that compress frames with an 8-bit codec: JPEG and H.264."""

from __future__ import annotations

import importlib
import io
from abc import abstractmethod
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import torch

from vsr.degradations.base import Bounds, Frames, SameSizeStep
from vsr.errors import UserError

Preset = Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"]
DEFAULT_PRESET: Preset = "medium"


class Codec(SameSizeStep):
    """Base class of steps that encode and decode frames with an 8-bit codec.

    Codes 0 and 255 stand for the two physical values in `bounds`. Values are rounded to codes, and values outside the bounds
    are clipped. Variables that have bounds of their own are coded one by one. A call raises UserError if the codec does not
    support the number of channels.
    """

    channels: tuple[int, ...]

    @abstractmethod
    def roundtrip(self, codes: np.ndarray) -> np.ndarray:
        """Encode codes, uint8 (N, C, rows, columns), and return the decoded codes in the same shape and type."""

    def apply(self, frames: Frames, *, bounds: Bounds = (0.0, 1.0), first: int = 0) -> Frames:
        low, high = bounds
        variables = isinstance(low, torch.Tensor)  # with a range each, which are no colours: each is coded by itself
        if frames.shape[1] not in self.channels and not variables:
            known = " or ".join(map(str, self.channels))
            raise UserError(
                f"degradation={self.name}: the data have {frames.shape[1]} channels, this codec takes {known}; "
                f"type degradation=bicubic or another one without a codec"
            )
        codes = ((frames - low) * (255 / (high - low))).round().clamp(0, 255).to(torch.uint8)
        parts = [self.roundtrip(part.numpy()) for part in codes.cpu().split(1 if variables else len(codes[0]), dim=1)]
        decoded = torch.from_numpy(np.concatenate(parts, axis=1)).to(frames)
        return decoded * ((high - low) / 255) + low


class JPEG(Codec):
    """Compression of every frame with Pillow's baseline JPEG: grey for one channel, RGB (4:2:0 chroma) for three.

    Args:
        quality: Quality from 1 (worst) to 100.

    Raises:
        UserError: If the quality is out of range, or Pillow is missing.
    """

    channels = (1, 3)

    def __init__(self, quality: int) -> None:
        if not 1 <= quality <= 100:
            raise UserError(f"quality={quality} of JPEG: must lie between 1 and 100; type degradation.steps.jpeg.quality=75")
        self.quality = quality
        self.name = f"jpeg({quality})"
        # A missing library is reported now, not after the data have been read.
        self._pillow()

    def roundtrip(self, codes: np.ndarray) -> np.ndarray:
        image = self._pillow()
        decoded = []
        for frame in codes:
            file = io.BytesIO()
            # Pillow wants colours last and grey without an axis of its own.
            pixels = np.ascontiguousarray(frame.transpose(1, 2, 0)) if len(frame) == 3 else frame[0]
            image.fromarray(pixels).save(file, "JPEG", quality=self.quality)
            back = np.asarray(image.open(file))
            decoded.append(back.transpose(2, 0, 1) if len(frame) == 3 else back[None])
        return np.stack(decoded)

    def _pillow(self) -> Any:
        return _extra("PIL.Image", "Pillow", "images", self.name)


class H264(Codec):
    """H.264 compression by libx264 at 25 frames per second; the frames of one call form one clip.

    Values become luma in the full range of codes, and chroma is grey. Frames of odd size are extended to an even size by
    repeating the last row and column, and are cut back afterwards. Prediction runs through the clip, so the result depends on
    where a movie is cut into clips.

    Args:
        crf: Constant rate factor from 0 (lossless) to 51 (worst).
        preset: Preset of x264; slower presets spend fewer bits.

    Raises:
        UserError: If crf is out of range, or PyAV or libx264 is missing.
    """

    channels = (1,)

    temporal = True

    def __init__(self, crf: int = 23, preset: Preset = DEFAULT_PRESET) -> None:
        if not 0 <= crf <= 51:
            raise UserError(f"crf={crf} of H264: must lie between 0 and 51; type degradation.steps.h264.crf=23")
        self.crf, self.preset = crf, preset
        self.name = f"h264({crf})" if preset == DEFAULT_PRESET else f"h264({crf},{preset})"
        # A missing library is reported now, not after the data have been read.
        self._codec("libx264", "w")

    def roundtrip(self, codes: np.ndarray) -> np.ndarray:
        rows, columns = codes.shape[2:]
        luma = np.pad(codes[:, 0], ((0, 0), (0, rows % 2), (0, columns % 2)), mode="edge")
        packets = self._encode(luma)
        decoder = self._codec("h264", "r")
        frames = [frame for packet in packets for frame in decoder.decode(packet)] + decoder.decode(None)
        # B-frames are coded after frames that they precede.
        frames.sort(key=lambda frame: frame.pts)
        if [frame.pts for frame in frames] != list(range(len(codes))):
            raise RuntimeError(f"{self.name}: {len(codes)} frames went in, {[frame.pts for frame in frames]} came back")
        # The layout is yuv420p in and out, so codes are read from the planes without conversion.
        planes = np.stack([frame.to_ndarray(format="yuv420p") for frame in frames])
        return planes[:, None, :rows, :columns]

    def _encode(self, luma: np.ndarray) -> list[Any]:
        """Encode a clip of even size, uint8 (N, rows, columns), and return the packets."""
        _, rows, columns = luma.shape
        av = self._av()
        encoder = self._codec("libx264", "w")
        encoder.height, encoder.width, encoder.pix_fmt = rows, columns, "yuv420p"
        encoder.framerate, encoder.time_base = Fraction(25), Fraction(1, 25)
        # x264's macroblock tree reads memory that nobody has written: without it the same clip always gives the same frames.
        encoder.options = {"crf": str(self.crf), "preset": self.preset, "mbtree": "0"}
        chroma = np.full((rows // 2, columns), 128, np.uint8)
        packets: list[Any] = []
        for number, plane in enumerate(luma):
            frame = av.VideoFrame.from_ndarray(np.concatenate([plane, chroma]), format="yuv420p")
            frame.pts = number
            packets += encoder.encode(frame)
        return packets + encoder.encode(None)

    def _av(self) -> Any:
        return _extra("av", "PyAV", "video", self.name)

    def _codec(self, name: str, mode: str) -> Any:
        av = self._av()
        try:
            context = av.CodecContext.create(name, mode)
        except av.codec.codec.UnknownCodecError as error:
            raise UserError(f"degradation={self.name}: this PyAV has no {name}; type: pip install 'vsr-movies[video]'") from error
        # x264's decisions depend on the number of threads, which would otherwise be that of the machine's cores.
        context.thread_count = 1
        return context


def _extra(module: str, package: str, extra: str, name: str) -> Any:
    """Import and return an optional module. Raises UserError with the command that installs a missing module."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(f"degradation={name}: needs {package}; type: pip install 'vsr-movies[{extra}]'") from error
