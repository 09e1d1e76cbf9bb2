"""TIFF files: values of any type, several pages as a movie, and pictures of codes as before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vsr.errors import UserError
from vsr.inference.inputs import is_movie_of_pixels
from vsr.io.readers.open import open_movie
from vsr.io.readers.pictures import read_picture, read_picture_facts
from vsr.io.writers.open import open_array_sink
from vsr.io.writers.template_from_movie import template_from_movie

tifffile = pytest.importorskip("tifffile")

T, Y, X = 7, 20, 24
FIELD = np.add.outer(100 * np.arange(T), np.add.outer(10 * np.arange(Y), np.arange(X))) - 400


@pytest.mark.parametrize("dtype", ["int16", "int32", "uint32", "float32", "float64", "uint16", "uint8"])
@pytest.mark.parametrize(
    "options", [{}, {"compression": "zlib"}, {"bigtiff": True}, {"byteorder": ">"}, {"imagej": True}], ids=str
)
def test_pages_are_frames_with_their_own_values(tmp_path: Path, dtype: str, options: dict[str, object]) -> None:
    if options == {"imagej": True} and dtype not in ("uint8", "uint16", "float32"):
        pytest.skip("ImageJ has no such type")
    values = (FIELD - (FIELD.min() if dtype.startswith("u") else 0)).clip(max=255 if dtype == "uint8" else None).astype(dtype)
    metadata = {"metadata": {"axes": "TYX"}} if options == {"imagej": True} else {}
    writer = {key: value for key, value in options.items() if key != "compression"}
    with tifffile.TiffWriter(tmp_path / "a.tif", **writer) as file:
        compression = {key: value for key, value in options.items() if key == "compression"}
        file.write(values, photometric="minisblack", **compression, **metadata)
    assert not is_movie_of_pixels(tmp_path / "a.tif")
    movie = open_movie(tmp_path / "a.tif", variable=None, axes=None)
    assert (movie.axes, movie.shape) == ("tyx", (1, 1, T, Y, X))
    np.testing.assert_array_equal(movie.read(0, 2, 6)[0], values[2:6].astype(np.float32))


@pytest.mark.parametrize("dtype", ["int16", "int32", "uint32"])
def test_one_page_of_integers_is_an_elevation_not_a_picture(tmp_path: Path, dtype: str) -> None:
    values = (FIELD[3] * 10 + 4000).astype(dtype)
    tifffile.imwrite(tmp_path / "dem.tif", values)
    picture = read_picture(tmp_path / "dem.tif", "luma")
    assert picture.is_float
    np.testing.assert_array_equal(picture.values[0], values)
    assert not is_movie_of_pixels(tmp_path / "dem.tif")
    movie = open_movie(tmp_path / "dem.tif", variable=None, axes=None)
    np.testing.assert_array_equal(movie.read(0, 0, 1)[0, 0], values)
    with pytest.raises(UserError, match="holds values, not codes of colours"):
        read_picture_facts(tmp_path / "dem.tif")


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_pictures_stay_pictures(tmp_path: Path, dtype: str) -> None:
    values = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (Y, X, 3), dtype=dtype)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb")
    assert is_movie_of_pixels(tmp_path / "a.tif")
    picture = read_picture(tmp_path / "a.tif", "rgb")
    scale = 255 / np.iinfo(dtype).max
    np.testing.assert_allclose(picture.values, values.transpose(2, 0, 1) * scale, atol=0.01)
    with tifffile.TiffWriter(tmp_path / "stack.tif") as file:
        file.write(np.stack([values] * 3), photometric="rgb")
    with pytest.raises(UserError, match="a movie of 3 pages, not a picture; type data=climate"):
        read_picture(tmp_path / "stack.tif", "rgb")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_orientation_turns_pictures_of_8_and_16_bits_alike(tmp_path: Path, dtype: str, orientation: int) -> None:
    from PIL import Image, ImageOps

    codes = np.random.default_rng(0).integers(0, 255, (Y, X, 3)).astype(np.uint8)
    stored = codes if dtype == "uint8" else codes.astype(np.uint16) * 257
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", extratags=[(274, "H", 1, orientation, True)])
    upright = Image.fromarray(codes)
    upright.getexif()[274] = orientation
    expected = np.asarray(ImageOps.exif_transpose(upright))
    facts = read_picture_facts(tmp_path / "a.tif")
    assert (facts.height, facts.width) == expected.shape[:2]
    np.testing.assert_allclose(read_picture(tmp_path / "a.tif", "rgb").values, expected.transpose(2, 0, 1), atol=0.01)


def test_an_output_of_many_pages(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", FIELD.astype(np.int16), photometric="minisblack")
    movie = open_movie(tmp_path / "a.tif", variable=None, axes=None)
    template = template_from_movie(movie, 2)
    assert template.notes == ("a is int16 in a.tif, float32 in the output",)
    frames = movie.read(0, 0, T).swapaxes(0, 1).repeat(2, 2).repeat(2, 3)
    with open_array_sink(tmp_path / "b.tif", template, identity={}) as sink:
        sink.write(0, frames[:3])
        sink.write(3, frames[3:])
        sink.finish()
    found = tifffile.imread(tmp_path / "b.tif")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, frames[:, 0])
    again = open_movie(tmp_path / "b.tif", variable=None, axes=None)
    np.testing.assert_array_equal(again.read(0, 1, 3)[0], frames[1:3, 0])


def test_depth_is_not_time_and_damage_is_one_line(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "z.tif", FIELD.astype(np.float32), photometric="minisblack", imagej=True, metadata={"axes": "ZYX"}
    )
    with pytest.raises(UserError, match=r"z \(7\) is neither time, row nor column; type 'data.select=\{z:0\}'"):
        open_movie(tmp_path / "z.tif", variable=None, axes=None)
    content = (tmp_path / "z.tif").read_bytes()
    for cut in (len(content) // 2, 200, 9):
        (tmp_path / "z.tif").write_bytes(content[:cut])
        with pytest.raises(UserError, match="z.tif"):
            open_movie(tmp_path / "z.tif", variable=None, axes="ntyx").read(0, 0, 7)
