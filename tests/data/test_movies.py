"""Video files: exact luma, and refusal of what is not a whole video."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.fakes import moving_pattern, write_video, write_y4m
from vsr.data.base import SRDataModule
from vsr.data.movies import MovieDataModule
from vsr.data.readers.video import read_luma
from vsr.data.splits import Split
from vsr.degradations import Bicubic
from vsr.errors import UserError
from vsr.recipe import Recipe
from vsr.types import Movie

COMMON = {"scale": 2, "degradation": Bicubic(), "recipe": Recipe(patch=8)}


@pytest.mark.parametrize("size", [(32, 48), (31, 47)])
def test_y4m_luma_is_exact_and_upright(tmp_path: Path, size: tuple[int, int]) -> None:
    luma = moving_pattern(7, *size)
    read = read_luma(write_y4m(tmp_path / "a.y4m", luma))
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, luma)


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"), [("a.mkv", "ffv1", "gray"), ("a.mkv", "ffv1", "yuv420p"), ("a.avi", "ffv1", "yuv420p")]
)
def test_lossless_luma_is_exact(tmp_path: Path, name: str, codec: str, pix_fmt: str) -> None:
    luma = moving_pattern(6)
    np.testing.assert_array_equal(read_luma(write_video(tmp_path / name, luma, codec, pix_fmt)), luma)


def test_h264_is_close(tmp_path: Path) -> None:
    luma = moving_pattern(6, 64, 64)
    read = read_luma(write_video(tmp_path / "a.mp4", luma, "libx264", "yuv420p"))
    assert read.shape == luma.shape
    assert abs(read - luma).mean() < 8


def test_sixteen_bit_grey_keeps_its_depth(tmp_path: Path) -> None:
    import av

    values = (moving_pattern(3).astype(np.uint16) * 257) ^ 1
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = 32, 48, "gray16le"
        for image in values:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="gray16le")))
        container.mux(stream.encode())
    np.testing.assert_allclose(read_luma(tmp_path / "a.mkv"), values / 257.0, atol=1e-4)


def test_limit_takes_the_first_frames(movie: Path) -> None:
    np.testing.assert_array_equal(read_luma(movie, 5), read_luma(movie)[:5])


@pytest.mark.parametrize(("name", "codec"), [("a.y4m", ""), ("a.mp4", "libx264"), ("a.mkv", "ffv1"), ("a.avi", "ffv1")])
@pytest.mark.parametrize("kept", [0.35, 0.8])
def test_a_truncated_video_is_refused(tmp_path: Path, name: str, codec: str, kept: float) -> None:
    path, luma = tmp_path / name, moving_pattern(20, 64, 64)
    if codec:
        write_video(path, luma, codec, "yuv420p")
    else:
        write_y4m(path, luma)
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * kept)])
    with pytest.raises(UserError, match="cut short") as caught:
        read_luma(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"not a video at all\n" * 50, b"YUV4MPEG2 W32 H32 F25:1\n"])
@pytest.mark.parametrize("suffix", [".y4m", ".mp4", ".mkv"])
def test_what_is_not_a_video_is_refused(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"not a readable video|no frame can be decoded|no video stream"):
        read_luma(path)


def test_a_playlist_does_not_reach_other_files(tmp_path: Path) -> None:
    """An HLS playlist under a video's name would make ffmpeg open what it lists."""
    write_y4m(tmp_path / "secret.y4m", moving_pattern(3))
    path = tmp_path / "a.mp4"
    path.write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:1/x.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(UserError):
        read_luma(path)


def test_module_splits_in_time(movie: Path) -> None:
    data = MovieDataModule(path=str(movie), **COMMON)
    data.setup()
    luma = torch.from_numpy(moving_pattern(20)).float()
    torch.testing.assert_close(data.sets["train"].hr[:, 0], luma[:11])
    torch.testing.assert_close(data.sets["val"].hr[:, 0], luma[11:14])
    torch.testing.assert_close(data.sets["test"].hr[:, 0], luma[14:])
    assert data.bounds == (0, 255)
    assert data.channels == 1


def test_crop_is_explicit(tmp_path: Path) -> None:
    path = write_y4m(tmp_path / "odd.y4m", moving_pattern(20, 33, 47))
    with pytest.raises(UserError, match="33x47 are not divisible by scale=2; type data.crop=true to cut them to 32x46"):
        MovieDataModule(path=str(path), **COMMON).setup()
    data = MovieDataModule(path=str(path), crop=True, **COMMON)
    data.setup()
    assert data.sets["test"].hr.shape[-2:] == (32, 46)


class Given(SRDataModule):
    """Movies that the test made."""

    name, bounds = "given", (0.0, 1.0)

    def __init__(self, *frames: torch.Tensor) -> None:
        super().__init__(**COMMON)
        self.split, self.given = Split(), frames

    def movies(self) -> list[Movie]:
        return [Movie(x, f"movie {i}") for i, x in enumerate(self.given)]


def test_bad_values_are_refused_with_their_place() -> None:
    good = torch.rand(1, 20, 32, 32)
    for value in (float("nan"), float("inf")):
        bad = good.clone()
        bad[0, 7, 3, 3] = value
        bad[0, 9, 3, 3] = value
        with pytest.raises(UserError, match="movie 1: 2 of 20 frames hold NaN or infinite values, the first is frame 7"):
            Given(good, bad).setup()
    with pytest.raises(UserError, match="movie 0: every value is 0.5; a constant field"):
        Given(torch.full((1, 20, 32, 32), 0.5)).setup()
    with pytest.raises(UserError, match="one frame is not a movie"):
        Given(good[:, :1]).setup()
    with pytest.raises(UserError, match="too few for the split"):
        Given(good[:, :2]).setup()


def test_missing_arguments_and_extras(monkeypatch: pytest.MonkeyPatch, movie: Path) -> None:
    with pytest.raises(UserError, match="type data.path=FILE"):
        MovieDataModule(**COMMON)
    with pytest.raises(UserError, match="not one of .y4m"):
        MovieDataModule(path="a.gif", **COMMON)
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(UserError, match=r"pip install 'vsr\[video\]'"):
        read_luma(movie)
