"""Pictures and videos: items 15 to 20."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from tests.fakes import moving_pattern, write_video, write_y4m
from tests.robustness.faults.bench import Bench, cut, fault, train, upscale, video, write
from vsr.io.readers.isolated.proxies import IsolatedVideo


def pictures(bench: Bench, images: Mapping[str, np.ndarray | Image.Image | bytes]) -> list[str]:
    """Train on a folder of frames."""
    (bench.path / "frames").mkdir()
    for name, image in images.items():
        path = bench.path / "frames" / name
        if isinstance(image, bytes):
            path.write_bytes(image)
        else:
            (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path)
    return train("data=movies", f"data.path={bench.path}/frames")


def frames(count: int, height: int = 32, width: int = 48) -> list[np.ndarray]:
    return list(moving_pattern(count, height, width))


fault("15-mixed-sizes", "img5.png: is 30x48, img0.png is 32x48")(
    lambda bench: pictures(bench, {f"img{i}.png": image for i, image in enumerate([*frames(5), *frames(1, 30)])})
)


@fault("16-grey-alpha-palette-and-colour", "fsrcnn", status=0)
def _(bench: Bench) -> list[str]:
    modes = ["L", "LA", "P", "RGB", "RGBA", "1", "CMYK"] * 3
    images = [Image.fromarray(image).convert(mode) for image, mode in zip(frames(21), modes, strict=True)]
    return pictures(bench, {f"img{i}.{'tif' if image.mode == 'CMYK' else 'png'}": image for i, image in enumerate(images)})


fault("16-sixteen-bits", "fsrcnn", status=0)(
    lambda bench: pictures(bench, {f"img{i}.png": image.astype(np.uint16) * 257 for i, image in enumerate(frames(20))})
)
fault("16-float-tiff", "fsrcnn", status=0)(
    lambda bench: pictures(bench, {f"img{i}.tif": image.astype(np.float32) for i, image in enumerate(frames(20))})
)


@fault("16-float-tiff-with-nan", "hold NaN or infinite values")
def _(bench: Bench) -> list[str]:
    images = [image.astype(np.float32) for image in frames(20)]
    images[2][3, 4] = np.nan
    return pictures(bench, {f"img{i}.tif": image for i, image in enumerate(images)})


@fault("16-cut-png", "img3.png: cannot be read as a picture")
def _(bench: Bench) -> list[str]:
    command = pictures(bench, {f"img{i}.png": image for i, image in enumerate(frames(20))})
    cut(bench.path / "frames" / "img3.png")
    return command


fault("17-names-without-leading-zeros", "fsrcnn", status=0)(
    lambda bench: pictures(bench, {f"img{i}.png": image for i, image in enumerate(frames(20), 2)})
)
fault("17-gap-in-the-numbers", "frames 3 to 8 are missing before img9.png; number them without gaps")(
    lambda bench: pictures(bench, {f"img{i}.png": image for i, image in zip([1, 2, 9, 10, 11], frames(5), strict=True)})
)


@fault("17-the-same-number-twice", "img2", "number")
def _(bench: Bench) -> list[str]:
    names = [f"img{i}.png" for i in range(12)] + ["img02.png"]
    return pictures(bench, dict(zip(names, frames(13), strict=True)))


fault("18-empty-folder", "frames: holds neither videos (.y4m")(lambda bench: pictures(bench, {}))
fault("18-only-hidden-files", "frames: holds neither videos (.y4m")(
    lambda bench: pictures(bench, {".DS_Store": b"x", ".a.png": b"x", "Thumbs.db": b"x"})
)
fault("18-hidden-files-beside-frames", "fsrcnn", status=0)(
    lambda bench: pictures(
        bench, {".DS_Store": b"x", "._img1.png": b"x", **{f"img{i}.png": image for i, image in enumerate(frames(20))}}
    )
)
fault("18-zero-byte-picture", "img5.png: not a picture, or damaged")(
    lambda bench: pictures(bench, {**{f"img{i}.png": image for i, image in enumerate(frames(5))}, "img5.png": b""})
)


@fault("18-a-folder-called-like-a-picture", "img5.png")
def _(bench: Bench) -> list[str]:
    command = pictures(bench, {f"img{i}.png": image for i, image in enumerate(frames(5))})
    (bench.path / "frames" / "img5.png").mkdir()
    return command


fault("19-y4m-cut-short", "a.y4m: cut short", "type data.frames=19 to use these")(
    lambda bench: video(cut(write_y4m(bench.path / "a.y4m", moving_pattern(20)), 0.99))
)
fault("19-mkv-cut-short", "a.mkv: cut short")(
    lambda bench: video(cut(write_video(bench.path / "a.mkv", moving_pattern(20), "ffv1", "gray"), 0.7))
)
fault("19-mp4-cut-short", "a.mp4: holds no video stream; not a video, or cut short")(
    lambda bench: video(cut(write_video(bench.path / "a.mp4", moving_pattern(20), "libx264", "yuv420p"), 0.7))
)
fault("19-odd-size", "not divisible by scale=2; type data.crop=true")(
    lambda bench: video(write_y4m(bench.path / "a.y4m", moving_pattern(20, 31, 48)), "data.crop=false")
)


def unevenly(path: Path, times: list[int]) -> Path:
    """A video whose frames are shown at these times, in ms."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = 32, 48, "gray"
        stream.codec_context.time_base = Fraction(1, 1000)
        for image, time in zip(moving_pattern(len(times), 32, 48), times, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="gray")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


UNEVEN = [40 * k + (300 if k > 8 else 0) for k in range(20)]


fault("19-variable-frame-rate", "a.mkv: frames are 0.04 to 0.34 s apart", "evenly spaced", status=0)(
    lambda bench: video(unevenly(bench.path / "a.mkv", UNEVEN))
)


@fault("19-variable-frame-rate-upscaled", "result", status=0)
def _(bench: Bench) -> list[str]:
    def kept(bench: Bench) -> None:
        assert IsolatedVideo(bench.here / "b.mkv").times()[0] == UNEVEN

    bench.after = kept
    return upscale(bench, unevenly(bench.path / "a.mkv", UNEVEN), f"output={bench.here}/b.mkv")


fault("19-text", "a.mp4: not a readable video")(lambda bench: video(write(bench, "a.mp4", "not a video")))
fault("19-text-upscaled", "a.mp4: not a readable video")(lambda bench: upscale(bench, write(bench, "a.mp4", "not a video")))
fault("19-y4m-of-a-billion-pixels", "a.y4m: not a readable video")(
    lambda bench: video(write(bench, "a.y4m", b"YUV4MPEG2 W32768 H32768 F25:1 Ip A1:1 C420jpeg\nFRAME\n" + bytes(1000)))
)


def reader_of(bench: Bench, text: str, name: str = "a.mp4") -> list[str]:
    """A text that makes a player open other files, with a real video beside it."""
    write_y4m(bench.path / "secret.y4m", moving_pattern(20))
    write_video(bench.path / "secret.mkv", moving_pattern(20), "ffv1", "gray")
    (bench.path / name).write_text(text.replace("HERE", str(bench.path)))
    return video(bench.path / name)


fault("19-playlist-of-a-file", "a.mp4: not a readable video")(
    lambda bench: reader_of(bench, "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nHERE/secret.mkv\n#EXT-X-ENDLIST\n")
)


@fault("19-playlist-of-an-address", "a.mkv: not a readable video")
def _(bench: Bench) -> list[str]:
    text = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n"
    return reader_of(bench, text, "a.mkv")


fault("19-list-of-files-to-join", "a.mp4: not a readable video")(
    lambda bench: reader_of(bench, "ffconcat version 1.0\nfile secret.mkv\n")
)


@fault("19-list-of-files-to-join-upscaled", "a.mp4: not a readable video")
def _(bench: Bench) -> list[str]:
    reader_of(bench, "ffconcat version 1.0\nfile secret.mkv\n")
    return upscale(bench, bench.path / "a.mp4")


fault("19-session-that-listens-to-the-network", "a.mp4: not a readable video")(
    lambda bench: reader_of(bench, "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=a\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n")
)


@fault("19-dash-manifest", "a.mkv: not a readable video")
def _(bench: Bench) -> list[str]:
    text = '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet><Representation '
    text += 'id="1" bandwidth="1"><BaseURL>file://HERE/secret.mkv</BaseURL></Representation></AdaptationSet></Period></MPD>'
    return reader_of(bench, text, "a.mkv")


@fault("19-protocol-in-the-name", "data.path=concat:", "no such file")
def _(bench: Bench) -> list[str]:
    write_y4m(bench.path / "secret.y4m", moving_pattern(20))
    return train("data=movies", f"data.path='concat:{bench.path}/secret.y4m'")


@fault("20-the-same-clip-in-train-and-test", "are also among the training frames", "remove the copies")
def _(bench: Bench) -> list[str]:
    (bench.path / "clips").mkdir()
    write_y4m(bench.path / "clips" / "a.y4m", moving_pattern(9))
    for copy in "bcd":
        shutil.copy(bench.path / "clips" / "a.y4m", bench.path / "clips" / f"{copy}.y4m")
    return train("data=movies", f"data.path={bench.path}/clips")


@fault("20-copies-that-were-encoded-again", "2 of 3 frames look like training frames", "p7.jpg and", "remove them", status=0)
def _(bench: Bench) -> list[str]:
    (bench.path / "pictures").mkdir()
    images = [gaussian_filter(np.random.default_rng(k).uniform(0, 255, (48, 48)), 3) for k in range(8)]
    images = [np.uint8(np.clip((image - image.mean()) * 5 + 128, 0, 255)) for image in images]
    for k, image in enumerate(images):
        Image.fromarray(image).save(bench.path / "pictures" / f"p{k}.png")
    for k in (0, 1):
        Image.fromarray(images[k]).resize((40, 44)).save(bench.path / "pictures" / f"p{7 + k}.jpg", quality=50)
    return train("data=images", f"data.path={bench.path}/pictures", "data.learn=7", "data.test=3")
