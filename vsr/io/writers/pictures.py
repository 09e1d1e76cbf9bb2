"""Sources and sinks of pictures: folders of numbered frames, or one picture, with colour and transparency."""

from __future__ import annotations

import hashlib
import io
import re
import zlib
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from vsr.degradations.resize import resize_bicubic_up
from vsr.errors import UserError
from vsr.io.readers.isolated.proxies import IsolatedVideo
from vsr.io.readers.picture_stream import TURNS, PictureStream
from vsr.io.readers.pictures import (
    PictureFacts,
    list_pictures,
    read_facts_of_one_size,
    read_picture,
    read_picture_alpha,
    upright,
)
from vsr.io.readers.selection import frame_span
from vsr.io.writers.base import OutputProgress, Sink, writing_errors
from vsr.io.writers.video.planes import Colours
from vsr.io.writers.video.source import Beside, Source
from vsr.system.files import sync_path

LOSSLESS = {".png": "png", ".tif": "tiff", ".tiff": "tiff"}
# MATLAB's rgb2ycbcr, as the luma of training data (`read_picture`): codes 0..255 -> Y in 16..235, Cb and Cr in 16..240.
TO_YCBCR = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]]) / 255
ZEROS = np.array([16.0, 128.0, 128.0])
GREY = np.array([0.299, 0.587, 0.114])


class PictureSource(Source):
    """Source of LR frames from pictures of one size. Chroma, transparency and header data go directly to the sink.

    Args:
        files: The pictures, in order.
        channels: Input of the network. With "luma", the network gets the BT.601 luma of a colour picture, as in `read_picture`.
        beside: Store through which chroma and transparency reach the sink.

    Raises:
        UserError: `read_facts_of_one_size` refuses the pictures.
    """

    def __init__(self, files: list[Path], channels: Literal["luma", "rgb"], beside: Beside) -> None:
        self.files, self.beside = files, beside
        self.facts = read_facts_of_one_size(files)
        self.channels = 3 if channels == "rgb" else 1
        self.height, self.width = self.facts[0].height, self.facts[0].width
        self.notes = []

    @property
    def length(self) -> int:
        return len(self.files)

    def blocks(self, size: int, start: int = 0) -> Iterator[tuple[int, np.ndarray]]:
        for first in range(start, len(self.files), size):
            numbers = range(first, min(first + size, len(self.files)))
            yield first, np.stack([self._frame(number) for number in numbers])

    def peek(self) -> Iterator[np.ndarray]:
        return (self._read(number)[0] for number in range(len(self.files)))

    def _frame(self, number: int) -> np.ndarray:
        values, beside = self._read(number)
        self.beside.put(number, np.concatenate(beside).astype(np.float32) if beside else None)
        return values

    def _read(self, number: int) -> tuple[np.ndarray, list[np.ndarray]]:
        """Return the frame for the network and the arrays (chroma, transparency) that bypass the network."""
        file, facts = self.files[number], self.facts[number]
        beside = [read_picture_alpha(file, facts)] if facts.alpha else []
        values = read_picture(file, "luma" if facts.grey else "rgb").values
        if self.channels == 3:
            values = np.repeat(values, 3, 0) if facts.grey else values
        elif not facts.grey:
            converted = np.tensordot(TO_YCBCR, values.astype(np.float64), 1) + ZEROS[:, None, None]
            values, beside = converted[:1], [converted[1:], *beside]
        return values.astype(np.float32), beside


class StillSink(Sink):
    """Base of the sinks that write a file per SR frame into a folder, or one picture.

    A folder is called `.NAME.part` until all its pictures are written. `done` counts the pictures that are safely on disk.

    Args:
        path: The folder or file to write.
        beside: Store of the data that bypass the network.
        identity: Everything that the frames depend on (`OutputProgress`).
        overwrite: Replace an existing output (`OutputProgress`); a folder that holds other files is never replaced.
        folder: True if the result is a folder.

    Raises:
        UserError: The output cannot be written, or the folder holds other files.
    """

    def __init__(self, path: Path, beside: Beside, *, identity: Mapping[str, Any], overwrite: bool, folder: bool) -> None:
        self.path, self.beside, self.folder = path, beside, folder
        if folder and path.is_dir() and (others := [p.name for p in path.iterdir() if not self._writes(p.name)]):
            raise UserError(f"{path}: holds other files, {min(others)} for example; type output=PATH of a folder of its own")
        self.journal = OutputProgress(path, identity, overwrite=overwrite, folder=folder)
        self.done = self.journal.done
        if folder:
            with writing_errors(path):
                self.journal.partial.mkdir(exist_ok=True)
        beside.begin(self.done)

    @abstractmethod
    def _writes(self, name: str) -> bool:
        """Return True if an output has a file of this name."""

    @abstractmethod
    def _name(self, number: int) -> str:
        """Return the name of the file of a frame."""

    @abstractmethod
    def _encoded(self, sr: np.ndarray, beside: Any) -> bytes:
        """Return the file of SR frame `done` (C, H, W) in codes 0..255."""

    def write(self, start: int, frames: np.ndarray) -> None:
        """Write SR frames (t, C, H, W) in codes 0..255 and sync them to disk; `start` must equal `done`."""
        if start != self.done:
            raise ValueError(f"frame {start} cannot follow {self.done - 1}")
        with writing_errors(self.path, self.journal.done):
            for sr in frames:
                file = self.journal.partial / self._name(self.done) if self.folder else self.journal.partial
                file.write_bytes(self._encoded(sr, self.beside.take(self.done)))
                sync_path(file)
                self.done += 1
            if self.folder:
                sync_path(self.journal.partial)
        self.journal.record(self.done)

    def flush(self) -> None:
        """Do nothing, as `write` has already synced the frames."""

    def finish(self) -> None:
        self.journal.finish()

    def close(self) -> None:
        self.journal.close()

    def discard(self) -> None:
        self.close()
        self.journal.start_over()


class FrameSink(StillSink):
    """Sink that writes the SR frames of a video as PNG files, 8 or 16 bits deep and turned upright, into a folder.

    The files are called 000000.png and so on, by the number of the frame in the input.

    Args:
        path: The folder to write.
        source: The video that the frames come from.
        colours: Conversion that joins SR and the kept chroma to grey or R'G'B' planes.
        beside: Store of the frame data that do not pass through the network.
        identity: Everything that the frames depend on (`OutputProgress`).
        overwrite: Replace an existing output (`StillSink`).
    """

    known = None

    def __init__(
        self,
        path: Path,
        source: IsolatedVideo | PictureStream,
        colours: Colours,
        beside: Beside,
        *,
        identity: Mapping[str, Any],
        overwrite: bool,
    ) -> None:
        facts, self.colours = source.facts, colours
        self.first = source.frames[0] if isinstance(source.frames, Sequence) else 0
        deep, grey = colours.target.bits > 8, colours.target.kind == "gray"
        self.facts = PictureFacts(facts.height, facts.width, deep, grey, False, {})
        signs = tuple(int(np.sign(facts.display[n])) for n in (0, 1, 3, 4)) if facts.display else ()
        self.turn = TURNS.get(signs, 1)
        rate = facts.rate.limit_denominator(1001)
        self.notes = [
            f"{path}: pictures hold no times, sound, shape of pixels and meaning of colours; type output={path.name}.mkv to keep "
            f"these; fps={rate} makes a video of the pictures again"
        ]
        super().__init__(path, beside, identity=identity, overwrite=overwrite, folder=True)

    def _writes(self, name: str) -> bool:
        return re.fullmatch(r"\d{6,}\.png", name) is not None

    def _name(self, number: int) -> str:
        return f"{self.first + number:06}.png"

    def _encoded(self, sr: np.ndarray, beside: Any) -> bytes:
        codes = np.stack(self.colours.join(sr, beside[2]), -1)
        top = 65535 if self.facts.deep else 255
        return _encode_picture(upright(codes, self.turn) * (255 / top), "png", self.facts)


class PictureSink(StillSink):
    """Sink that writes the SR frames of pictures as PNG or TIFF with the depth of the input.

    Args:
        path: The folder or file to write.
        source: The source of the frames.
        scale: SR pixels per LR pixel along each axis.
        identity: Everything that the frames depend on (`OutputProgress`).
        overwrite: Replace an existing output (`StillSink`).
        folder: True if the result is a folder.

    Raises:
        UserError: Two pictures would get one name, or `StillSink` refuses the output.
    """

    def __init__(
        self, path: Path, source: PictureSource, scale: int, *, identity: Mapping[str, Any], overwrite: bool, folder: bool
    ) -> None:
        self.source, self.scale = source, scale
        names = [file.stem + (file.suffix if file.suffix.lower() in LOSSLESS else ".png") for file in source.files]
        self.names = names if folder else [path.name]
        if len(set(self.names)) < len(self.names):
            twice = next(name for name in names if names.count(name) > 1)
            raise UserError(f"{source.files[0].parent}: two pictures would become {twice}; rename one of them")
        super().__init__(path, source.beside, identity=identity, overwrite=overwrite, folder=folder)

    def _writes(self, name: str) -> bool:
        return name in self.names

    def _name(self, number: int) -> str:
        return self.names[number]

    def _encoded(self, sr: np.ndarray, beside: Any) -> bytes:
        facts = self.source.facts[self.done]
        pixels = self._pixels(sr.astype(np.float64), beside, facts)
        return _encode_picture(pixels, LOSSLESS[Path(self.names[self.done]).suffix.lower()], facts)

    def finish(self) -> None:
        if self.done != len(self.names):
            raise ValueError(f"{self.done} of {len(self.names)} pictures were written")
        super().finish()

    def _pixels(self, sr: np.ndarray, beside: np.ndarray | None, facts: PictureFacts) -> np.ndarray:
        """Return a picture (H, W, channels) in codes 0..255 from an SR frame: grey or R'G'B', then transparency."""
        enlarged = np.empty((0, *sr.shape[1:]))
        if beside is not None:
            enlarged = resize_bicubic_up(torch.from_numpy(beside)[None], self.scale)[0].numpy().astype(np.float64)
        if facts.grey:
            colours = sr if len(sr) == 1 else np.tensordot(GREY[None], sr, 1)
        elif len(sr) == 3:
            colours = sr
        else:
            ycbcr, enlarged = np.concatenate([sr, enlarged[:2]]) - ZEROS[:, None, None], enlarged[2:]
            colours = np.tensordot(np.linalg.inv(TO_YCBCR), ycbcr, 1)
        return np.concatenate([colours, enlarged]).transpose(1, 2, 0)


def _encode_picture(pixels: np.ndarray, kind: str, facts: PictureFacts) -> bytes:
    """Encode a picture and return the bytes of the file.

    Args:
        pixels: (H, W, channels) in codes 0..255, not rounded.
        kind: "png" or "tiff".
        facts: Properties of the input: the output has 16 bits per channel if the input has 16, else 8, and the same tags.
    """
    from PIL import Image

    top = 65535 if facts.deep else 255
    whole = np.ascontiguousarray(np.rint(pixels * (top / 255)).clip(0, top).astype(np.uint16 if facts.deep else np.uint8))
    out = io.BytesIO()
    if whole.shape[2] == 1 or not facts.deep:
        Image.fromarray(whole[..., 0] if whole.shape[2] == 1 else whole).save(out, kind, **facts.tags)
        return out.getvalue()
    if kind == "tiff":
        import tifffile  # comes with scikit-image

        extra = [2] if whole.shape[2] in (2, 4) else []  # transparency that the colours are not multiplied with
        photometric = "minisblack" if whole.shape[2] < 3 else "rgb"
        profile = facts.tags.get("icc_profile")
        tifffile.imwrite(out, whole, photometric=photometric, extrasamples=extra, planarconfig=1, iccprofile=profile)
        return out.getvalue()
    return _deep_png(whole, facts.tags)


def _deep_png(whole: np.ndarray, tags: dict[str, bytes]) -> bytes:
    """Encode 16-bit colour as PNG with PyAV, since Pillow cannot, and insert the EXIF and ICC tags after the header."""
    try:
        import av
    except ImportError as error:
        raise UserError("16-bit colour needs PyAV; type: pip install 'vsr-movies[video]'") from error
    height, width, channels = whole.shape
    encoder: Any = av.CodecContext.create("png", "w")
    pixels = {2: "ya16be", 3: "rgb48be", 4: "rgba64be"}[channels]
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = width, height, pixels, Fraction(1, 25)
    frame = av.VideoFrame(width, height, pixels)
    rows = np.frombuffer(memoryview(frame.planes[0]), ">u2").reshape(height, -1)
    rows[:, : width * channels] = whole.reshape(height, -1)
    data = b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])
    chunks = b""
    if "icc_profile" in tags:
        chunks += _chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(tags["icc_profile"]))
    if "exif" in tags:
        chunks += _chunk(b"eXIf", tags["exif"].removeprefix(b"Exif\0\0"))
    header = 8 + 25  # the signature and IHDR
    return data[:header] + chunks + data[header:]


def _chunk(name: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + name + content + zlib.crc32(name + content).to_bytes(4, "big")


def open_picture_pair(
    input: Path,
    output: Path,
    *,
    scale: int,
    channels: Literal["luma", "rgb"],
    identity: Mapping[str, Any] | Callable[[Source], Mapping[str, Any]],
    overwrite: bool = False,
    frames: int | Sequence[int] | None = None,
) -> tuple[PictureSource, PictureSink]:
    """Open source and sink as `open_writer_pair` does. In a folder, TIFF files keep their names; others get the suffix .png."""
    folder = input.is_dir()
    if not input.exists():
        raise UserError(f"{input}: no such file or folder; type input=PATH")
    if not folder and output.suffix.lower() not in LOSSLESS:
        raise UserError(f"{output}: a picture is written to .png or .tif, without loss; type output={output.stem}.png")
    if folder and output.suffix.lower() in LOSSLESS:
        raise UserError(f"{output}: pictures of a folder are written to a folder, or to .mkv, .mp4; type output={output.stem}")
    files = pictures_of_span(input, frames)
    source = PictureSource(files, channels, Beside())
    known = identity(source) if callable(identity) else identity
    whole = {**known, "input": picture_identity(input, files)}
    sink = PictureSink(output, source, scale, identity=whole, overwrite=overwrite, folder=folder)
    return source, sink


def pictures_of_span(input: Path, frames: int | Sequence[int] | None) -> list[Path]:
    """List the pictures of a folder from (start, stop) or the first ones; a file is a list of one. Raises UserError."""
    files = list_pictures(input) if input.is_dir() else [input]
    return files[slice(*frame_span(frames, len(files), str(input)))] if isinstance(frames, Sequence) else files[:frames]


def picture_identity(input: Path, files: list[Path]) -> list[str]:
    """Return what identifies the pictures of an input: its path and a hash of their names, sizes and dates."""
    listing = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return [str(input), hashlib.sha256(repr(listing).encode()).hexdigest()]
