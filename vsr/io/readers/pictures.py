"""Still pictures of any common kind as float arrays. Needs the extra `images` (Pillow, scikit-image)."""

from __future__ import annotations

import importlib.util
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vsr.errors import UserError
from vsr.io.readers.base import import_reader_library
from vsr.io.readers.isolated.parent import run_isolated

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
MAX_PIXELS = 178_956_970  # the limit of Pillow itself

# Photographs that the scikit-image wheel holds, in the order of the default split: 10 train, 3 val, 4 test.
PHOTOGRAPHS = (
    *("astronaut.png", "brick.png", "camera.png", "coffee.png", "grass.png", "gravel.png", "hubble_deep_field.jpg"),
    *("ihc.png", "motorcycle_left.png", "retina.jpg"),
    *("moon.png", "page.png", "clock_motion.png"),
    *("cell.png", "chelsea.png", "coins.png", "rocket.jpg"),
)


def natural_picture_order(path: Path) -> list[tuple[int, int, str]]:
    """Return a sort key for file names in natural order, which puts img2 before img10."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part.lower()) for part in re.split(r"(\d+)", path.name) if part]


def list_pictures(folder: Path) -> list[Path]:
    """List a folder's pictures in natural order, without hidden files; raise UserError if the folder holds no picture."""
    found = [p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")]
    if not found:
        raise UserError(f"{folder}: holds no picture ({', '.join(SUFFIXES)})")
    return sorted(found, key=natural_picture_order)


def list_offline_photographs() -> list[Path]:
    """List the photographs inside the scikit-image wheel; raise UserError if scikit-image is not installed."""
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        raise UserError("without data.path the photographs of scikit-image are used; type: pip install 'vsr-movies[images]'")
    return [Path(spec.origin).parent / "data" / name for name in PHOTOGRAPHS]


@dataclass(frozen=True)
class Picture:
    """Decoded picture.

    Attributes:
        values: (C, H, W) float32 pixels.
        is_float: True if the file stores floats, signed or 32-bit integers, which are values and kept unchanged; False if
            `values` holds codes 0..255.
    """

    values: np.ndarray
    is_float: bool


@dataclass(frozen=True)
class PictureFacts:
    """Properties of a picture, read from the header of its file.

    Attributes:
        height, width: Size in pixels.
        deep: True for 16 bits per channel.
        grey: True for one channel without colour.
        alpha: True if the picture has transparency.
        tags: EXIF data and ICC profile, by their names in Pillow.
    """

    height: int
    width: int
    deep: bool
    grey: bool
    alpha: bool
    tags: dict[str, bytes]


def read_picture(path: Path, channels: Literal["luma", "rgb"], *, rounded: bool = False) -> Picture:
    """Read a picture without its transparency. Palettes and CMYK become RGB.

    Args:
        path: The picture file.
        channels: "rgb", or "luma" for the Y of ITU-R BT.601 in 16..235 (MATLAB's rgb2ycbcr); grey pictures keep their values.
        rounded: True to round luma to whole codes, as rgb2ycbcr does for 8-bit pictures.

    Returns:
        The picture. Integer pictures give codes 0..255, with fractions for 16 bits; float pictures give their own values.

    Raises:
        UserError: If the file is not a picture, is damaged, or has more than MAX_PIXELS pixels.
    """
    values, is_float = run_isolated(path, _decode, path, MAX_PIXELS)
    if values.ndim == 2:
        return Picture(np.repeat(values[None], 3 if channels == "rgb" else 1, axis=0), is_float)
    if channels == "rgb":
        return Picture(np.ascontiguousarray(values.transpose(2, 0, 1)), is_float)
    red, green, blue = values.astype(np.float64).transpose(2, 0, 1)
    # MATLAB's order of operations, and its rounding of halves away from zero: flat areas can lie on a half.
    luma = 65.481 / 255 * red + 128.553 / 255 * green + 24.966 / 255 * blue + 16
    return Picture((np.floor(luma + 0.5) if rounded else luma).astype(np.float32)[None], is_float)


def read_picture_facts(path: Path) -> PictureFacts:
    """Read a picture's header; raise UserError if the file is no picture, holds floats or holds several pictures."""
    return run_isolated(path, _facts, path, MAX_PIXELS)


def read_facts_of_one_size(files: list[Path]) -> list[PictureFacts]:
    """Read the headers of pictures. Raises UserError if they differ in size, or if `read_picture_facts` refuses one."""
    found = [read_picture_facts(file) for file in files]
    first = found[0]
    for file, facts in zip(files, found, strict=True):
        if (facts.height, facts.width) != (first.height, first.width):
            raise UserError(
                f"{file}: is {facts.height}x{facts.width}, {files[0].name} is {first.height}x{first.width}; "
                f"put pictures of each size into a folder of their own"
            )
    return found


def read_picture_alpha(path: Path, facts: PictureFacts) -> np.ndarray:
    """Read the transparency of a picture as (1, H, W) float32 in 0..255; raise UserError if the picture is damaged."""
    return run_isolated(path, _alpha, path, facts)


@contextmanager
def _open(path: Path, limit: int, advice: str) -> Iterator[Any]:
    """Open a picture with Pillow; turn every error into a UserError, which gives `advice` for more than `limit` pixels."""
    pillow = import_reader_library("PIL.Image", "reading pictures", "images", "Pillow")
    try:
        # Pillow warns about tags that nothing here depends on.
        with warnings.catch_warnings(action="ignore"), pillow.open(path) as image:
            if image.width * image.height > limit:
                raise UserError(f"{path}: {image.width}x{image.height} pixels are more than {limit}; {advice}")
            yield image
    except UserError:
        raise
    except pillow.UnidentifiedImageError as error:
        raise UserError(f"{path}: not a picture, or damaged") from error
    except pillow.DecompressionBombError as error:  # raised by its `open`, before the size is known
        raise UserError(f"{path}: declares more than {limit} pixels; {advice}") from error
    except Exception as error:  # damaged files make Pillow raise nearly every kind of exception
        detail = (str(error).splitlines() or ["empty"])[0]
        raise UserError(f"{path}: cannot be read as a picture ({detail})") from error


def _decode(path: Path, limit: int) -> tuple[np.ndarray, bool]:
    """Return a picture's pixels, (H, W) or (H, W, 3) float32, and True if the file holds floats."""
    with _open(path, limit, "cut it into smaller pictures") as image:
        count = getattr(image, "n_frames", 1)
        if image.format == "TIFF" and count > 1:
            raise UserError(f"{path}: a movie of {count} pages, not a picture; type data=climate data.path={path}")
        if image.format == "WEBP" and count > 1:
            raise UserError(f"{path}: holds {count} pictures; save them one by one as a folder of PNG files")
        if image.mode == "F":
            return np.asarray(image, np.float32), True
        if image.format == "TIFF" and image.mode not in ("RGB", "RGBA") and (values := _tiff_values(path)) is not None:
            return values, True
        if image.mode.startswith("I"):
            return np.asarray(image, np.float32) / np.float32(257), False
        if _has_16_bits(image) and image.mode in ("RGB", "RGBA"):
            return _turned(_decode_deep(path, "rgb48le"), image), False
        grey = image.mode in ("L", "LA", "1")
        return np.asarray(image.convert("L" if grey else "RGB"), np.float32), False


def _tiff_values(path: Path) -> np.ndarray | None:
    """Return the pixels (H, W) float32 of a TIFF file of signed or 32-bit integers, which are values; None for codes."""
    tifffile = import_reader_library("tifffile", "reading TIFF", "images")
    with tifffile.TiffFile(str(path)) as file:
        page = file.pages[0]
        if page.dtype is None or page.dtype.name in ("bool", "uint8", "uint16") or page.dtype.kind not in "iuf" or page.ndim != 2:
            return None
        return page.asarray().astype(np.float32)


# What turns the stored pixels upright, by the value of the tag Orientation (274).
_TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
    8: lambda x: np.rot90(x),
}


def upright(values: np.ndarray, orientation: int) -> np.ndarray:
    """Turn stored pixels (H, W, C) upright, by the value of the tag Orientation."""
    turn = _TURNS.get(orientation)
    return values if turn is None else np.ascontiguousarray(turn(values))


def _turned(values: np.ndarray, image: Any) -> np.ndarray:
    """Turn pixels (H, W, C) as the tag Orientation of a TIFF file says; Pillow does so itself for 8 bits."""
    return upright(values, getattr(image, "tag_v2", {}).get(274, 1))


def _decode_deep(path: Path, pixel_format: Literal["rgb48le", "rgba64le"]) -> np.ndarray:
    """Read 16-bit colour as (H, W, 3 or 4) float32 in 0..255 through PyAV, since Pillow cuts such pictures to 8 bits."""
    av = import_reader_library("av", f"{path}: 16-bit colour", "video", "PyAV")
    try:
        with av.open(str(path), options={"protocol_whitelist": "file"}, metadata_errors="replace") as container:
            return next(container.decode(video=0)).to_ndarray(format=pixel_format).astype(np.float32) / np.float32(257)
    except (av.FFmpegError, StopIteration, IndexError) as error:
        raise UserError(f"{path}: cannot be read as a picture ({error or 'it holds none'}); give it in 8 bits") from error


def _has_16_bits(image: Any) -> bool:
    return any("16" in str(tile[3]) for tile in image.tile)


def _facts(path: Path, limit: int) -> PictureFacts:
    with _open(path, limit, "cut it into parts") as image:
        count = getattr(image, "n_frames", 1)
        if count > 1 and image.format != "MPO":  # a camera's JPEG with a preview in it
            raise UserError(f"{path}: holds {count} pictures; save them one by one as a folder of PNG files")
        if image.mode == "F" or (image.format == "TIFF" and image.mode.startswith("I") and _tiff_values(path) is not None):
            raise UserError(
                f"{path}: holds values, not codes of colours; upscale it by itself, or put frames into one file of many pages"
            )
        grey = image.mode in ("1", "L", "LA") or image.mode.startswith("I")
        alpha = image.mode in ("LA", "RGBA", "PA", "La", "RGBa") or "transparency" in image.info
        tags = {"exif": image.info.get("exif"), "icc_profile": image.info.get("icc_profile")}
        if image.mode in ("CMYK", "P", "LAB", "YCbCr"):
            tags["icc_profile"] = None  # the profile describes colours that become R'G'B'
        deep = image.mode.startswith("I") or _has_16_bits(image)
        return PictureFacts(image.height, image.width, deep, grey, alpha, {k: v for k, v in tags.items() if v})


def _alpha(path: Path, facts: PictureFacts) -> np.ndarray:
    if facts.deep and not facts.grey:
        with _open(path, MAX_PIXELS, "cut it into smaller pictures") as image:
            return _turned(_decode_deep(path, "rgba64le"), image)[None, ..., 3]
    with _open(path, MAX_PIXELS, "cut it into parts") as image:
        return np.asarray(image.convert("RGBA").getchannel("A"), np.float32)[None]
