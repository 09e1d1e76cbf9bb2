"""Figures and movies: what is drawn is what was given."""

from __future__ import annotations

import io
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import colormaps

from tests.evaluation.synthetic import BASELINES, sample, scored
from vsr.evaluation.report.figures import busiest_region, panels_figure, scores_over_time_figure, spectra_figure
from vsr.evaluation.report.movie import MovieFile, movie_side_by_side, report_movie
from vsr.evaluation.report.style import FrameColours, line_styles, style_png
from vsr.evaluation.scored import SampleFrames
from vsr.geometry import MapAxis

METHODS = ("bilinear", "bicubic", "$\\frac{x$", "_hidden")


def decoded(found: MovieFile) -> np.ndarray:
    import av

    with av.open(io.BytesIO(found.content)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        return np.array([frame.to_ndarray(format="rgb24") for frame in container.decode(stream)])


def test_panels_show_the_same_place_and_the_errors_of_the_window() -> None:
    given_sample = sample("test", methods=METHODS)
    figure = panels_figure(given_sample, field=True)
    grid = np.array(figure.axes[: 3 * 6]).reshape(3, 6)
    assert [axis.get_title() for axis in grid[0]] == ["LR", "bilinear", "bicubic", r"\$\frac{x\$", " _hidden", "HR"]
    hr, at = given_sample.hr[3], 3
    y, x, side = 8, 20, 16  # the rough patch is in rows 8 to 14, columns 20 to 28
    box = grid[0, 5].patches[0]
    assert abs(box.get_x() + 0.5 - x) <= side / 2
    assert abs(box.get_y() + 0.5 - y) <= side / 2
    zooms = [axis.images[0].get_array() for axis in grid[1]]
    assert [zoom.shape[:2] for zoom in zooms] == [(8, 8), *[(16, 16)] * 5]
    for column, (name, frames) in enumerate(given_sample.methods.items(), start=1):
        whole = grid[0, column].images[0].get_array()
        top, left = (int(place + 0.5) for place in (box.get_y(), box.get_x()))
        np.testing.assert_array_equal(zooms[column], whole[top : top + 16, left : left + 16])
        error = (frames[at] - hr)[0, 3:-3, 2:-2].astype(np.float64)
        assert grid[2, column].get_title() == f"error, {-10 * np.log10((error**2).mean()):.2f} dB", name
    low = grid[0, 0].patches[0]
    assert (low.get_x() + 0.5) * 2 == box.get_x() + 0.5  # the same place in LR
    assert not grid[2, 0].images
    assert not grid[2, 5].images
    assert len(style_png(figure)) > 10_000


def test_frames_with_coordinates_are_maps_in_the_unit_of_the_variable() -> None:
    """The rows of the file run north, its columns run east across the meridian of Greenwich."""
    lat, lon = MapAxis("latitude", "°", 40.0, 0.5), MapAxis("longitude", "°", 350.0, 0.5)
    plain = sample("test", methods=("bicubic",))
    keys = {"variable": "t", "unit": "K"}
    given_sample = replace(plain, axes=(lat, lon), bounds=(260.0, 300.0), unit="K", keys=keys, areas=np.arange(1.0, 25.0))
    upright = given_sample.upright()
    np.testing.assert_array_equal(upright.hr, given_sample.hr[..., ::-1, :])  # north is up
    np.testing.assert_array_equal(upright.methods["bicubic"], given_sample.methods["bicubic"][..., ::-1, :])
    assert upright.areas is not None
    assert upright.areas[0] == 24
    assert upright.axes == (MapAxis("latitude", "°", 51.5, -0.5), lon)
    assert plain.upright() is plain
    assert upright.upright().axes == upright.axes
    figure = panels_figure(upright, field=True)
    assert figure.get_suptitle() == "test: t (K), frame 43 of the split, x2"
    grid = np.array(figure.axes[:9]).reshape(3, 3)
    for axis, scale in ((grid[0, 0], 2), (grid[2, 1], 1)):
        rows, columns = axis.get_yticks(), axis.get_xticks()
        shown = [[float(label.get_text()) for label in labels] for labels in (axis.get_yticklabels(), axis.get_xticklabels())]
        np.testing.assert_allclose(((rows + 0.5) * scale - 0.5) * -0.5 + 51.5, shown[0])
        np.testing.assert_allclose((((columns + 0.5) * scale - 0.5) * 0.5 + 350) % 360, np.mod(shown[1], 360))
        assert len(rows) >= 2
        assert max(shown[1]) < 360
    assert (grid[0, 0].get_ylabel(), grid[0, 0].get_xlabel()) == ("latitude (°)", "longitude (°)")
    values, errors = (grid[2, column].child_axes[0] for column in (0, 2))
    assert values.get_ylim() == pytest.approx((260 + 40 * plain.hr.min(), 260 + 40 * plain.hr.max()))
    assert values.get_ylabel() == "t (K)"
    limit = FrameColours(plain, field=True).limit
    assert errors.get_ylim() == pytest.approx((-40 * limit, 40 * limit), rel=1e-2)
    assert errors.get_ylabel() == "error (K)"
    assert len(style_png(figure, dpi=30)) > 5000
    bare = panels_figure(plain, field=True)
    assert not any(axis.axison for axis in bare.axes[:9])
    assert not bare.axes[6].child_axes
    assert bare.axes[8].child_axes[0].get_ylabel() == "error (1 = the data range)"


def test_errors_share_one_scale_with_its_bar() -> None:
    given_sample = sample("test", methods=METHODS)
    look = FrameColours(given_sample, field=True)
    figure = panels_figure(given_sample, field=True)
    errors = np.abs(given_sample.methods["bicubic"] - given_sample.hr)[..., 3:-3, 2:-2]
    assert look.limit == pytest.approx(np.quantile(errors, 0.99))
    bar = figure.axes[17].child_axes[0]
    assert bar.get_ylim() == pytest.approx((-look.limit, look.limit))
    difference = (given_sample.methods["bilinear"] - given_sample.hr)[3, 0]
    expected = colormaps["RdBu_r"](0.5 + 0.5 * difference.astype(float) / look.limit, bytes=True)[..., :3]
    np.testing.assert_allclose(figure.axes[13].images[0].get_array(), expected, atol=1)


def test_fields_are_coloured_on_one_scale_and_pictures_shown_as_they_are() -> None:
    field = sample("test")
    look = FrameColours(field, field=True)
    ends = colormaps["viridis"]([0.0, 1.0], bytes=True)[:, :3]
    lowest, highest = (np.unravel_index(at, field.hr.shape) for at in (field.hr.argmin(), field.hr.argmax()))
    picture = look.picture(field.hr)
    np.testing.assert_array_equal([picture[(lowest[0], *lowest[2:])], picture[(highest[0], *highest[2:])]], ends)
    grey = FrameColours(field, field=False).picture(field.hr)
    np.testing.assert_array_equal(grey, np.round(field.hr * 255).astype(np.uint8).transpose(0, 2, 3, 1).repeat(3, axis=-1))
    rgb = sample("test", size=(2, 3, 24, 36))
    shown = FrameColours(rgb, field=False).picture(rgb.hr)
    np.testing.assert_array_equal(shown, np.round(rgb.hr * 255).astype(np.uint8).transpose(0, 2, 3, 1))
    first = FrameColours(rgb, field=True).picture(rgb.hr)  # of a field with several variables
    np.testing.assert_array_equal(first, FrameColours(replace(rgb, hr=rgb.hr[:, :1]), field=True).picture(rgb.hr[:, :1]))


@given(st.integers(0, 22), st.integers(0, 32), st.integers(4, 9), st.integers(0, 4))
@settings(deadline=None, max_examples=40)
def test_the_busiest_square_is_where_the_gradients_are_and_inside_the_window(y: int, x: int, side: int, cut: int) -> None:
    frame = np.zeros((1, 26, 36))
    frame[0, y : y + 4, x : x + 4] += np.indices((4, 4)).sum(0)[: 26 - y, : 36 - x] % 2
    top, left = busiest_region(frame, side, (cut, cut))
    assert cut <= top <= 26 - cut - side
    assert cut <= left <= 36 - cut - side

    def energy(row: int, column: int) -> float:
        gradient = np.square(np.gradient(frame[0])).sum(0)
        return float(gradient[row : row + side, column : column + side].sum())

    best = max(energy(row, column) for row in range(cut, 27 - cut - side) for column in range(cut, 37 - cut - side))
    assert energy(top, left) == pytest.approx(best, abs=1e-9)


def test_spectra_draw_what_was_measured_and_mark_the_nyquist_of_lr() -> None:
    methods = {one.method: one for one in scored("test", methods=(*BASELINES, "net"), segments=[4, 4])}
    figure = spectra_figure(methods, 4)
    assert figure is not None
    power, coherence, time = figure.axes
    assert [line.get_label() for line in power.get_lines()[:6]] == ["HR", *BASELINES, "net"]
    curve = methods["net"].curves["spectrum"]
    np.testing.assert_array_equal(power.get_lines()[5].get_ydata(), curve["sr"])
    np.testing.assert_array_equal(power.get_lines()[0].get_ydata(), curve["hr"])
    assert np.isnan(power.get_lines()[0].get_xdata()[0])  # wavenumber 0 has no place on a logarithmic axis
    np.testing.assert_array_equal(coherence.get_lines()[4].get_ydata(), curve["coherence"])
    for axis in (power, coherence):
        assert list(axis.get_lines()[-1].get_xdata()) == [0.125, 0.125]
        assert axis.get_xscale() == "log"
    np.testing.assert_array_equal(time.get_lines()[5].get_ydata(), methods["net"].curves["temporal_spectrum"]["sr"])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["HR", *BASELINES, "net"]


@pytest.mark.parametrize("least", [1e-16, 1e-13])  # of HR; its rounding floor is 1e-14
def test_spectra_shade_what_is_only_rounding_of_hr(least: float) -> None:
    [one] = scored("test", methods=("net",), segments=[4])
    curve = one.curves["spectrum"]
    near = curve | {"hr": np.geomspace(1, least, 17), "sr": np.geomspace(1, 1e-12, 17)}
    figure = spectra_figure({"net": replace(one, curves={"spectrum": near})}, None)
    assert figure is not None
    power = figure.axes[0]
    [shade] = power.patches
    assert shade.get_label() == "rounding of HR"
    assert shade.get_y() + shade.get_height() == pytest.approx(1e-14)
    assert power.get_ylim()[0] == pytest.approx(shade.get_y()) or least < 1e-14
    assert any(list(line.get_ydata()) == [1e-14, 1e-14] for line in power.get_lines())
    far = spectra_figure({"net": replace(one, curves={"spectrum": curve})}, None)
    assert far is not None
    assert not far.axes[0].patches
    assert [text.get_text() for text in far.axes[0].texts] == [" rounding of HR: 1e-14, far below"]


def test_spectra_of_what_was_not_measured_are_left_out() -> None:
    [one] = scored("test", methods=("net",), segments=[4])
    assert spectra_figure({"net": replace(one, curves={})}, 2) is None
    space = spectra_figure({"net": replace(one, curves={"spectrum": one.curves["spectrum"]})}, None)
    time = spectra_figure({"net": replace(one, curves={"temporal_spectrum": one.curves["temporal_spectrum"]})}, 2)
    assert space is not None
    assert time is not None
    assert (len(space.axes), len(time.axes)) == (2, 1)
    assert len(style_png(space)) > 5000


def test_scores_over_time_stop_at_the_borders_of_segments() -> None:
    methods = {one.method: one for one in scored("test", methods=METHODS, segments=[5, 9, 4])}
    figure = scores_over_time_figure(methods)
    assert figure is not None
    [axis] = figure.axes
    curves, borders = axis.get_lines()[:4], axis.get_lines()[4:]
    assert [line.get_xdata()[0] for line in borders] == [4.5, 13.5]
    for line, one in zip(curves, methods.values(), strict=True):
        x, y = line.get_xdata(), line.get_ydata()
        whole = x == np.round(x)
        np.testing.assert_array_equal(x[whole], np.arange(18))
        np.testing.assert_array_equal(y[whole], one.frames["psnr"])
        assert list(x[~whole]) == [4.5, 13.5]
        assert np.isnan(y[~whole]).all()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["bilinear", "bicubic", r"\$\frac{x\$", " _hidden"]
    assert len(style_png(figure)) > 5000
    assert scores_over_time_figure({"net": replace(methods["bicubic"], frames={})}) is None


def test_pictures_are_points_as_they_have_no_neighbours_in_time() -> None:
    methods = {one.method: one for one in scored("photographs", methods=("bicubic", "net"), segments=[1] * 12)}
    figure = scores_over_time_figure(methods)
    assert figure is not None
    assert len(figure.axes[0].get_lines()) == 2
    assert {line.get_linestyle() for line in figure.axes[0].get_lines()} == {"None"}


def test_no_two_methods_are_drawn_alike() -> None:
    baselines = ["nearest", "bilinear", "bicubic", "bicubic+projection", "linear", "linear (other)", "linear (third)"]
    found = line_styles([*baselines, *map(str, range(14))], baselines)
    assert len({str(sorted(style.items(), key=str)) for style in found.values()}) == 21


def test_methods_can_be_told_apart() -> None:
    found = line_styles([*BASELINES, "a", "b", "c", "d", "e", "f"], BASELINES)
    assert len({(str(style["linestyle"]), style["color"]) for style in found.values()}) == 10
    assert {found[name]["linestyle"] for name in "abcdef"} == {"-"}


@pytest.mark.parametrize(
    ("size", "scale", "field"), [((6, 1, 24, 36), 2, True), ((30, 1, 33, 39), 3, False), ((3, 3, 36, 44), 4, False)], ids=str
)
def test_movies_come_back_with_their_frames_and_colours(size: tuple[int, int, int, int], scale: int, field: bool) -> None:
    given_sample = sample("test", methods=("nearest", "bicubic", "a"), scale=scale, size=size)
    found = report_movie(given_sample, field=field, baselines=BASELINES)
    assert found is not None
    frames, _ = movie_side_by_side(given_sample, field=field, baselines=BASELINES)
    back = decoded(found)
    assert (found.suffix, found.media, len(back)) == (".mp4", "video/mp4", min(24, size[0]))
    assert back.shape == frames.shape
    assert back.shape[1] % 2 == back.shape[2] % 2 == 0
    assert np.abs(back.astype(np.int16) - frames).mean() < 6  # compressed, at half the resolution in colour


def test_a_movie_is_lr_bicubic_the_networks_and_hr_pixel_by_pixel() -> None:
    given_sample = sample("test", methods=("nearest", "bicubic", "a", "b"))
    frames, note = movie_side_by_side(given_sample, field=True, baselines=BASELINES)
    look = FrameColours(given_sample, field=True)
    factor = 7  # 36 pixels become 252
    height, width = 24 * factor, 36 * factor
    top, lefts = 24, [6 + column * (width + 6) for column in range(5)]
    assert frames.shape[2] == lefts[-1] + width + 6
    shown = [frames[:, top : top + height, left : left + width] for left in lefts]

    def enlarged(pictures: np.ndarray, times: int) -> np.ndarray:
        return np.kron(pictures, np.ones((1, times, times, 1), np.uint8))

    np.testing.assert_array_equal(shown[0], enlarged(look.picture(given_sample.lr), 2 * factor))
    for panel, name in zip(shown[1:4], ("bicubic", "a", "b"), strict=True):
        np.testing.assert_array_equal(panel, enlarged(look.picture(given_sample.methods[name]), factor))
    np.testing.assert_array_equal(shown[4], enlarged(look.picture(given_sample.hr), factor))
    second = frames[:, top + height + 6 : top + 2 * height + 6, lefts[2] : lefts[2] + width]
    np.testing.assert_array_equal(second, enlarged(look.error(given_sample.methods["a"], given_sample.hr), factor))
    assert note == "frames 40 to 45 of test; below, the errors"
    titles = frames[0, :24]
    assert all((titles[:, left : left + width] < 128).any() for left in lefts)  # something is written above each


def test_movies_of_files_with_coordinates_have_map_axes_and_a_colour_bar_in_the_unit() -> None:
    plain = sample("test", methods=("bicubic", "net"))
    axes = MapAxis("latitude", "°", 51.5, -0.5), MapAxis("longitude", "°", 350.0, 0.5)
    mapped = replace(plain, axes=axes, bounds=(260.0, 300.0), unit="K")
    frames, _ = movie_side_by_side(mapped, field=True, baselines=BASELINES)
    bare, _ = movie_side_by_side(plain, field=True, baselines=BASELINES)
    height, width, left, below = 24 * 7, 36 * 7, 58, 36
    look = FrameColours(mapped, field=True)
    for column, frame in ((1, mapped.methods["bicubic"]), (3, mapped.hr)):
        panel = frames[:, 24 : 24 + height, left + column * (width + 6) :][:, :, :width]
        np.testing.assert_array_equal(panel, np.kron(look.picture(frame), np.ones((1, 7, 7, 1), np.uint8)))
    numbers = frames[0, 24 + height + 2 : 24 + height + below, left : left + width]
    assert (numbers < 128).any()  # longitudes below LR
    assert (frames[0, 24 : 24 + height, : left - 2] < 128).any()  # latitudes left of it
    bar = frames[0, 24 + height + below :, left + 3 * (width + 6) :]
    ends = colormaps["viridis"]([0.0, 1.0], bytes=True)[:, :3].astype(int)
    assert all((np.abs(bar.astype(int) - end).max(-1) < 8).any() for end in ends)
    assert not (bare[0, 24 + height + 6 :, 6 + 3 * (width + 6) :] < 250).any()  # without physical values there is no such bar


def test_large_frames_are_cut_not_shrunk() -> None:
    large = sample("test", methods=("bicubic", "net"), scale=4, size=(2, 1, 400, 720))
    frames, note = movie_side_by_side(large, field=False)
    assert "360x360 of 400x720 pixels" in note
    assert frames.shape[1:3] == (24 + 2 * 366 + 36, 6 + 4 * 366)
    panel = frames[0, 24 : 24 + 360, -366:-6, 0]
    grey = FrameColours(large, field=False).picture(large.hr)[0, ..., 0]
    places = [(y, x) for y in range(0, 41, 4) for x in range(0, 361, 4) if np.array_equal(grey[y : y + 360, x : x + 360], panel)]
    assert places  # a piece of HR on the grid of LR


@pytest.mark.parametrize("width", range(33, 60, 6))
def test_sizes_of_movies_are_even_whatever_the_panels(width: int) -> None:
    frames, _ = movie_side_by_side(sample("test", methods=("net",), scale=3, size=(2, 1, 27, width)), field=True)
    assert frames.shape[1] % 2 == frames.shape[2] % 2 == 0


def test_still_samples_have_no_movie() -> None:
    assert report_movie(sample("test", size=(1, 1, 24, 36)), field=True) is None


def test_without_av_a_movie_is_an_animated_png(monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    monkeypatch.setitem(sys.modules, "av", None)
    given_sample: SampleFrames = sample("test")
    found = report_movie(given_sample, field=True)
    assert found is not None
    assert (found.suffix, found.media) == (".png", "image/png")
    frames, _ = movie_side_by_side(given_sample, field=True)
    with Image.open(io.BytesIO(found.content)) as image:
        assert image.n_frames == 6
        image.seek(4)
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), frames[4])
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError):
        report_movie(given_sample, field=True)
