"""Video files: exact luma, and refusal of what is not a whole video."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.fakes import moving_pattern, write_video, write_y4m
from vsr.commands.fetch import fetch_movie
from vsr.data.base import SRDataModule
from vsr.data.datamodules.movies import MovieDataModule, camera_movie, find_movie_scene_cuts, read_movie_frames
from vsr.data.splits import Split
from vsr.degradations import Bicubic, Chain, GaussianNoise, Subsample
from vsr.errors import UserError
from vsr.inference.inputs import upscale_inputs
from vsr.io.readers.video import read_video_luma
from vsr.recipe import Recipe
from vsr.types import Movie

COMMON = {"scale": 2, "degradation": Bicubic(), "recipe": Recipe(patch=8)}


@pytest.mark.parametrize("size", [(32, 48), (31, 47)])
def test_y4m_luma_is_exact_and_upright(tmp_path: Path, size: tuple[int, int]) -> None:
    luma = moving_pattern(7, *size)
    read = read_video_luma(write_y4m(tmp_path / "a.y4m", luma))
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, luma)


def test_a_span_of_frames_of_a_video(tmp_path: Path) -> None:
    luma = moving_pattern(12)
    clip = write_y4m(tmp_path / "a.y4m", luma)
    (movie,) = MovieDataModule(path=str(clip), frames=[4, 9], cuts=False, **COMMON).movies()
    np.testing.assert_array_equal(movie.read(0, 5)[0].numpy(), luma[4:9])
    with pytest.raises(UserError, match="a.y4m: has 12 frames, data.frames begins with 12"):
        MovieDataModule(path=str(clip), frames=[12, 20], **COMMON).movies()
    (movie,) = MovieDataModule(path=str(clip), frames=3, cuts=False, **COMMON).movies()
    np.testing.assert_array_equal(movie.read(0, 3)[0].numpy(), luma[:3])


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"), [("a.mkv", "ffv1", "gray"), ("a.mkv", "ffv1", "yuv420p"), ("a.avi", "ffv1", "yuv420p")]
)
def test_lossless_luma_is_exact(tmp_path: Path, name: str, codec: str, pix_fmt: str) -> None:
    luma = moving_pattern(6)
    np.testing.assert_array_equal(read_video_luma(write_video(tmp_path / name, luma, codec, pix_fmt)), luma)


def test_h264_is_close(tmp_path: Path) -> None:
    luma = moving_pattern(6, 64, 64)
    read = read_video_luma(write_video(tmp_path / "a.mp4", luma, "libx264", "yuv420p"))
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
    np.testing.assert_allclose(read_video_luma(tmp_path / "a.mkv"), values / 257.0, atol=1e-4)


def test_limit_takes_the_first_frames(movie: Path) -> None:
    np.testing.assert_array_equal(read_video_luma(movie, 5), read_video_luma(movie)[:5])


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
        read_video_luma(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"not a video at all\n" * 50, b"YUV4MPEG2 W32 H32 F25:1\n"])
@pytest.mark.parametrize("suffix", [".y4m", ".mp4", ".mkv"])
def test_what_is_not_a_video_is_refused(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"not a readable video|no frame can be decoded|no video stream"):
        read_video_luma(path)


def test_a_playlist_does_not_reach_other_files(tmp_path: Path) -> None:
    """An HLS playlist under a video's name would make ffmpeg open what it lists."""
    write_y4m(tmp_path / "secret.y4m", moving_pattern(3))
    path = tmp_path / "a.mp4"
    path.write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:1/x.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(UserError):
        read_video_luma(path)


def test_module_splits_in_time(movie: Path) -> None:
    data = MovieDataModule(path=str(movie), **COMMON)
    data.setup()
    luma = torch.from_numpy(moving_pattern(20)).float()
    torch.testing.assert_close(data.sets["train"].pair.hr[:, 0], luma[:11])
    torch.testing.assert_close(data.sets["val"].pair.hr[:, 0], luma[11:14])
    torch.testing.assert_close(data.sets["test"].pair.hr[:, 0], luma[14:])
    assert data.bounds == (0, 255)
    assert data.channels == 1


def test_frames_are_cut_and_the_cut_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_y4m(tmp_path / "odd.y4m", moving_pattern(20, 33, 47))
    with pytest.raises(UserError, match="33x47 are not divisible by scale=2; type data.crop=true to cut them to 32x46"):
        MovieDataModule(path=str(path), crop=False, **COMMON).setup()
    data = MovieDataModule(path=str(path), **COMMON)
    with caplog.at_level("INFO"):
        data.setup()
    assert "note      odd.y4m: frames of 33x47 are cut to 32x46 for scale=2" in caplog.text
    assert data.sets["test"].pair.hr.shape[-2:] == (32, 46)


class Given(SRDataModule):
    """Movies that the test made."""

    name, bounds = "given", (0.0, 1.0)

    def __init__(self, *frames: torch.Tensor, **options: object) -> None:
        super().__init__(**(COMMON | options))  # type: ignore[arg-type]
        self.split, self.given = Split(), frames

    def movies(self) -> list[Movie]:
        return [Movie(x, f"movie {i}") for i, x in enumerate(self.given)]


def test_bad_values_are_refused_with_their_place() -> None:
    good = torch.rand(1, 20, 32, 32)
    for value in (float("nan"), float("inf")):
        bad = good.clone()
        bad[0, 7, 3, 3] = value
        bad[0, 9, 3, 3] = value
        with pytest.raises(UserError, match="movie 1: 2 of the frames 0 to 10 hold NaN or infinite values, the first is frame 7"):
            Given(good, bad).setup()
    with pytest.raises(UserError, match="movie 0: every value is 0.5; a constant field"):
        Given(torch.full((1, 20, 32, 32), 0.5)).setup()
    with pytest.raises(UserError, match="one frame is not a movie"):
        Given(good[:, :1]).setup()
    with pytest.raises(UserError, match="too few for the split"):
        Given(good[:, :2]).setup()


def test_a_folder_of_numbered_frames_is_a_movie(tmp_path: Path) -> None:
    from PIL import Image

    luma = moving_pattern(12)
    for number, image in enumerate(luma):
        Image.fromarray(image).save(tmp_path / f"img{number + 1}.png")  # img10 sorts after img9
    np.testing.assert_array_equal(read_movie_frames(tmp_path), luma)
    data = MovieDataModule(path=str(tmp_path), **COMMON)
    data.setup()
    assert sum(data.card["frames"].values()) == 12
    (tmp_path / "img5.png").unlink()
    with pytest.raises(UserError, match="frames 5 to 5 are missing before img6.png"):
        read_movie_frames(tmp_path)
    Image.fromarray(luma[0, :-2]).save(tmp_path / "img5.png")
    with pytest.raises(UserError, match="img5.png: is 30x48, img1.png is 32x48"):
        read_movie_frames(tmp_path)


def test_several_clips_are_split_by_clip(tmp_path: Path) -> None:
    for clip in range(5):
        write_y4m(tmp_path / f"clip{clip}.y4m", moving_pattern(6, 32 + 4 * (clip == 3), 48, clip))
    (tmp_path / ".DS_Store").write_text("x")
    data = MovieDataModule(path=str(tmp_path), **COMMON)
    data.setup()
    assert data.card["frames"] == {"train": 12, "val": 6, "test": 6}
    split = MovieDataModule(path=str(tmp_path), by="time", **COMMON)
    split.setup()
    assert split.card["frames"] == {"train": 17, "val": 4, "test": 9}
    assert split.channels == 1


def test_no_window_crosses_a_scene_cut(tmp_path: Path) -> None:
    scenes = [moving_pattern(n, 32, 48, seed) // 2 + shift for n, seed, shift in ((9, 1, 0), (7, 2, 90), (8, 3, 20))]
    luma = np.concatenate(scenes).astype(np.uint8)
    assert find_movie_scene_cuts(torch.from_numpy(luma).float()) == [9, 16]
    assert find_movie_scene_cuts(torch.from_numpy(moving_pattern(30)).float()) == []
    flash = moving_pattern(20).astype(np.float32)
    flash[10] += 60
    assert find_movie_scene_cuts(torch.from_numpy(flash)) == []
    path = write_y4m(tmp_path / "cuts.y4m", luma)
    data = MovieDataModule(path=str(path), **COMMON)
    assert [movie.shape[1] for movie in data.movies()] == [9, 7, 8]
    data.setup()
    train = data.sets["train"]
    for start in train.starts(3).tolist():
        clip = train.pair.hr[start : start + 3, 0]
        assert (clip[1:] - clip[:-1]).abs().mean((1, 2)).max() < 12
    whole = MovieDataModule(path=str(path), cuts=False, **COMMON)
    assert [movie.shape[1] for movie in whole.movies()] == [24]


def test_the_synthetic_camera_moves_smoothly_by_fractions_of_a_pixel() -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:200, :260]
    picture = 128 + 60 * np.sin(x / 9.0) * np.cos(y / 7.0)
    movie = camera_movie(picture, size=64, frames=30, rng=rng)
    assert movie.shape == (30, 64, 64)
    change = abs(np.diff(movie, axis=0)).mean((1, 2))
    assert change.min() > 0.1
    assert change.max() < 12
    again = camera_movie(picture, size=64, frames=30, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(movie, again)
    with pytest.raises(ValueError, match="too small"):
        camera_movie(picture[:60], size=64, frames=3, rng=rng)


def test_without_a_path_the_camera_is_used() -> None:
    data = MovieDataModule(frames=4, **COMMON)
    data.setup()
    assert data.name == "camera"
    assert data.card["frames"] == {"train": 24, "val": 4, "test": 12}
    assert data.card["size"] == [96, 96]


class Ranges(http.server.SimpleHTTPRequestHandler):
    """A file server that understands Range and can break off in the middle."""

    break_after: int | None = None

    def do_GET(self) -> None:
        content = (Path(self.directory) / self.path.lstrip("/")).read_bytes()
        first = int(self.headers["Range"].removeprefix("bytes=").rstrip("-")) if "Range" in self.headers else 0
        if first >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        self.wfile.write(content[first:][: type(self).break_after])

    def log_message(self, *_: object) -> None:
        pass


def test_fetching_resumes_checks_and_refuses(tmp_path: Path) -> None:
    served = tmp_path / "served"
    served.mkdir()
    write_y4m(served / "a.y4m", moving_pattern(20))
    (served / "bad.y4m").write_bytes(b"<html>not a movie</html>")

    class Handler(Ranges):
        break_after = 9000

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(served)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    source, folder = f"http://127.0.0.1:{server.server_port}/", tmp_path / "movies"
    with pytest.raises(UserError, match=r"ended after 9000 of \d+ bytes; the same command continues|cannot be fetched"):
        fetch_movie("a.y4m", 20, folder, source)
    assert not (folder / "a.y4m").exists()
    Handler.break_after = None
    path = fetch_movie("a.y4m", 20, folder, source)
    assert path.read_bytes() == (served / "a.y4m").read_bytes()
    assert {p.name for p in folder.iterdir()} == {"a.y4m", "a.y4m.sha256"}
    fetch_movie("a.y4m", 20, folder, source)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match="is not the file that was first downloaded"):
        fetch_movie("a.y4m", 20, folder, source)
    with pytest.raises(UserError, match="not a readable video|no video stream"):
        fetch_movie("bad.y4m", 20, folder, source)
    assert not (folder / "bad.y4m").exists()
    with pytest.raises(UserError, match="holds 20 frames, 300 were expected"):
        fetch_movie("a.y4m", 300, tmp_path / "other", source)
    server.shutdown()
    with pytest.raises(UserError):
        fetch_movie("a.y4m", 20, tmp_path / "third", "http://127.0.0.1:1/")


def test_wrong_files_and_missing_extras(without: Callable[[str], None], movie: Path, tmp_path: Path) -> None:
    (tmp_path / "a.doc").write_bytes(b"no video")
    with pytest.raises(UserError, match=r"not one of .y4m, .*; for an array file .* type data=climate data.path="):
        MovieDataModule(path=str(tmp_path / "a.doc"), **COMMON)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds neither videos"):
        MovieDataModule(path=str(tmp_path / "empty"), **COMMON)
    without("av")
    with pytest.raises(UserError, match=r"pip install 'vsr-movies\[video\]'"):
        read_video_luma(movie)


def test_flips_are_left_out_where_lr_is_not_centred(tmp_path: Path) -> None:
    flips = {"flip_y", "flip_x"}
    for degradation, scale, kept in ((Bicubic(), 2, True), (Subsample(), 2, False), (Subsample(phase=1), 3, True)):
        data = Given(torch.rand(1, 20, 36, 36), degradation=degradation, scale=scale)
        data.setup()
        used = set(data.train_dataloader().symmetries)
        assert "transpose" in used
        assert used & flips == (flips if kept else set())


def test_movies_do_not_share_their_noise() -> None:
    noise = Chain(steps={"bicubic": Bicubic(), "noise": GaussianNoise(0.1)})
    frames = torch.linspace(0, 1, 32) + 0.01 * torch.arange(10)[:, None, None] + torch.zeros(1, 10, 32, 32)
    data = Given(frames, frames + 0.005, degradation=noise)
    data.setup()
    train = data.sets["train"]
    assert train.segments == ((0, 6), (6, 11))
    added = train.pair.lr - Bicubic()(train.pair.hr, 2)
    assert added.std() > 0.05
    correlation = torch.corrcoef(added.flatten(1)) - torch.eye(11)
    assert correlation.abs().max() < 0.3


@pytest.mark.parametrize(
    ("ending", "codec"),
    [
        ("ts", "libx264"),
        ("mts", "libx264"),
        ("mpg", "mpeg2video"),
        ("m2v", "mpeg2video"),
        ("flv", "libx264"),
        ("3gp", "libx264"),
        ("wmv", "wmv2"),
        ("mxf", "mpeg2video"),
        ("nut", "ffv1"),
    ],
)
def test_videos_of_other_containers_are_read(tmp_path: Path, ending: str, codec: str) -> None:
    frames = moving_pattern(8, 32, 48)
    path = write_video(tmp_path / f"a.{ending}", frames, codec, "yuv420p")
    found = read_video_luma(path)
    assert found.shape == frames.shape
    assert np.abs(found - frames).mean() < 8
    assert upscale_inputs(str(tmp_path)) == [path]
