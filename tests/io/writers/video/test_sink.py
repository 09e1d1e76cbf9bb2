"""Videos through a network to videos: pictures, times, colours and audio of the result, and refusal at the start."""

from __future__ import annotations

import queue
import threading
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from tests.io.writers.video.fakes import Planes, decoded, enlarge, flat, nearest, noise, packets, write
from vsr.errors import UserError
from vsr.io.readers.video_stream import VideoStream
from vsr.io.writers.open import open_writer_pair

HEIGHT, WIDTH = 21, 35  # odd: chroma is rounded up
ONE = 2**16  # 1 in a display matrix


def keys(distance: np.ndarray) -> np.ndarray:
    d = abs(distance)
    return np.where(d <= 1, 1.5 * d**3 - 2.5 * d**2 + 1, np.where(d < 2, -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2, 0))


def enlarged_chroma(plane: np.ndarray, shape: tuple[int, ...], scale: int, chroma: tuple[int, int]) -> np.ndarray:
    """Cubic interpolation between the places of the samples; columns of 4:2:x lie on every other luma pixel."""
    out = plane.astype(np.float64)
    for axis, every, first in ((0, chroma[0], chroma[0] / 2), (1, chroma[1], 0.5)):
        # Wide mirrored surroundings instead of folded indices.
        wide = np.pad(out, [(8, 8) if a == axis else (0, 0) for a in (0, 1)], mode="symmetric")
        old = (np.arange(wide.shape[axis]) - 8) * every + first
        new = (np.arange(shape[axis]) * every + first) / scale
        weights = keys((new[:, None] - old[None]) / every)
        out = np.tensordot(weights, wide, (1, axis))
        out = out if axis == 0 else out.T
    return out


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv444p10le", "gray", "gray10le", "yuv411p"])
@pytest.mark.parametrize("scale", [2, 3])
def test_lossless_luma_is_the_network_s_and_chroma_is_bicubic(pixels: str, scale: int, tmp_path: Path) -> None:
    width = WIDTH // 4 * 4 if pixels == "yuv411p" else WIDTH
    frames = noise(pixels, HEIGHT, width, 5)
    source = write(tmp_path / "in.mkv", frames, pixels)
    enlarge(source, tmp_path / "out.mkv", scale=scale, block=2)
    top = 1023 if "10" in pixels else 255
    result = decoded(tmp_path / "out.mkv")
    assert len(result) == 5
    chroma = {"1": (1, 4), "0": (2, 2), "2": (1, 2), "4": (1, 1)}.get(pixels[5:6], (1, 1))
    for (_, planes), lr in zip(result, frames, strict=True):
        np.testing.assert_array_equal(planes[0], nearest(lr[0], scale))
        for got, small in zip(planes[1:], lr[1:], strict=True):
            expected = enlarged_chroma(small, got.shape, scale, chroma).clip(0, top)
            assert abs(got - expected).max() < 0.51
    with av.open(str(tmp_path / "out.mkv")) as file:
        stream = file.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("ffv1", pixels)
        assert (stream.height, stream.width) == (HEIGHT * scale, width * scale)


@pytest.mark.parametrize("name", ["out.mkv", "out.mp4", "out.mov"])
def test_rate_times_colours_and_shape_are_the_input_s(name: str, tmp_path: Path) -> None:
    source = write(
        tmp_path / "in.mp4",
        noise("yuv420p", 24, 32, 70, low=0.3, high=0.7),
        "yuv420p",
        "libx264",
        rate=Fraction(30000, 1001),
        colours=(2, 9, 9, 16),
        aspect=Fraction(8, 9),
        display=(0, -ONE, 0, ONE, 0, 0, 0, 0, 2**30),
        audio="aac",
    )
    enlarge(source, tmp_path / name, comment="made by fsrcnn")
    with av.open(str(tmp_path / name)) as out, av.open(str(source)) as file:
        stream, sound = out.streams.video[0], out.streams.audio[0]
        assert stream.average_rate == Fraction(30000, 1001)
        assert abs(stream.sample_aspect_ratio / Fraction(8, 9) - 1) < 0.01  # Matroska: in whole pixels of the screen
        assert sound.metadata["language"] == "eng"
        tags = {key.lower(): value for key, value in out.metadata.items()}
        assert (tags["title"], tags["comment"]) == ("ducks", "made by fsrcnn")
        for new, old in zip(out.decode(video=0), file.decode(video=0), strict=True):
            assert (new.color_range, new.colorspace, new.color_primaries, new.color_trc) == (2, 9, 9, 16)
            assert new.rotation == 90
            # Matroska counts milliseconds, and its first packet, which is of audio, stands at 0.
            assert abs(new.time - old.time) < (0.03 if name == "out.mkv" else 1e-9)
    assert packets(tmp_path / name, "audio") == packets(source, "audio")


def display(path: Path) -> list[int]:
    """The matrix by which a player turns and mirrors the frames."""
    with av.open(str(path)) as file:
        frame = next(file.decode(video=0))
        return next((np.frombuffer(data, np.int32).tolist() for data in frame.side_data if data.type.name == "DISPLAYMATRIX"), [])


@pytest.mark.parametrize("name", ["out.mkv", "out.mp4", "out.mov"])
@pytest.mark.parametrize("turn", [(-ONE, 0, 0, ONE), (ONE, 0, 0, -ONE), (0, ONE, ONE, 0), (0, ONE, -ONE, 0), (-ONE, 0, 0, -ONE)])
def test_mirrors_and_turns_are_shown_like_the_input(name: str, turn: tuple[int, int, int, int], tmp_path: Path) -> None:
    a, b, c, d = turn
    matrix = [a, b, 0, c, d, 0, 16 * ONE, 0, 2**30]
    source = write(tmp_path / "in.mp4", noise("yuv420p", 16, 16, 2), "yuv420p", "libx264", display=matrix)
    assert display(source) == matrix
    assert enlarge(source, tmp_path / name) == []
    shift = 0 if name == "out.mkv" else 32 * ONE  # Matroska has no shift; players place the picture themselves
    assert display(tmp_path / name) == [a, b, 0, c, d, 0, shift, 0, 2**30]


@pytest.mark.parametrize("skew", [(ONE, ONE // 2, 0, ONE), (ONE, 0, 0, 2 * ONE), (2 * ONE, 0, 0, 2 * ONE)])
def test_a_display_matrix_that_matroska_cannot_hold_is_announced(skew: tuple[int, int, int, int], tmp_path: Path) -> None:
    a, b, c, d = skew
    matrix = [a, b, 0, c, d, 0, 0, 0, 2**30]
    source = write(tmp_path / "in.mp4", noise("yuv420p", 16, 16, 2), "yuv420p", "libx264", display=matrix)
    (note,) = enlarge(source, tmp_path / "out.mkv")
    assert "type output=out.mp4 to keep it" in note
    assert enlarge(source, tmp_path / "out.mp4") == []
    assert display(tmp_path / "out.mp4") == matrix


@pytest.mark.parametrize(("audio", "name"), [("pcm_s16le", "out.mkv"), ("aac", "out.mp4"), ("flac", "out.mkv")])
def test_audio_packets_are_the_same_bytes_at_the_same_times(audio: str, name: str, tmp_path: Path) -> None:
    source = write(tmp_path / "in.mkv", noise("yuv420p", 16, 16, 30), "yuv420p", audio=audio)
    enlarge(source, tmp_path / name)
    assert packets(tmp_path / name, "audio") == packets(source, "audio")
    times = []
    for path in (source, tmp_path / name):
        with av.open(str(path)) as file:
            times.append([float(packet.pts * packet.time_base) for packet in file.demux(audio=0) if packet.size])
    np.testing.assert_allclose(times[1], times[0], atol=0.002)
    enlarge(source, tmp_path / "silent.mkv", audio=False)
    with av.open(str(tmp_path / "silent.mkv")) as file:
        assert [stream.type for stream in file.streams] == ["video"]


@pytest.mark.parametrize("name", ["out.mkv", "out.mp4"])
def test_a_variable_frame_rate_stays_as_it_is(name: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.integers(1, 200, 300)).tolist()
    frames = noise("yuv420p", 16, 16, 300, low=0.4, high=0.6)
    source = write(tmp_path / "in.mkv", frames, "yuv420p", tick=Fraction(1, 1000), times=times)
    enlarge(source, tmp_path / name, block=64)
    assert [round(time * 1000) for time, _ in decoded(tmp_path / name)] == times


@pytest.mark.parametrize("form", ["in.mkv", "in.mp4"])
@pytest.mark.parametrize("name", ["out.mkv", "out.mp4", "out.mov"])
@pytest.mark.parametrize("shown", [[500, 200, 3000], [40, 40, 40, 40, 1000], [2000]])
def test_slides_are_shown_as_long_as_in_the_input(form: str, name: str, shown: list[int], tmp_path: Path) -> None:
    times = [sum(shown[:n]) for n in range(len(shown))]
    frames = noise("yuv420p", 16, 16, len(shown), low=0.4, high=0.6)
    codec, tick = "ffv1" if form == "in.mkv" else "libx264", Fraction(1, 1000)
    options = {"bf": "0"} if codec == "libx264" else None
    source = write(tmp_path / form, frames, "yuv420p", codec, tick=tick, times=times, durations=shown, options=options)
    enlarge(source, tmp_path / name)
    enlarge(tmp_path / name, tmp_path / f"again_{name}")
    for path in (source, tmp_path / name, tmp_path / f"again_{name}"):
        with av.open(str(path)) as file:
            found = [(round(frame.time * 1000), round(frame.duration * frame.time_base * 1000)) for frame in file.decode(video=0)]
            assert found == list(zip(times, shown, strict=True))
            assert file.duration == 1000 * sum(shown)


def test_h264_is_close_and_reorders_frames_across_no_piece(tmp_path: Path) -> None:
    wave = [np.add.outer(np.arange(24), 3 * np.arange(32)) + 2 * n for n in range(300)]
    frames: list[Planes] = [
        [np.uint8(60 + y % 120), np.full((12, 16), 90, np.uint8), np.full((12, 16), 170, np.uint8)] for y in wave
    ]
    enlarge(write(tmp_path / "in.mkv", frames, "yuv420p"), tmp_path / "out.mp4", crf=1)
    result = decoded(tmp_path / "out.mp4")
    assert [time for time, _ in result] == [Fraction(n, 25) for n in range(300)]
    for (_, planes), lr in zip(result, frames, strict=True):
        assert abs(planes[0].astype(float) - nearest(lr[0], 2)).mean() < 1.5
        assert abs(planes[1].astype(float) - 90).max() <= 2
        assert abs(planes[2].astype(float) - 170).max() <= 2
    with av.open(str(tmp_path / "out.mp4")) as file:
        order = [(packet.dts, packet.pts, packet.is_keyframe) for packet in file.demux(video=0) if packet.size]
    assert [pts for _, pts, _ in order] != sorted(pts for _, pts, _ in order)
    assert all(before[0] < after[0] for before, after in pairwise(order))
    assert all(dts <= pts for dts, pts, _ in order)
    assert order[256][2]  # the second piece stands alone


def test_ten_bits_to_mp4_are_announced(tmp_path: Path) -> None:
    frames = flat("yuv420p10le", 16, 16, 3, (400, 600, 440))
    source = write(tmp_path / "in.mkv", frames, "yuv420p10le", colours=(1, 1, 1, 1))
    notes = enlarge(source, tmp_path / "out.mp4", crf=1)
    assert any("10 bits become 8" in note for note in notes)
    for _, planes in decoded(tmp_path / "out.mp4"):
        for plane, code in zip(planes, (100, 150, 110), strict=True):
            assert abs(plane.astype(int) - code).max() <= 1


def test_unsaid_colours_are_said_as_players_guess_them_for_the_input(tmp_path: Path) -> None:
    source = write(tmp_path / "in.mkv", noise("yuv420p", 288, 352, 1), "yuv420p")
    enlarge(source, tmp_path / "out.mkv", scale=4)  # 1152 lines would be taken for BT.709
    with av.open(str(tmp_path / "out.mkv")) as file:
        assert next(file.decode(video=0)).colorspace == 6


@pytest.mark.parametrize(("pixels", "name"), [("bgr0", "out.mkv"), ("gbrp10le", "out.mkv"), ("bgr0", "out.mp4")])
@pytest.mark.parametrize("channels", ["luma", "rgb"])
def test_colours_of_rgb_video_stay(pixels: str, name: str, channels: str, tmp_path: Path) -> None:
    codes = (200, 100, 50) if pixels == "bgr0" else (800, 400, 200)
    frames = flat("gbrp" if pixels == "bgr0" else pixels, 16, 24, 2, codes)
    source = write(tmp_path / "in.mkv", frames, pixels)
    enlarge(source, tmp_path / name, channels=channels, crf=1)
    with av.open(str(tmp_path / name)) as file:
        for frame in file.decode(video=0):
            if name == "out.mkv":
                planes = frame.to_ndarray(format="rgb24" if pixels == "bgr0" else pixels)
                assert (planes == np.array(codes)).all()
            else:
                shown = frame.to_ndarray(format="rgb24").astype(int)
                assert abs(shown - np.array(codes)).max() <= 3


@pytest.mark.parametrize("colours", [(1, 1, 1, 1), (2, 6, 6, 6), (1, 9, 9, 14)])
def test_colours_of_yuv_video_stay_through_an_rgb_network(colours: tuple[int, int, int, int], tmp_path: Path) -> None:
    codes = (120, 100, 150)
    source = write(tmp_path / "in.mkv", flat("yuv420p", 16, 24, 2, codes), "yuv420p", colours=colours)
    lr, sink = open_writer_pair(source, tmp_path / "out.mkv", scale=2, channels="rgb", identity={})
    with sink:
        for start, block in lr.blocks(8):
            assert block.shape == (2, 3, 16, 24)
            assert np.ptp(block.mean((0, 2, 3))) > 20  # R', G' and B', not three greys
            sink.write(start, nearest(block, 2))
        sink.finish()
    for _, planes in decoded(tmp_path / "out.mkv"):
        assert [(int(plane.min()), int(plane.max())) for plane in planes] == [(code, code) for code in codes]


@pytest.mark.parametrize(("form", "name"), [(".mp4", "out.mkv"), (".mkv", "out.mp4"), (".mov", "out.mov")])
def test_the_date_of_a_recording_stays(form: str, name: str, tmp_path: Path) -> None:
    plain = write(tmp_path / f"plain{form}", noise("yuv420p", 16, 16, 3), "yuv420p", "libx264")
    with av.open(str(plain)) as given, av.open(str(tmp_path / f"in{form}"), "w") as out:
        out.metadata["creation_time"] = "2020-02-03T04:05:06.000000Z"
        stream = out.add_stream_from_template(given.streams.video[0])
        for packet in given.demux():
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    assert enlarge(tmp_path / f"in{form}", tmp_path / name) == []
    enlarge(plain, tmp_path / f"none_{name}")
    with av.open(str(tmp_path / name)) as file, av.open(str(tmp_path / f"none_{name}")) as none:
        assert file.metadata["creation_time"] == "2020-02-03T04:05:06.000000Z"
        assert "creation_time" not in none.metadata


def test_subtitles_go_where_the_container_holds_them(tmp_path: Path) -> None:
    source = write(tmp_path / "in.mkv", noise("yuv420p", 16, 16, 10), "yuv420p", subtitles=True)
    assert packets(source, "subtitles") == [b"word 0", b"word 1"]
    assert enlarge(source, tmp_path / "out.mkv") == []
    assert packets(tmp_path / "out.mkv", "subtitles") == [b"word 0", b"word 1"]
    notes = enlarge(source, tmp_path / "out.mp4")
    assert notes == ["subtitle 1 (srt) is left out: .mp4 cannot hold it"]


def test_streams_that_are_not_copied_are_announced(tmp_path: Path) -> None:
    import av

    with av.open(str(tmp_path / "in.mp4"), "w") as container:
        streams = [container.add_stream(codec, rate=25) for codec in ("libx264", "libx264", "png")]
        for stream, pixels in zip(streams, ("yuv420p", "yuv420p", "rgb24"), strict=True):
            stream.height, stream.width, stream.pix_fmt = 48, 64, pixels
        streams[2].disposition = av.stream.Disposition.attached_pic
        for stream, count in zip(streams, (4, 4, 1), strict=True):
            for number in range(count):
                image = np.full((48, 64, 3), 60 + number, np.uint8)
                frame = av.VideoFrame.from_ndarray(image, "rgb24").reformat(format=stream.pix_fmt)
                frame.pts = number
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    only = "only audio, subtitles and, in .mkv, attachments are copied"
    second, cover = enlarge(tmp_path / "in.mp4", tmp_path / "out.mkv")
    assert second == f"video 1 (h264) of {tmp_path}/in.mp4 is left out: {only}"
    assert cover == f"the cover picture of {tmp_path}/in.mp4 is left out: {only}"


def test_lost_hdr10_data_are_announced(tmp_path: Path) -> None:
    import av

    if "libx265" not in av.codec.codecs_available:
        pytest.skip("no encoder that writes HDR10")
    with av.open(str(tmp_path / "in.mp4"), "w") as container:
        stream = container.add_stream("libx265", rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p10le"
        display = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"
        stream.codec_context.options = {
            "x265-params": f"log-level=none:hdr10=1:repeat-headers=1:master-display={display}:max-cll=1000,400"
        }
        for number in range(3):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 60 + number, np.uint8), "rgb24").reformat(
                format="yuv420p10le"
            )
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    notes = enlarge(tmp_path / "in.mp4", tmp_path / "out.mkv")
    assert notes == [f"{tmp_path}/in.mp4: the mastering display and the content light levels of HDR10 are left out"]


def test_chapters_and_fonts_go_along(tmp_path: Path) -> None:
    plain = write(tmp_path / "plain.mkv", noise("yuv420p", 16, 16, 10), "yuv420p", audio="pcm_s16le")
    source = tmp_path / "in.mkv"
    with av.open(str(plain)) as file, av.open(str(source), "w") as out:
        streams = [out.add_stream_from_template(stream, opaque=True) for stream in file.streams]
        out.add_attachment("a.ttf", "font/ttf", b"letters")
        chapter = {"id": 1, "start": 0, "end": 200, "time_base": Fraction(1, 1000), "metadata": {"title": "first"}}
        out.set_chapters([chapter])
        for packet in file.demux():
            if packet.size:
                packet.stream = streams[packet.stream_index]
                out.mux(packet)
    enlarge(source, tmp_path / "out.mkv")
    with av.open(str(tmp_path / "out.mkv")) as file:
        (font,) = file.streams.attachments
        assert (font.name, font.mimetype, font.data) == ("a.ttf", "font/ttf", b"letters")
        assert [chapter["metadata"]["title"] for chapter in file.chapters()] == ["first"]
    assert packets(tmp_path / "out.mkv", "audio") == packets(plain, "audio")


@pytest.mark.parametrize(("place", "codec", "name"), [("topleft", "libx264", "a.mp4"), ("center", "ffv1", "a.mkv")])
@pytest.mark.parametrize("output", ["out.mkv", "out.mp4"])
def test_chroma_that_does_not_lie_at_the_left_stays_where_it_is(
    place: str, codec: str, name: str, output: str, tmp_path: Path
) -> None:
    y, x = np.mgrid[:32, :32]
    down, right = {"topleft": (0, 0), "center": (0.5, 0.5)}[place]
    u = (60 + 2 * y + 3 * x).astype(np.uint8)  # a ramp over chroma samples
    planes = [np.full((64, 64), 120, np.uint8), u, np.full((32, 32), 128, np.uint8)]
    options = {"chroma_sample_location": place} | ({"crf": "1"} if codec == "libx264" else {})
    source = write(tmp_path / name, [planes] * 3, "yuv420p", codec, options=options)
    enlarge(source, tmp_path / output, crf=1)
    # A ramp by the place of the samples in luma pixels: 2 / 2 per row, 3 / 2 per column.
    y, x = np.mgrid[:64, :64]
    rows, columns = (2 * y + 1.0) / 2 - (0.5 + down), (2 * x + 0.5) / 2 - (0.5 + right)
    expected = 60 + rows + 1.5 * columns
    got = decoded(tmp_path / output)[0][1][1].astype(float)
    assert abs(got - expected)[8:-8, 8:-8].max() <= (0.51 if output == "out.mkv" and codec == "ffv1" else 1.6)
    assert abs((got - expected)[8:-8, 8:-8].mean()) < 0.2
    assert VideoStream(source).facts.siting == (down, right)
    assert VideoStream(tmp_path / output).facts.siting == (0.5, 0)


def test_grey_video_to_mp4_has_no_colour(tmp_path: Path) -> None:
    source = write(tmp_path / "in.mkv", flat("gray", 16, 16, 3, (77,)), "gray")
    enlarge(source, tmp_path / "out.mp4", crf=1)
    for _, planes in decoded(tmp_path / "out.mp4"):
        for plane, code in zip(planes, (77, 128, 128), strict=True):
            assert abs(plane.astype(int) - code).max() <= 1


def test_interlaced_video_is_announced(tmp_path: Path) -> None:
    options = {"x264-params": "interlaced=1"}
    source = write(tmp_path / "in.mp4", noise("yuv420p", 32, 32, 3), "yuv420p", "libx264", options=options)
    assert any("interlaced" in note for note in enlarge(source, tmp_path / "out.mkv"))


@pytest.mark.parametrize(
    ("form", "audio", "name", "frames"),
    [
        (".mkv", "pcm_s16le", "out.mkv", 25),
        (".mkv", "pcm_s16le", "out.mkv", [20, 35]),
        (".mp4", "aac", "out.mp4", [1, 30]),
        (".mp4", "libmp3lame", "out.mkv", [30, 50]),
    ],
)
def test_a_span_of_frames_keeps_their_sound_and_begins_at_the_first(
    form: str, audio: str, name: str, frames: int | list[int], tmp_path: Path
) -> None:
    first, stop = frames if isinstance(frames, list) else (0, frames)
    pictures, codec = noise("yuv420p", 16, 16, 50, low=0.4, high=0.6), "ffv1" if form == ".mkv" else "libx264"
    source = write(tmp_path / f"in{form}", pictures, "yuv420p", codec, audio=audio, options={"g": "8"})
    enlarge(source, tmp_path / name, frames=frames, crf=1)
    got, expected = decoded(tmp_path / name), decoded(source)[first:stop]
    assert len(got) == len(expected)
    for (at, planes), (before, lr) in zip(got, expected, strict=True):
        assert abs(at - got[0][0] - (before - expected[0][0])) <= 0.001
        assert abs(planes[0].astype(int) - nearest(lr[0], 2)).max() <= (0 if name == "out.mkv" else 3)
    sound, every = packets(tmp_path / name, "audio"), packets(source, "audio")
    begin = max(n for n in range(len(every)) if every[n : n + len(sound)] == sound)
    with av.open(str(source)) as before, av.open(str(tmp_path / name)) as after:
        times = [float(packet.pts * packet.time_base) for packet in before.demux(audio=0) if packet.size]
        first_sound = next(float(p.pts * p.time_base) for p in after.demux(audio=0) if p.size)
        assert after.duration / 1e6 == pytest.approx((stop - first) / 25, abs=0.06)
    assert times[begin] - first / 25 == pytest.approx(first_sound - float(got[0][0]), abs=0.003)  # in step, as before
    assert 0 <= float(got[0][0]) < 0.06
    assert begin == 0 or times[begin + 2] > first / 25 - 0.001
    assert len(every) == begin + len(sound) or times[begin + len(sound)] >= stop / 25 - 0.001


def test_subtitles_and_chapters_of_a_span_of_frames(tmp_path: Path) -> None:
    plain = write(tmp_path / "plain.mkv", noise("yuv420p", 16, 16, 50), "yuv420p", subtitles=True)  # 0 and 40 ms, for 30 ms
    with av.open(str(plain)) as given, av.open(str(tmp_path / "in.mkv"), "w") as out:
        streams = [out.add_stream_from_template(stream) for stream in given.streams]
        parts = [(0, 900), (900, 1500), (1500, 2000)]
        tick = Fraction(1, 1000)
        out.set_chapters([{"id": n, "start": a, "end": b, "time_base": tick, "metadata": {}} for n, (a, b) in enumerate(parts)])
        for packet in given.demux():
            if packet.size:
                packet.stream = streams[packet.stream_index]
                if packet.stream_index == 1:  # shown from 0 to 0.5 s, and from 0.8 to 1.3 s
                    packet.pts = packet.dts = packet.pts * 20
                    packet.duration = 500
                out.mux(packet)
    enlarge(tmp_path / "in.mkv", tmp_path / "out.mkv", frames=[25, 40])  # 1.0 to 1.6 s
    with av.open(str(tmp_path / "out.mkv")) as file:
        chapters = [tuple(float(chapter[key] * chapter["time_base"]) for key in ("start", "end")) for chapter in file.chapters()]
        shown = [(bytes(p), p.pts, p.duration) for p in file.demux(subtitles=0) if p.size]
    assert chapters == [(0, 0.5), (0.5, 0.6)]
    assert shown == [(b"word 1", 0, 300)]


@pytest.mark.parametrize("form", [".mp4", ".mkv", ".ts"])
def test_a_span_of_frames_that_a_video_does_not_have_is_refused(form: str, tmp_path: Path) -> None:
    source = write(tmp_path / f"in{form}", noise("yuv420p", 16, 16, 12, low=0.4, high=0.6), "yuv420p", "libx264")
    for frames, advice in (([5, 13], r"type frames=\[5,12\]"), ([20, 30], r"type frames=\[11,12\]")):
        with pytest.raises(UserError, match=rf"the frames {frames[0]} to {frames[1] - 1} are asked for, it has 12; {advice}"):
            enlarge(source, tmp_path / "out.mkv", frames=frames)
    assert [path.name for path in tmp_path.iterdir()] == [source.name]


@pytest.mark.parametrize(("audio", "cut"), [("libmp3lame", 0.7), ("aac", 0.3), ("aac", 1.2)])
def test_sound_that_an_edit_list_cuts_away_does_not_come_back(audio: str, cut: float, tmp_path: Path) -> None:
    frames = noise("yuv420p", 16, 16, 50, low=0.4, high=0.6)
    whole = write(tmp_path / "whole.mkv", frames, "yuv420p", "libx264", audio=audio, options={"g": "50", "bf": "0"})
    source = tmp_path / "in.mp4"
    with av.open(str(whole)) as file, av.open(str(source), "w") as out:
        streams = [out.add_stream_from_template(stream, opaque=True) for stream in file.streams]
        for packet in file.demux():
            if packet.size:
                packet.stream = streams[packet.stream_index]
                packet.pts, packet.dts = (at - round(cut / packet.time_base) for at in (packet.pts, packet.dts))
                out.mux(packet)
    shown = len(decoded(source))
    assert shown < 50
    for name in ("out.mkv", "out.mp4"):
        enlarge(source, tmp_path / name)
        assert len(decoded(tmp_path / name)) == shown
        with av.open(str(tmp_path / name)) as file:
            first = next(packet for packet in file.demux(audio=0) if packet.size and not packet.is_discard)
            ahead = float(decoded(tmp_path / name)[0][0] - first.pts * first.time_base)
            assert -0.001 < ahead < 0.055  # at most two packets, the first of which only serves to decode the second
            assert abs(file.duration / 1e6 - (2 - cut)) < 0.1
        sound = packets(tmp_path / name, "audio")
        assert sound == packets(source, "audio")[-len(sound) :]


def test_reading_and_writing_in_threads_of_their_own(tmp_path: Path) -> None:
    frames = noise("yuv420p", 16, 24, 60)
    source = write(tmp_path / "in.mkv", frames, "yuv420p")
    enlarge(source, tmp_path / "plain.mkv")
    lr, sink = open_writer_pair(source, tmp_path / "out.mkv", scale=2, channels="luma", identity={})
    read: queue.Queue[tuple[int, np.ndarray] | None] = queue.Queue(2)
    ready: queue.Queue[tuple[int, np.ndarray] | None] = queue.Queue(2)

    def reader() -> None:
        for block in lr.blocks(7):
            read.put(block)
        read.put(None)

    def writer() -> None:
        while (block := ready.get()) is not None:
            sink.write(*block)

    threads = [threading.Thread(target=work) for work in (reader, writer)]
    for thread in threads:
        thread.start()
    while (block := read.get()) is not None:
        ready.put((block[0], nearest(block[1], 2)))
    ready.put(None)
    for thread in threads:
        thread.join()
    with sink:
        sink.finish()
    for (_, got), (_, expected) in zip(decoded(tmp_path / "out.mkv"), decoded(tmp_path / "plain.mkv"), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(got, expected, strict=True))


def test_what_cannot_be_written_is_said_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = noise("yuv420p", 16, 16, 3)
    source = write(tmp_path / "in.mkv", frames, "yuv420p", audio="pcm_u8")
    lossless = write(tmp_path / "flac.mkv", frames, "yuv420p", audio="flac")
    odd = write(tmp_path / "odd.mkv", noise("yuv420p", 15, 16, 3), "yuv420p")
    (tmp_path / "there.mkv").write_text("a film")
    cases: list[tuple[Path, str, dict[str, object], str]] = [
        (source, "out.mp4", {}, r"\.mp4 cannot hold the pcm_u8 audio of .*in\.mkv; type output=.*out\.mkv or audio=false"),
        (lossless, "out.mov", {}, r"cannot hold the flac audio"),
        (odd, "out.mp4", {"scale": 3}, r"even sizes, SR is 45x48; type output=out\.mkv"),
        (source, "out.avi", {}, r"written to \.mkv .* \.mp4 or \.mov .* type output=out\.mkv"),
        (source, "in.mkv", {"overwrite": True}, r"is the input"),
        (source, "there.mkv", {}, r"exists; type overwrite=true"),
        (source, "out.mkv", {"crf": 60}, r"crf=60: must lie between 0"),
        (source, "out.mkv", {"preset": "fastr"}, r"preset=fastr; did you mean 'faste?r?"),
        (tmp_path / "missing.mp4", "out.mkv", {}, r"no such file"),
    ]
    for path, name, options, expected in cases:
        with pytest.raises(UserError, match=expected) as caught:
            enlarge(path, tmp_path / name, **options)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)
    monkeypatch.setattr(av.codec, "codecs_available", {"ffv1"})
    with pytest.raises(UserError, match="no libx264; type pip install"):
        enlarge(lossless, tmp_path / "out.mp4")
    assert {path.name for path in tmp_path.iterdir()} == {"in.mkv", "flac.mkv", "odd.mkv", "there.mkv"}


@pytest.mark.parametrize(
    ("pixels", "height", "width", "stored"),
    [("yuv411p", 12, 35, "yuv422p"), ("yuv410p", 14, 35, "yuv420p"), ("yuv410p", 16, 32, "yuv420p")],
)
def test_coarse_chroma_that_ffv1_cannot_store_becomes_finer(
    pixels: str, height: int, width: int, stored: str, tmp_path: Path
) -> None:
    rows, columns = 4 if pixels == "yuv410p" else 1, 4
    frames = noise(pixels, height, width, 2)
    ramp = np.tile(np.arange(-(-width // columns)) * 8 + 90, (-(-height // rows), 1)).astype(np.uint8)
    for planes in frames:
        planes[1] = ramp
    enlarge(write(tmp_path / "in.nut", frames, pixels, "rawvideo"), tmp_path / "out.mkv")
    for (_, planes), lr in zip(decoded(tmp_path / "out.mkv"), frames, strict=True):
        np.testing.assert_array_equal(planes[0], nearest(lr[0], 2))
        places = (2 * np.arange(planes[1].shape[1]) + 0.5) / 2  # in LR luma pixels; 8 codes in 4 of them, from the first one on
        assert abs(planes[1] - (90 + 2 * (places - 0.5)))[:, 10:-10].max() < 0.51
    with av.open(str(tmp_path / "out.mkv")) as file:
        assert file.streams.video[0].codec_context.pix_fmt == stored


@pytest.mark.parametrize(("height", "width"), [(1, 3), (5, 7), (33, 101)])
def test_odd_sizes_that_ffv1_cannot_cut_evenly(height: int, width: int, tmp_path: Path) -> None:
    frames = noise("yuv420p", height, width, 2)
    enlarge(write(tmp_path / "in.avi", frames, "yuv420p", "rawvideo"), tmp_path / "out.mkv", scale=3)
    for (_, planes), lr in zip(decoded(tmp_path / "out.mkv"), frames, strict=True):
        np.testing.assert_array_equal(planes[0], nearest(lr[0], 3))


def test_an_existing_file_is_replaced_when_that_is_asked_for(tmp_path: Path) -> None:
    source = write(tmp_path / "in.mkv", noise("gray", 16, 16, 3), "gray")
    (tmp_path / "out.mkv").write_text("a film")
    enlarge(source, tmp_path / "out.mkv", overwrite=True)
    assert len(decoded(tmp_path / "out.mkv")) == 3
    assert {path.name for path in tmp_path.iterdir()} == {"in.mkv", "out.mkv"}
