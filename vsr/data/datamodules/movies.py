"""Data module of the luma of video files or folders of frames, or of a synthetic camera over photographs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, map_coordinates

from vsr.data.base import SRDataModule
from vsr.data.splits import Split
from vsr.errors import UserError
from vsr.io.readers.pictures import SUFFIXES as PICTURES
from vsr.io.readers.pictures import list_offline_photographs, list_pictures, natural_picture_order, read_picture
from vsr.io.readers.video import SUFFIXES as VIDEOS
from vsr.io.readers.video import read_video_luma
from vsr.types import Movie

CAMERA_CLIPS, CAMERA_FRAMES, CAMERA_SIZE = 10, 20, 96
CAMERA_MARGIN = 3  # picture pixels that the camera keeps from the border


class MovieDataModule(SRDataModule):
    """Luma of movies, in code values 0..255.

    Args:
        path: Video (y4m, mp4, mkv, avi, mov, webm), folder of videos, folder of numbered frames, or folder of such folders;
            None for ten clips of a synthetic camera over the photographs of scikit-image.
        frames: Frames of each clip to use: the first N, or [START,STOP]. None for all frames (of the camera: 20), which also
            checks that a file is complete.
        size: Side in pixels of a square from the middle of each frame; None for whole frames (of the camera: 96).
        by: "time" cuts each clip into train, val and test, "clip" gives whole clips (or scenes) to each part. None is "clip"
            for four or more clips, otherwise "time".
        learn: Number of frames to learn from, or a share below 1.
        test: Number of frames to test on, or a share below 1.
        val: Share of the learning frames that is held out for validation.
        gap: Number of frames left out between the parts of a clip.
        cuts: If true, scene cuts are found and each scene becomes a movie, so that no window of frames crosses a cut.
        shared: Arguments of `SRDataModule`.

    Raises:
        UserError: If a file cannot be used.
    """

    bounds: tuple[float, float] | None = (0.0, 255.0)
    physical = False

    def __init__(
        self,
        *,
        path: str | None = None,
        frames: int | list[int] | None = None,
        size: int | None = None,
        by: Literal["time", "clip"] | None = None,
        learn: float = 0.7,
        test: float = 0.3,
        val: float = 0.2,
        gap: int = 0,
        cuts: bool = True,
        **shared: Any,
    ) -> None:
        super().__init__(**shared)
        self.first: int = frames[0] if isinstance(frames, list) else 0
        self.limit: int | None = frames[1] if isinstance(frames, list) else frames
        self.size, self.cuts = size, cuts
        if path is None:
            self.clips: list[Path] = list_offline_photographs()[:CAMERA_CLIPS]
            self.name = "camera"
        else:
            self.clips = _list_clips(Path(path).expanduser())
            self.name = Path(path).expanduser().resolve().name
        self.synthetic = path is None
        whole = by == "clip" or (by is None and len(self.clips) >= 4)
        self.split = Split(by="trajectory" if whole else "time", learn=learn, test=test, val=val, gap=gap)

    def movies(self) -> list[Movie]:
        """Return one movie for each scene of two or more frames, or one movie for each clip if `cuts` is false."""
        found: list[Movie] = []
        for number, clip in enumerate(self.clips):
            if self.synthetic:
                rng = np.random.default_rng((7, number))
                picture = read_picture(clip, "luma").values[0]
                movie = camera_movie(picture, size=self.size or CAMERA_SIZE, frames=self.limit or CAMERA_FRAMES, rng=rng)
                movie = movie[self.first :]
                found.append(Movie(torch.from_numpy(movie).unsqueeze(0), f"camera over {clip.name}"))
                continue
            luma = torch.from_numpy(read_video_luma(clip, self.limit) if clip.is_file() else read_movie_frames(clip, self.limit))
            if self.first >= len(luma):
                raise UserError(f"{clip}: has {len(luma)} frames, data.frames begins with {self.first}; type a smaller number")
            luma = luma[self.first :]
            luma = luma if self.size is None else _centre_crop(luma, self.size, clip)
            edges = find_movie_scene_cuts(luma) if self.cuts else []
            if len(luma) < 2 or not edges:
                found.append(Movie(luma.unsqueeze(0), str(clip)))
                continue
            for start, stop in zip([0, *edges], [*edges, len(luma)], strict=True):
                if stop - start >= self.min_frames:  # a scene of one frame has no neighbour to learn from
                    found.append(Movie(luma[start:stop].unsqueeze(0), f"{clip}, frames {start} to {stop - 1}"))
        return found


def _list_clips(path: Path) -> list[Path]:
    """List the videos and the folders of frames at `path`, in natural order.

    Raises:
        UserError: If `path` holds neither videos nor frames.
    """
    if path.is_file():
        if path.suffix.lower() not in VIDEOS:
            raise UserError(
                f"{path}: not one of {', '.join(VIDEOS)}; for an array file or a TIFF of several pages type data=climate "
                f"data.path={path}"
            )
        return [path]
    inside = sorted((p for p in path.iterdir() if not p.name.startswith(".")), key=natural_picture_order)
    videos = [p for p in inside if p.is_file() and p.suffix.lower() in VIDEOS]
    if not videos and any(p.suffix.lower() in PICTURES for p in inside):
        return [path]
    folders = [p for p in inside if p.is_dir() and any(q.suffix.lower() in PICTURES for q in p.iterdir())]
    if not videos and not folders:
        raise UserError(f"{path}: holds neither videos ({', '.join(VIDEOS)}) nor frames ({', '.join(PICTURES)})")
    return videos + folders


def read_movie_frames(folder: Path, limit: int | None = None) -> np.ndarray:
    """Read a folder of numbered pictures as luma, (T, H, W) float32.

    Args:
        folder: Folder of the pictures.
        limit: Number of frames from the start; None for all frames.

    Raises:
        UserError: If a number is missing, or if the sizes differ.
    """
    files = list_pictures(folder)
    numbers = [[part[1] for part in natural_picture_order(file) if part[0] == 0][-1:] for file in files]
    if all(numbers):
        flat = [number[0] for number in numbers]
        for before, after, file in zip(flat, flat[1:], files[1:], strict=False):
            if after != before + 1:
                raise UserError(
                    f"{folder}: frames {before + 1} to {after - 1} are missing before {file.name}; number them without gaps"
                )
    images = [read_picture(file, "luma").values[0] for file in files[:limit]]
    for file, image in zip(files, images, strict=False):
        if image.shape != images[0].shape:
            raise UserError(
                f"{file}: is {image.shape[0]}x{image.shape[1]}, {files[0].name} is {images[0].shape[0]}x{images[0].shape[1]}"
            )
    return np.stack(images)


def _centre_crop(luma: torch.Tensor, size: int, clip: Path) -> torch.Tensor:
    """Cut a square of `size` pixels from the middle of (T, H, W) frames.

    Raises:
        UserError: If the frames are smaller than the square; the message names `clip`.
    """
    height, width = luma.shape[1:]
    if size > min(height, width):
        raise UserError(f"data.size={size}: {clip} has {height}x{width}; type data.size={min(height, width)} or less")
    top, left = (height - size) // 2, (width - size) // 2
    return luma[:, top : top + size, left : left + size].contiguous()


def find_movie_scene_cuts(luma: torch.Tensor) -> list[int]:
    """Find the scene cuts in luma (T, H, W), code values, and return the index of the first frame after each cut.

    At a cut, the change between two frames passes three tests: it is above 12 code values, above 8 times the median change
    around the cut, and lasting. A change is lasting if the frames one step further out differ by more than 0.7 of the change.
    Motion, flashes and noise fail one of these tests.
    """
    if len(luma) < 4:
        return []
    change = (luma[1:] - luma[:-1]).abs().mean((1, 2))
    cuts = []
    for k in range(len(change)):
        around = torch.cat([change[max(0, k - 5) : k], change[k + 1 : k + 6]])
        lasting = (luma[min(k + 2, len(luma) - 1)] - luma[max(k - 1, 0)]).abs().mean()
        if change[k] > max(12.0, 8 * float(around.median())) and lasting > 0.7 * change[k]:
            cuts.append(k + 1)
    return cuts


def camera_movie(picture: np.ndarray, *, size: int, frames: int, rng: np.random.Generator) -> np.ndarray:
    """Render a movie of a synthetic camera that pans, zooms and rotates smoothly over a grey picture.

    The zoom stays between 1 and 1.5 picture pixels per frame pixel. The picture is blurred accordingly and sampled by cubic
    splines, so that nothing aliases.

    Args:
        picture: Grey picture in code values, (H, W).
        size: Number of pixels per side of a frame.
        frames: Number of frames.
        rng: Generator that draws the path of the camera.

    Returns:
        Frames, (frames, size, size) float32 in [0, 255].

    Raises:
        ValueError: If the picture is too small for the frame.
    """
    height, width = picture.shape
    reach = 0.5 * size * 1.5 * np.sqrt(2)
    if min(height, width) / 2 < 0.5 * size * np.sqrt(2) + CAMERA_MARGIN:
        raise ValueError(f"a picture of {height}x{width} is too small for a camera of {size} pixels")
    t = np.arange(frames)

    def path(amplitude: float) -> np.ndarray:
        """Sum of two slow sinusoids of random phase, at most `amplitude`."""
        period = rng.uniform(60, 120, 2)
        phase = rng.uniform(0, 2 * np.pi, 2)
        waves = np.sin(2 * np.pi * t[:, None] / period + phase)
        return amplitude * (0.7 * waves[:, 0] + 0.3 * waves[:, 1])

    zoom = np.clip(1.2 + path(0.1), 1.0, min(1.5, (min(height, width) / 2 - CAMERA_MARGIN) / (0.5 * size * np.sqrt(2))))
    angle = path(0.1)
    needed = np.minimum(reach, 0.5 * size * np.sqrt(2) * zoom.max()) + CAMERA_MARGIN
    cy = height / 2 + path(max(0.0, min(height / 2 - needed, 12.0)))
    cx = width / 2 + path(max(0.0, min(width / 2 - needed, 12.0)))
    # A blur of half the zoom, in picture pixels, removes what lies above the frame's Nyquist frequency.
    smooth = gaussian_filter(picture.astype(np.float64), 0.5 * float(zoom.mean()))
    grid = np.arange(size) - (size - 1) / 2
    y, x = np.meshgrid(grid, grid, indexing="ij")
    movie = np.empty((frames, size, size), np.float32)
    for k in range(frames):
        cos, sin = zoom[k] * np.cos(angle[k]), zoom[k] * np.sin(angle[k])
        at = np.stack([cy[k] + cos * y - sin * x, cx[k] + sin * y + cos * x])
        movie[k] = map_coordinates(smooth, at, order=3, mode="mirror")
    return np.clip(movie, 0, 255)
