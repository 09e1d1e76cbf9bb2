"""Reading videos: exact planes, true facts, any start, and one line for what cannot be used."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.fakes import moving_pattern, write_y4m
from tests.io.writers.video.fakes import av_frame, noise, write
from vsr.errors import UserError
from vsr.io.readers.video_stream import VideoStream

HEIGHT, WIDTH = 22, 35
ONE = 2**16  # 1 in a display matrix
TURNED = (0, -ONE, 0, ONE, 0, 0, 0, 64 * ONE, 2**30)  # a quarter counter-clockwise, and back into view


@pytest.mark.parametrize(
    ("pixels", "codec", "name"),
    [
        ("yuv420p", "ffv1", "a.mkv"),
        ("yuv420p", "rawvideo", "a.avi"),
        ("yuv422p", "ffv1", "a.mkv"),
        ("yuv444p", "ffv1", "a.mkv"),
        ("yuv420p10le", "ffv1", "a.mkv"),
        ("yuv444p10le", "ffv1", "a.mkv"),
        ("gray", "ffv1", "a.mkv"),
        ("gray16le", "ffv1", "a.mkv"),
        ("nv12", "rawvideo", "a.nut"),
        ("yuyv422", "rawvideo", "a.nut"),
        ("uyvy422", "rawvideo", "a.nut"),
        ("yvyu422", "rawvideo", "a.nut"),
        ("yuv411p", "ffv1", "a.mkv"),
        ("yuv411p", "rawvideo", "odd.nut"),
        ("yuv410p", "rawvideo", "odd.nut"),
        ("bgr0", "ffv1", "a.mkv"),
        ("gbrp10le", "ffv1", "a.mkv"),
    ],
)
def test_planes_are_exact(pixels: str, codec: str, name: str, tmp_path: Path) -> None:
    planar = {"nv12": "yuv420p", "bgr0": "gbrp"}.get(pixels, "yuv422p" if pixels.endswith("422") else pixels)
    every = {"yuv411p": 4, "yuv422p": 2}.get(planar, 1) if name != "odd.nut" else 1
    frames = noise(planar, HEIGHT, WIDTH - WIDTH % every, 3)
    stream = VideoStream(write(tmp_path / name, frames, pixels, codec))
    read = list(stream)
    assert [frame.number for frame in read] == [0, 1, 2]
    for frame, planes in zip(read, frames, strict=True):
        for got, expected in zip(frame.planes, planes, strict=True):
            np.testing.assert_array_equal(got, expected)
    codes = stream.facts.codes(read[0].planes[0])
    assert codes.dtype == np.float32
    np.testing.assert_allclose(codes, frames[0][0] * (255 / (2**stream.facts.bits - 1)), rtol=1e-6)


def test_facts_are_those_of_the_file(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.mp4",
        noise("yuv420p", 48, 64, 6),
        "yuv420p",
        "libx264",
        rate=Fraction(30000, 1001),
        colours=(2, 9, 9, 16),
        aspect=Fraction(8, 9),
        display=TURNED,
        audio="aac",
    )
    facts = VideoStream(path).facts
    assert (facts.height, facts.width, facts.kind, facts.bits, facts.chroma) == (48, 64, "yuv", 8, (2, 2))
    assert (facts.full, facts.matrix, facts.primaries, facts.transfer) == (True, 9, 9, 16)
    assert (facts.aspect, facts.display, facts.interlaced) == (Fraction(8, 9), TURNED, False)
    assert (facts.rate, facts.variable, facts.frames) == (Fraction(30000, 1001), False, 6)
    assert facts.beside == (("audio", "aac"),)


def test_times_of_a_variable_frame_rate_are_kept(tmp_path: Path) -> None:
    times, frames, tick = [0, 40, 80, 200, 210, 220, 700, 740], noise("yuv420p", 16, 16, 8), Fraction(1, 1000)
    for path in (
        write(tmp_path / "a.mkv", frames, "yuv420p", tick=tick, times=times),
        write(tmp_path / "a.mp4", frames, "yuv420p", "libx264", tick=tick, times=times),
    ):
        stream = VideoStream(path)
        assert [round(frame.pts * stream.facts.tick * 1000) for frame in stream] == times
    assert stream.facts.variable


def test_reading_from_any_frame_gives_the_same_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    luma = moving_pattern(60, 32, 48)
    frames = [[y, *planes[1:]] for y, planes in zip(luma, noise("yuv420p", 32, 48, 60, low=0.4, high=0.6), strict=True)]
    path = write(tmp_path / "a.mp4", frames, "yuv420p", "libx264", options={"g": "8", "bf": "3", "x264-params": "open-gop=1"})
    stream = VideoStream(path)
    whole = list(stream)
    assert len(whole) == 60
    starts: list[int | None] = []
    decode = VideoStream._decoded

    def spy(self: VideoStream, seek: int | None = None, number: int = 0) -> object:
        starts.append(seek)
        return decode(self, seek, number)

    monkeypatch.setattr(VideoStream, "_decoded", spy)
    for start in (1, 31, 40, 59, 60):
        for known in (None, (start - 1, whole[start - 1].pts), (start - 1, 12345)):
            part = list(stream.read(start, known))
            assert [(f.number, f.pts) for f in part] == [(f.number, f.pts) for f in whole[start:]]
            for got, expected in zip(part, whole[start:], strict=True):
                assert all(np.array_equal(a, b) for a, b in zip(got.planes, expected.planes, strict=True))
    # Only where a time that is known agrees, and the frame is far enough inside, is the beginning skipped.
    assert [seek for seek in starts if seek is not None] == [whole[n].pts for n in (16, 32, 48, 48)]
    span = VideoStream(path, frames=[20, 50])
    for start, known in ((0, None), (11, (10, whole[30].pts)), (25, None), (30, (29, whole[49].pts))):
        part = list(span.read(start, known))
        assert [(f.number + 20, f.pts) for f in part] == [(f.number, f.pts) for f in whole[20 + start : 50]]
        assert all(np.array_equal(f.planes[0], whole[f.number + 20].planes[0]) for f in part)
    with pytest.raises(UserError, match=r"the frames 50 to 69 are asked for, it has 60; type frames=\[50,60\]"):
        list(VideoStream(path, frames=[50, 70]))


def cut(path: Path, share: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def test_a_file_that_is_cut_short_is_refused_and_its_beginning_can_be_used(tmp_path: Path) -> None:
    frames = noise("yuv420p", 32, 48, 20)
    for path in (
        write(tmp_path / "a.mkv", frames, "yuv420p", audio="pcm_s16le"),
        write(tmp_path / "a.avi", frames, "yuv420p"),
        write_y4m(tmp_path / "a.y4m", np.stack([planes[0] for planes in frames])),
    ):
        cut(path, 0.5)
        with pytest.raises(UserError, match=r"cut short.* type frames=(\d+)") as caught:
            list(VideoStream(path))
        readable = int(str(caught.value).partition("type frames=")[2].split()[0])
        assert 5 <= readable <= 11
        assert len(list(VideoStream(path, frames=readable))) == readable
        with pytest.raises(UserError, match=rf"cut short.* type frames=\[2,{readable}\] to use these"):
            list(VideoStream(path, frames=[2, 15]))


def test_audio_that_lasts_longer_than_the_pictures_is_no_damage(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", noise("gray", 16, 16, 40), "gray", rate=Fraction(40), times=range(40), audio="pcm_s16le")
    longer = tmp_path / "b.mkv"
    with av.open(str(path)) as source, av.open(str(longer), "w") as out:
        streams = [out.add_stream_from_template(stream, opaque=True) for stream in source.streams]
        for packet in source.demux():
            if packet.size and not (packet.stream_index == 0 and packet.pts * packet.time_base > Fraction(1, 2)):
                packet.stream = streams[packet.stream_index]
                out.mux(packet)
    assert 19 <= len(list(VideoStream(longer))) <= 21


def test_frames_that_an_edit_list_hides_are_not_missed(tmp_path: Path) -> None:
    times, options = range(-10, 30), {"bf": "0", "g": "10"}
    path = write(tmp_path / "a.mp4", noise("yuv420p", 32, 32, 40), "yuv420p", "libx264", times=times, options=options)
    with av.open(str(path)) as file:
        shown = sum(1 for _ in file.decode(video=0))
        assert shown < file.streams.video[0].frames == 40
    assert len(list(VideoStream(path))) == shown


def test_what_is_no_video_is_refused_in_one_line(tmp_path: Path) -> None:
    text = tmp_path / "a.mp4"
    text.write_text("no video")
    empty = tmp_path / "b.mkv"
    empty.touch()
    sound = tmp_path / "c.mkv"
    with av.open(str(sound), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 2000), np.int16), format="s16", layout="stereo")
        frame.sample_rate = 48000
        out.mux(stream.encode(frame))
    clear = write(tmp_path / "d.mkv", noise("yuva420p", 16, 16, 2), "yuva420p")
    cases = {
        tmp_path / "missing.mp4": "no such file",
        text: "not a readable video",
        empty: "not a readable video",
        sound: "no video stream",
        clear: "yuva420p carries transparency",
    }
    for path, expected in cases.items():
        with pytest.raises(UserError, match=expected) as caught:
            VideoStream(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def tag_transparency(plain: Path, tagged: Path) -> None:
    """Copy a video and tag it as one with transparency beside its frames."""
    with av.open(str(plain)) as file, av.open(str(tagged), "w") as out:
        stream = out.add_stream_from_template(file.streams.video[0])
        stream.metadata["alpha_mode"] = "1"
        for packet in file.demux():
            if packet.size:
                packet.stream = stream
                out.mux(packet)


@pytest.mark.parametrize("codec", ["libvpx", "libvpx-vp9"])
@pytest.mark.parametrize("form", ["a.webm", "a.mkv"])
def test_transparency_beside_the_frames_is_refused(codec: str, form: str, tmp_path: Path) -> None:
    plain = write(tmp_path / f"plain_{form}", noise("yuv420p", 16, 16, 2), "yuv420p", codec)
    clear = tmp_path / form
    tag_transparency(plain, clear)
    assert len(list(VideoStream(plain))) == 2
    with pytest.raises(
        UserError, match=r"vp[89] carries transparency, which would be lost; .* ffmpeg -pix_fmt yuv420p NAME\.mp4"
    ):
        VideoStream(clear)


def test_a_stale_tag_of_transparency_refuses_no_other_codec(tmp_path: Path) -> None:
    plain, tagged = write(tmp_path / "a.mkv", noise("yuv420p", 16, 16, 2), "yuv420p"), tmp_path / "b.mkv"
    tag_transparency(plain, tagged)
    assert VideoStream(tagged).facts.bits == 8


def test_frames_that_are_too_large_are_not_decoded(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", noise("gray", 16, 16, 2), "gray")
    with pytest.raises(UserError, match="16x16 pixels are more than 255"):
        VideoStream(path, limit=255)


def test_a_change_of_size_says_at_which_frame(tmp_path: Path) -> None:
    data = io.BytesIO()
    for size in (16, 16, 24):
        encoder = av.CodecContext.create("mjpeg", "w")
        encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = size, 16, "yuvj420p", Fraction(1, 25)
        frame = av_frame(noise("yuvj420p", 16, size, 1)[0], "yuvj420p")
        for packet in [*encoder.encode(frame), *encoder.encode(None)]:
            data.write(bytes(packet))
    path = tmp_path / "a.mjpeg"
    path.write_bytes(data.getvalue())
    with pytest.raises(UserError, match=r"frame 2 is 16x24 .* type frames=2"):
        list(VideoStream(path))
    assert len(list(VideoStream(path, frames=2))) == 2
