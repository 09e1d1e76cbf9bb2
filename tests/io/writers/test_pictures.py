"""Pictures through a network to pictures: luma, colour, transparency, depth, names, and runs that go on."""

from __future__ import annotations

import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from skimage.color import rgb2ycbcr, ycbcr2rgb

from tests.io.writers.video.fakes import decoded, enlarge, nearest, noise, write
from vsr.degradations.resize import resize_bicubic_up
from vsr.errors import UserError
from vsr.io.readers.pictures import read_picture, read_picture_facts
from vsr.io.writers.open import open_writer_pair
from vsr.io.writers.pictures import PictureSink, open_picture_pair

HEIGHT, WIDTH = 12, 17


def smooth(channels: int, seed: int = 0, top: int = 255) -> np.ndarray:
    """(H, W, channels): colours that change slowly, so that enlarging makes no new extremes."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] / 10
    phase = np.random.default_rng(seed).uniform(0, 6, channels)
    waves = 0.5 + 0.3 * np.sin(y[..., None] + phase) * np.cos(x[..., None] + phase)
    return np.rint(top * waves).astype(np.uint16 if top > 255 else np.uint8)


def bicubic(plane: np.ndarray, scale: int = 2) -> np.ndarray:
    return resize_bicubic_up(torch.from_numpy(plane.astype(np.float64))[None, None], scale)[0, 0].numpy()


def expected_colours(rgb: np.ndarray) -> np.ndarray:
    """Nearest luma, bicubic chroma, by scikit-image's BT.601; 0..255."""
    ycbcr = rgb2ycbcr(rgb / 255.0)
    planes = [nearest(ycbcr[..., 0], 2), bicubic(ycbcr[..., 1]), bicubic(ycbcr[..., 2])]
    return 255 * ycbcr2rgb(np.stack(planes, -1))


def test_colour_with_a_luma_network(tmp_path: Path) -> None:
    rgb = smooth(3)
    Image.fromarray(rgb).save(tmp_path / "a.png")
    enlarge(tmp_path / "a.png", tmp_path / "b.png")
    got = np.asarray(Image.open(tmp_path / "b.png"))
    assert got.shape == (2 * HEIGHT, 2 * WIDTH, 3)
    assert abs(got - expected_colours(rgb)).max() < 0.6


def test_the_network_sees_the_luma_that_it_was_trained_on(tmp_path: Path) -> None:
    Image.fromarray(smooth(3)).save(tmp_path / "a.png")
    source, sink = open_picture_pair(tmp_path / "a.png", tmp_path / "b.png", scale=2, channels="luma", identity={})
    sink.close()
    ((start, block),) = source.blocks(4)
    assert (start, block.shape, block.dtype) == (0, (1, 1, HEIGHT, WIDTH), np.float32)
    np.testing.assert_allclose(block[0], read_picture(tmp_path / "a.png", "luma").values, atol=1e-4)


@pytest.mark.parametrize("channels", ["luma", "rgb"])
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "CMYK", "1"])
def test_kinds_of_pictures(channels: str, mode: str, tmp_path: Path) -> None:
    name = "a.tif" if mode == "CMYK" else "a.png"
    Image.fromarray(smooth(4)).convert("RGBA" if mode == "RGBA" else "RGB").convert(mode).save(tmp_path / name)
    if mode in ("LA", "RGBA"):
        image = Image.open(tmp_path / name)
        image.putalpha(Image.fromarray(smooth(4)[..., 3]))
        image.save(tmp_path / name)
    enlarge(tmp_path / name, tmp_path / "b.png", channels=channels)
    image, before = Image.open(tmp_path / "b.png"), Image.open(tmp_path / name)
    assert image.mode == {"P": "RGB", "CMYK": "RGB", "1": "L"}.get(mode, mode)
    assert image.size == (2 * WIDTH, 2 * HEIGHT)
    if mode in ("LA", "RGBA"):
        assert abs(np.asarray(image)[..., -1] - bicubic(smooth(4)[..., 3])).max() < 0.51
    if channels == "rgb" or mode in ("L", "LA", "1"):
        plain = "L" if mode in ("L", "LA", "1") else "RGB"
        colours = np.asarray(before.convert(plain)).astype(int)
        got = np.asarray(image.convert(plain)).astype(int)
        np.testing.assert_array_equal(got, colours.repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("colours", [1, 3, 4])
def test_sixteen_bits_keep_their_depth(suffix: str, colours: int, tmp_path: Path) -> None:
    deep = smooth(colours, top=65535)
    if colours == 1:
        Image.fromarray(deep[..., 0]).save(tmp_path / f"a{suffix}")
    else:
        tifffile.imwrite(tmp_path / "a.tif", deep, photometric="rgb", extrasamples=[2] if colours == 4 else [])
        if suffix == ".png":
            enlarge(tmp_path / "a.tif", tmp_path / "big.png", channels="rgb")  # which Pillow could not write
            assert abs(deep_values(tmp_path / "big.png")[::2, ::2, :3] - deep[..., :3].astype(float)).max() <= 1
            return
    enlarge(tmp_path / f"a{suffix}", tmp_path / f"b{suffix}", channels="rgb")
    got = deep_values(tmp_path / f"b{suffix}").reshape(2 * HEIGHT, 2 * WIDTH, -1)
    assert got.shape[2] == colours
    assert abs(got[::2, ::2, : min(3, colours)] - deep[..., :3].astype(float)).max() <= 1
    if colours == 4:
        assert abs(got[..., 3] - bicubic(deep[..., 3])).max() < 2


def deep_values(path: Path) -> np.ndarray:
    if path.suffix == ".tif":
        return tifffile.imread(path).astype(float)
    values = read_picture(path, "rgb").values.transpose(1, 2, 0) * 257.0
    grey = Image.open(path).mode.startswith("I")
    return values[..., :1] if grey else values


def test_a_folder_keeps_its_names_and_order(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    pictures = {}
    for number, name in enumerate(["f10.png", "f9.jpg", "f2.tif", "f11.bmp"]):
        pictures[name] = Image.fromarray(smooth(1, number)[..., 0])
        pictures[name].save(tmp_path / "in" / name, **({"quality": 100} if name.endswith("jpg") else {}))
    source, sink = open_picture_pair(tmp_path / "in", tmp_path / "out", scale=2, channels="luma", identity={})
    assert [file.name for file in source.files] == ["f2.tif", "f9.jpg", "f10.png", "f11.bmp"]
    with sink:
        for start, block in source.blocks(3):
            sink.write(start, nearest(block, 2))
        assert not (tmp_path / "out").exists()
        sink.finish()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["f10.png", "f11.png", "f2.tif", "f9.png"]
    for frames, names in ((1, ["f2.tif"]), ([1, 3], ["f10.png", "f9.png"]), ([3, 4], ["f11.png"])):
        enlarge(tmp_path / "in", tmp_path / "some", frames=frames, overwrite=True)
        assert sorted(path.name for path in (tmp_path / "some").iterdir()) == names
        shutil.rmtree(tmp_path / "some")
    with pytest.raises(UserError, match=r"in: the frames 2 to 5 are asked for, it has 4; type frames=\[2,4\]"):
        enlarge(tmp_path / "in", tmp_path / "some", frames=[2, 6])
    for name, picture in pictures.items():
        written = tmp_path / "out" / (name if name.endswith(("png", "tif")) else f"{name[:-4]}.png")
        difference = np.asarray(Image.open(written)).astype(int) - nearest(np.asarray(picture), 2)
        assert abs(difference).max() <= (3 if name.endswith("jpg") else 0)


@pytest.mark.parametrize(("channels", "deep"), [("rgb", False), ("luma", False), ("rgb", True), ("grey", False), ("grey", True)])
def test_a_video_becomes_numbered_pictures_and_a_video_again(channels: str, deep: bool, tmp_path: Path) -> None:
    pixels = {"grey": "gray", "rgb": "gbrp" if deep else "bgr0", "luma": "yuv444p"}[channels] + "16le" * deep
    frames = noise("gbrp" if pixels == "bgr0" else pixels, HEIGHT, WIDTH, 5, low=0.4, high=0.6)
    source = write(tmp_path / "in.mkv", frames, pixels, audio="pcm_s16le", colours=(2, 1, 1, 1) if channels == "luma" else None)
    network = "luma" if channels == "grey" else channels
    notes = enlarge(source, tmp_path / "frames", channels=network, frames=[2, 5])
    (note,) = [note for note in notes if "pictures hold no times, sound" in note]
    assert note.endswith("; fps=25 makes a video of the pictures again")
    files = sorted((tmp_path / "frames").iterdir())
    assert [file.name for file in files] == ["000002.png", "000003.png", "000004.png"]
    assert [read_picture_facts(file).deep for file in files] == [deep] * 3
    for file, planes in zip(files, frames[2:], strict=True):
        got = read_picture(file, "luma" if channels == "grey" else "rgb").values * (257 if deep else 1)
        if channels == "luma":  # full range, BT.709
            y, u, v = planes[0].astype(float), *(bicubic(plane.astype(float)) - 128 for plane in planes[1:])
            y = nearest(y, 2)
            expected = np.stack([y + 1.5748 * v, y - 0.1873 * u - 0.4681 * v, y + 1.8556 * u])
            assert abs(got - expected).max() < 0.6
        else:
            np.testing.assert_allclose(got, np.stack([nearest(plane, 2) for plane in planes]), atol=0.01)
    notes = enlarge(tmp_path / "frames", tmp_path / "again.mkv", channels=network, fps=Fraction(30000, 1001))
    assert notes == []
    with av.open(str(tmp_path / "again.mkv")) as file:
        assert file.streams.video[0].average_rate == Fraction(30000, 1001)
        assert (file.streams.video[0].width, len(file.streams)) == (4 * WIDTH, 1)
    again = decoded(tmp_path / "again.mkv")
    assert [round(float(at) * 30000 / 1001, 1) for at, _ in again] == [0, 1, 2]
    for (_, planes), file in zip(again, files, strict=True):
        got = read_picture(file, "luma" if channels == "grey" else "rgb").values * (257 if deep else 1)
        if channels != "luma":
            np.testing.assert_array_equal(planes, nearest(np.rint(got), 2))


@pytest.mark.parametrize("name", ["out.mkv", "out.mp4"])
def test_what_a_video_of_pictures_keeps_and_loses_is_said(name: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    exif = Image.Exif()
    exif[274] = 6  # to be turned clockwise
    for number in range(3):
        picture = Image.fromarray(smooth(4, number)[..., : 4 if number == 1 else 3])
        picture.save(tmp_path / "in" / f"{number}.png", exif=exif.tobytes(), icc_profile=b"profile" * 40)
    notes = enlarge(tmp_path / "in", tmp_path / name, fps=Fraction(10), frames=[1, 3])
    assert [note.split(" of the pictures")[0].split(": the ")[1] for note in notes] == ["transparency", "colour profile"]
    enlarge(tmp_path / name, tmp_path / "frames", scale=2)  # turned upright
    assert [Image.open(file).size for file in sorted((tmp_path / "frames").iterdir())] == [(4 * HEIGHT, 4 * WIDTH)] * 2
    got = np.asarray(Image.open(tmp_path / "frames" / "000000.png")).astype(float)[2::4, 2::4]
    assert abs(np.rot90(got) - smooth(4, 1)[..., :3]).max() < 30
    assert abs(np.rot90(got) - smooth(4, 1)[..., :3]).mean() < 5
    exif[274] = 3
    Image.fromarray(smooth(3)).save(tmp_path / "in" / "3.png", exif=exif.tobytes())
    with pytest.raises(UserError, match=r"3\.png: EXIF turns it unlike 0\.png"):
        enlarge(tmp_path / "in", tmp_path / "b.mkv", fps=Fraction(10))


def test_numbered_pictures_of_a_video_go_on_after_a_stop(tmp_path: Path) -> None:
    source = write(tmp_path / "in.mkv", noise("yuv420p", HEIGHT, WIDTH, 6), "yuv420p")
    options: dict[str, object] = {"scale": 2, "channels": "luma", "identity": {"network": "nearest"}}
    lr, sink = open_writer_pair(source, tmp_path / "out", **options)  # type: ignore[arg-type]
    start, block = next(lr.blocks(4))
    sink.write(start, nearest(block, 2))
    sink.close()
    with pytest.raises(UserError, match="another frames"):
        enlarge(source, tmp_path / "out", frames=5)
    enlarge(source, tmp_path / "out")
    enlarge(source, tmp_path / "whole")
    assert [file.name for file in sorted((tmp_path / "out").iterdir())] == [f"00000{n}.png" for n in range(6)]
    for file in (tmp_path / "out").iterdir():
        assert file.read_bytes() == (tmp_path / "whole" / file.name).read_bytes()
    (tmp_path / "whole" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"whole: holds other files, notes\.txt for example"):
        enlarge(source, tmp_path / "whole", overwrite=True)


def test_orientation_and_profile_go_along(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6  # to be turned by a viewer
    profile = b"profile" * 40
    Image.fromarray(smooth(3)).save(tmp_path / "a.jpg", exif=exif.tobytes(), icc_profile=profile)
    enlarge(tmp_path / "a.jpg", tmp_path / "b.png")
    image = Image.open(tmp_path / "b.png")
    assert image.size == (2 * WIDTH, 2 * HEIGHT)
    assert image.getexif()[274] == 6
    assert image.info["icc_profile"] == profile
    deep = smooth(3, top=65535)
    tifffile.imwrite(tmp_path / "d.tif", deep, photometric="rgb", iccprofile=profile)
    for name in ("d2.tif", "d2.png"):
        enlarge(tmp_path / "d.tif", tmp_path / name)
        assert Image.open(tmp_path / name).info["icc_profile"] == profile


def test_a_run_that_stopped_goes_on(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(7):
        Image.fromarray(smooth(3, number)).save(tmp_path / "in" / f"{number}.png")

    def pair() -> tuple[object, PictureSink]:
        return open_picture_pair(tmp_path / "in", tmp_path / "out", scale=2, channels="luma", identity={"network": 1})

    source, sink = pair()
    for start, block in source.blocks(2):  # type: ignore[attr-defined]
        sink.write(start, nearest(block, 2))
        if start == 2:
            break
    # As after a kill in the middle of the next file.
    (tmp_path / ".out.part" / "4.png").write_bytes(b"half")
    sink.close()
    source, sink = pair()
    assert sink.done == 4
    sink.close()
    enlarge_rest = enlarge(tmp_path / "in", tmp_path / "whole")
    assert enlarge_rest == []
    source, sink = pair()
    with sink:
        for start, block in source.blocks(2, sink.done):  # type: ignore[attr-defined]
            sink.write(start, nearest(block, 2))
        sink.finish()
    for number in range(7):
        assert (tmp_path / "out" / f"{number}.png").read_bytes() == (tmp_path / "whole" / f"{number}.png").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out", "whole"]


def test_what_cannot_be_used_is_said_in_one_line(tmp_path: Path) -> None:
    grey = Image.fromarray(smooth(1)[..., 0])
    for folder in ("sizes", "twice", "in", "full"):
        (tmp_path / folder).mkdir()
    grey.save(tmp_path / "sizes" / "1.png")
    grey.crop((0, 0, 5, 5)).save(tmp_path / "sizes" / "2.png")
    grey.save(tmp_path / "twice" / "1.png")
    grey.save(tmp_path / "twice" / "1.jpg")
    grey.save(tmp_path / "in" / "1.png")
    (tmp_path / "full" / "thesis.tex").write_text("years")
    grey.save(tmp_path / "moving.tif", save_all=True, append_images=[grey])
    Image.fromarray(smooth(1)[..., 0].astype(np.float32)).save(tmp_path / "floats.tif")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    cases = [
        ("sizes", "out", {}, r"2\.png: is 5x5, 1\.png is 12x17; put pictures of each size"),
        ("twice", "out", {}, r"two pictures would become 1\.png"),
        ("in", "full", {"overwrite": True}, r"full: holds other files, thesis\.tex for example"),
        ("in", "out.png", {}, r"written to a folder, or to \.mkv, \.mp4; type output=out"),
        ("in", "out.mkv", {}, r"fps=null: must be given .* type fps=25, or output=out for pictures"),
        ("in", "out", {"fps": Fraction(25)}, r"fps=25: must be given .* leave fps out"),
        ("in/1.png", "out.png", {"fps": Fraction(25)}, r"fps=25: must be given .* leave fps out"),
        ("in", "full/thesis.tex", {}, r"exists|is not a folder"),
        ("in/1.png", "out.jpg", {}, r"written to \.png or \.tif"),
        ("in/1.png", "in/1.png", {"overwrite": True}, r"is the input"),
        ("moving.tif", "out.png", {}, r"holds 2 pictures"),
        ("floats.tif", "out.png", {}, r"holds values, not codes of colours"),
        ("broken.png", "out.png", {}, r"broken\.png: "),
        ("missing.png", "out.png", {}, r"no such file"),
    ]
    for source, target, options, expected in cases:
        with pytest.raises(UserError, match=expected) as caught:
            enlarge(tmp_path / source, tmp_path / target, **options)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)
    assert (tmp_path / "full" / "thesis.tex").read_text() == "years"
    assert not [path for path in tmp_path.rglob(".*")]
