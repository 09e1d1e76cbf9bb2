"""Pictures of all kinds, and the classical protocol against an independent computation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.degradations.test_resize import imresize
from tests.fakes import ROOT, assert_same_scores, evaluate_here, moving_pattern, train_here
from vsr.data.datamodules.images import ImageDataModule
from vsr.degradations import Bicubic
from vsr.errors import UserError
from vsr.io.readers.pictures import PHOTOGRAPHS, list_offline_photographs, list_pictures, read_picture, read_picture_facts
from vsr.models.fsrcnn import FSRCNN
from vsr.models.residual import StandardizedResidual
from vsr.recipe import Recipe

T91 = ROOT / ".." / "shared" / "data" / "images" / "T91"


@pytest.fixture
def colour() -> np.ndarray:
    return np.stack([moving_pattern(1, 30, 40, seed)[0] for seed in range(3)], axis=-1)


def matlab_luma(rgb: np.ndarray) -> np.ndarray:
    """rgb2ycbcr of uint8: the matrix over 255 times the codes, plus 16, halves rounded up."""
    weights = np.array([65.481, 128.553, 24.966]) / 255
    return np.floor(weights[0] * rgb[..., 0] + weights[1] * rgb[..., 1] + weights[2] * rgb[..., 2] + 16 + 0.5)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif"])
def test_colour_becomes_matlabs_luma(tmp_path: Path, colour: np.ndarray, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(colour).save(path)
    picture = read_picture(path, "luma", rounded=True)
    np.testing.assert_array_equal(picture.values[0], matlab_luma(colour))
    unrounded = read_picture(path, "luma").values[0]
    assert 0 < abs(unrounded - matlab_luma(colour)).max() <= 0.5
    np.testing.assert_array_equal(read_picture(path, "rgb").values, colour.transpose(2, 0, 1))


def test_grey_palette_alpha_and_cmyk(tmp_path: Path, colour: np.ndarray) -> None:
    grey = colour[..., 0]
    Image.fromarray(grey).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "grey.png", "luma").values[0], grey)
    assert read_picture(tmp_path / "grey.png", "rgb").values.shape == (3, 30, 40)
    flat = (colour // 64 * 64).astype(np.uint8)
    Image.fromarray(flat).quantize(256).save(tmp_path / "palette.png")
    reference = np.asarray(Image.open(tmp_path / "palette.png").convert("RGB"))
    np.testing.assert_array_equal(read_picture(tmp_path / "palette.png", "rgb").values, reference.transpose(2, 0, 1))
    alpha = np.dstack([colour, np.full(grey.shape, 128, np.uint8)])
    Image.fromarray(alpha).save(tmp_path / "alpha.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "alpha.png", "rgb").values, colour.transpose(2, 0, 1))
    Image.fromarray(colour).convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    assert abs(read_picture(tmp_path / "cmyk.jpg", "rgb").values - colour.transpose(2, 0, 1)).mean() < 12


def test_sixteen_bits_keep_their_depth(tmp_path: Path) -> None:
    deep = (moving_pattern(1)[0].astype(np.uint16) * 257) ^ 3
    for name in ("a.png", "a.tif"):
        Image.fromarray(deep).save(tmp_path / name)
        np.testing.assert_allclose(read_picture(tmp_path / name, "luma").values[0], deep / 257, atol=1e-4)
    from skimage.io import imsave

    rgb = np.stack([deep, deep // 2, deep // 3], axis=-1)
    imsave(tmp_path / "deep.tif", rgb, check_contrast=False)
    import av

    with av.open(str(tmp_path / "deep.png"), "w", format="image2") as container:
        stream = container.add_stream("png", rate=1)
        stream.height, stream.width, stream.pix_fmt = 32, 48, "rgb48be"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb48le").reformat(format="rgb48be")))
        container.mux(stream.encode())
    np.testing.assert_allclose(read_picture(tmp_path / "deep.png", "rgb").values, rgb.transpose(2, 0, 1) / 257, atol=1e-3)


def test_float_pictures_keep_their_values(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(30, 40)).astype(np.float32)
    for i in range(6):
        Image.fromarray(values * (i + 1)).save(tmp_path / f"f{i}.tif")
    picture = read_picture(tmp_path / "f0.tif", "luma")
    np.testing.assert_array_equal(picture.values[0], values)
    assert picture.is_float
    data = ImageDataModule(path=str(tmp_path), scale=2, degradation=Bicubic(), recipe=Recipe(patch=8))
    data.setup()
    train = np.concatenate([values * (i + 1) for i in range(4)])  # 0.765 of 6 are 5 to learn from, 1 of them for validation
    assert data.card["bounds"] == [train.min(), train.max()]
    Image.fromarray((values > 0).astype(np.uint8)).save(tmp_path / "f9.png")
    with pytest.raises(UserError, match="float pictures and others"):
        ImageDataModule(path=str(tmp_path), scale=2, degradation=Bicubic(), recipe=Recipe(patch=8)).setup()


def test_names_are_in_natural_order_and_hidden_files_are_left_out(tmp_path: Path) -> None:
    for name in ("img10.png", "img2.png", "img1.PNG", ".hidden.png", ".DS_Store", "notes.txt"):
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / name, format="png")
    assert [path.name for path in list_pictures(tmp_path)] == ["img1.PNG", "img2.png", "img10.png"]


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n" + b"\0" * 20])
def test_broken_pictures_are_named(tmp_path: Path, content: bytes, colour: np.ndarray) -> None:
    (tmp_path / "bad.png").write_bytes(content)
    with pytest.raises(UserError, match="bad.png: "):
        read_picture(tmp_path / "bad.png", "luma")
    Image.fromarray(colour).save(tmp_path / "cut.png")
    raw = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(raw[: len(raw) // 2])
    with pytest.raises(UserError, match="cut.png: cannot be read as a picture"):
        read_picture(tmp_path / "cut.png", "luma")


def test_bombs_are_refused_before_they_are_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(np.zeros((40, 50), np.uint8)).save(tmp_path / "big.png")
    monkeypatch.setattr("vsr.io.readers.pictures.MAX_PIXELS", 1999)
    with pytest.raises(UserError, match="50x40 pixels are more than 1999"):
        read_picture(tmp_path / "big.png", "luma")


def test_folders(tmp_path: Path) -> None:
    common = {"scale": 2, "degradation": Bicubic(), "recipe": Recipe(patch=8)}
    with pytest.raises(UserError, match="holds no picture"):
        ImageDataModule(path=str(tmp_path), **common)
    with pytest.raises(UserError, match="data.path=.*: not a folder"):
        ImageDataModule(path=str(tmp_path / "none"), **common)


def test_mixed_sizes_train_and_test_on_another_folder(tmp_path: Path) -> None:
    for folder, count in (("train", 6), ("Set2", 2)):
        (tmp_path / folder).mkdir()
        for i in range(count):
            picture = moving_pattern(1, 33 + 2 * i, 41, seed=10 * count + i)[0]
            Image.fromarray(picture).save(tmp_path / folder / f"{i}.png")
    folders = [f"data.path={tmp_path}/train", f"data.test_path={tmp_path}/Set2"]
    overrides = ["data=images", *folders, "recipe.patch=8", "recipe.steps=3"]
    results = train_here(tmp_path / "run", overrides)
    assert {row["split"] for row in results["rows"]} == {"Set2"}
    assert results["rows"][0]["frames"] == 2
    assert results["protocol"]["data"]["frames"] == {"train": 5, "val": 1, "Set2": 2}
    rgb = train_here(tmp_path / "rgb", [*overrides, "data.channels=rgb"])
    assert rgb["protocol"]["data"]["channels"] == 3
    with pytest.raises(UserError, match="frames differ in size, whole frames cannot be batched; type recipe.patch=16"):
        train_here(tmp_path / "whole", [*overrides, "recipe.patch=null"])


def test_the_offline_photographs_are_there_and_split_as_documented() -> None:
    files = list_offline_photographs()
    assert all(file.is_file() for file in files)
    data = ImageDataModule(scale=2, degradation=Bicubic(), recipe=Recipe())
    parts = data.split.cut([1] * len(files), "x")
    names = {name: [PHOTOGRAPHS[s.movie] for s in segments] for name, segments in parts.items()}
    assert names["val"] == ["moon.png", "page.png", "clock_motion.png"]
    assert names["test"] == ["cell.png", "chelsea.png", "coins.png", "rocket.jpg"]


def classical(folder: Path) -> list[str]:
    return ["data=images", f"data.path={folder}", "protocol=classical", "recipe.patch=8"]


@pytest.mark.parametrize("scale", [2, 3])
def test_the_classical_protocol(tmp_path: Path, scale: int) -> None:
    """Against numpy: luma, modcrop, MATLAB bicubic down and up, shave, rounding, mean of per-image PSNR, to 0.001 dB."""
    for i, (h, w) in enumerate([(61, 70), (75, 64), (66, 67), (70, 73), (64, 64)]):
        rgb = np.stack([moving_pattern(1, h, w, 10 * i + c)[0] for c in range(3)], axis=-1)
        Image.fromarray(rgb).save(tmp_path / f"{i}.png")
    results = train_here(tmp_path / "run", [*classical(tmp_path), "model=bicubic", f"scale={scale}"])
    row = next(row for row in results["rows"] if row["method"] == "bicubic")
    expected = [classical_psnr(np.asarray(Image.open(tmp_path / f"{i}.png")), scale) for i in (4,)]  # the test picture
    assert row["psnr"] == pytest.approx(np.mean(expected), abs=1e-3)
    assert results["protocol"]["window"] == [0, scale, scale]
    assert results["protocol"]["protocol"] == "classical"


def test_a_network_under_the_classical_protocol(tmp_path: Path) -> None:
    """The network's row, and evaluate's, against numpy around the bare network."""
    for i in range(5):
        rgb = np.stack([moving_pattern(1, 64 + i, 70 - i, 10 * i + c)[0] for c in range(3)], axis=-1)
        Image.fromarray(rgb).save(tmp_path / f"{i}.png")
    results = train_here(tmp_path / "run", [*classical(tmp_path), "model=fsrcnn", "recipe.steps=20"])
    checkpoint = tmp_path / "run" / "checkpoints" / "best.ckpt"
    again = evaluate_here(tmp_path / "again", [f"checkpoint={checkpoint}"])
    assert_same_scores(again["rows"], results["rows"])
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    network = StandardizedResidual(FSRCNN(scale=2))
    network.load_state_dict(
        {name.removeprefix("network."): value for name, value in state.items() if name.startswith("network.")}
    )
    truth = matlab_luma(np.asarray(Image.open(tmp_path / "4.png")))[:68, :66]
    lr = imresize(truth / 255, 34, 33)
    with torch.no_grad():
        sr = network(torch.from_numpy(lr).float()[None, None])[0, 0].double().numpy()
    error = (np.clip(np.round(sr * 255), 0, 255) - truth)[2:-2, 2:-2]
    expected = 20 * np.log10(255 / np.sqrt((error**2).mean()))
    row = next(row for row in results["rows"] if row["method"] == "fsrcnn")
    assert row["psnr"] == pytest.approx(expected, abs=1e-3)


def classical_psnr(rgb: np.ndarray, scale: int) -> float:
    luma = matlab_luma(rgb) if rgb.ndim == 3 else rgb.astype(np.float64)
    height, width = (n // scale * scale for n in luma.shape)
    truth = luma[:height, :width]
    lr = imresize(truth / 255, height // scale, width // scale)
    sr = np.clip(np.round(imresize(lr, height, width) * 255), 0, 255)
    error = (sr - truth)[scale:-scale, scale:-scale]
    return float(20 * np.log10(255 / np.sqrt((error**2).mean())))


@pytest.mark.skipif(not T91.is_dir(), reason="the 91 training images are not here")
def test_the_classical_protocol_on_real_pictures(tmp_path: Path) -> None:
    files = list_pictures(T91)[:20]
    for i, file in enumerate(files):
        (tmp_path / f"{i}.bmp").symlink_to(file.resolve())
    results = train_here(tmp_path / "run", [*classical(tmp_path), "model=bicubic"])
    count = results["rows"][0]["frames"]
    expected = np.mean([classical_psnr(np.asarray(Image.open(file).convert("RGB")), 2) for file in files[-count:]])
    row = next(row for row in results["rows"] if row["method"] == "bicubic")
    assert row["psnr"] == pytest.approx(expected, abs=1e-3)


def test_classical_needs_8_bit_data(tmp_path: Path) -> None:
    from tests.fakes import TINY_CLIMATE

    with pytest.raises(UserError, match=r"protocol=classical is for 8-bit pictures and video, not for values in \(-10.0, 10.0\)"):
        train_here(tmp_path, [*TINY_CLIMATE, "protocol=classical", "recipe.patch=8"])


def test_patches_come_from_every_picture() -> None:
    data = ImageDataModule(scale=2, degradation=Bicubic(), recipe=Recipe(steps=20))
    data.setup()
    assert data.sets["train"].channels == 1
    positions = torch.cat([batch.position for batch in data.train_dataloader()])
    assert set(positions.tolist()) == set(range(10))


def test_webp_is_a_picture_unless_it_moves(tmp_path: Path) -> None:
    codes = np.random.default_rng(0).integers(0, 255, (20, 24, 3)).astype(np.uint8)
    image = Image.fromarray(codes)
    image.save(tmp_path / "a.webp", lossless=True)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.webp", "rgb").values, codes.transpose(2, 0, 1))
    image.save(tmp_path / "b.webp", save_all=True, append_images=[Image.fromarray(codes[::-1].copy())])
    with pytest.raises(UserError, match="holds 2 pictures"):
        read_picture(tmp_path / "b.webp", "rgb")


def test_a_camera_jpeg_with_a_preview_is_a_picture(tmp_path: Path) -> None:
    codes = np.full((20, 24, 3), 90, np.uint8)
    image = Image.fromarray(codes)
    image.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[image.resize((12, 10))])
    facts = read_picture_facts(tmp_path / "a.jpg")
    assert (facts.height, facts.width) == (20, 24)
    np.testing.assert_allclose(read_picture(tmp_path / "a.jpg", "rgb").values, 90, atol=2)
