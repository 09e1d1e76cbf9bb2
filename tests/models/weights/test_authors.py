"""The authors' files: read as MATLAB wrote them, computed as the authors' code does it, refused when they are anything else."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import scipy.sparse
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.signal import correlate2d
from torch import Tensor

from tests.fakes import ROOT
from vsr.degradations.resize import resize_bicubic_down, resize_bicubic_up
from vsr.errors import UserError
from vsr.io.readers.pictures import read_picture
from vsr.models.base import Network
from vsr.models.fsrcnn import FSRCNN, FSRCNNOriginal
from vsr.models.srcnn import SRCNN
from vsr.models.weights.adapt import adapt_authors_tensors, adapt_weights
from vsr.models.weights.authors import AuthorsWeights, read_authors_weights

SHARED = ROOT.parent / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the authors' files are not here: no ../shared/data")
Content = dict[str, Any]


# --- files in the authors' layout -----------------------------------------------------------------------------------------


def cells(entries: list[np.ndarray]) -> np.ndarray:
    """A MATLAB cell array (n, 1)."""
    array = np.empty((len(entries), 1), dtype=object)
    for i, entry in enumerate(entries):
        array[i, 0] = entry
    return array


def srcnn_content(k2: int = 1, seed: int = 0) -> Content:
    rng = np.random.default_rng(seed)
    return {
        "weights_conv1": rng.normal(size=(81, 64)) / 9,
        "biases_conv1": rng.normal(size=(64, 1)),
        "weights_conv3": rng.normal(size=(32, 25)) / 12,
        "biases_conv3": rng.normal(size=(1, 1)),
        "biases_conv2": rng.normal(size=(32, 1)),
        "weights_conv2": rng.normal(size=(64, k2 * k2, 32)) / 8 / k2,
    }


def fsrcnn_content(d: int = 6, s: int = 3, m: int = 2, seed: int = 0) -> Content:
    rng = np.random.default_rng(seed)
    shapes = [(1, 25, d), (d, 1, s), *[(s, 9, s)] * m, (s, 1, d), (1, 81, d)]
    filters = [*(shape[2] for shape in shapes[:-1]), 1]
    slopes = [rng.normal(size=(1, 1)).astype(np.float32) for _ in shapes[:-1]]
    return {
        "weights_conv": cells([rng.normal(size=shape) / np.sqrt(shape[0] * shape[1]) for shape in shapes]),
        "biases_conv": cells([rng.normal(size=(n, 1)).astype(np.float32) for n in filters]),
        "prelu_conv": cells([*slopes, np.zeros((1, 0))]),
    }


def saved(path: Path, content: Content, **options: Any) -> Path:
    scipy.io.savemat(path, content, **options)
    return path


# --- the authors' computation, in numpy and from the file's own arrays -----------------------------------------------------


def filtered(frame: np.ndarray, column: np.ndarray) -> np.ndarray:
    """imfilter(frame, reshape(column, k, k), 'same', 'replicate')."""
    k = int(np.sqrt(column.size))
    return correlate2d(np.pad(frame, k // 2, mode="edge"), column.reshape(k, k, order="F"), mode="valid")


def numpy_srcnn(content: Content, enlarged: np.ndarray) -> np.ndarray:
    """SRCNN.m on a frame that is enlarged already."""
    w1, w2, w3 = (content[f"weights_conv{i}"] for i in (1, 2, 3))
    b1, b2, b3 = (content[f"biases_conv{i}"].ravel() for i in (1, 2, 3))
    first = [np.maximum(filtered(enlarged, w1[:, o]) + b1[o], 0) for o in range(w1.shape[1])]
    second = [
        np.maximum(sum(filtered(frame, w2[i, :, o]) for i, frame in enumerate(first)) + b2[o], 0) for o in range(w2.shape[2])
    ]
    return sum(filtered(frame, w3[i]) for i, frame in enumerate(second)) + b3[0]


def numpy_fsrcnn(content: Content, frame: np.ndarray, scale: int, crop: int = 4) -> np.ndarray:
    """FSRCNN.m and its deconv.m, borders included, pixel by pixel: features padded by 2, scattered, cut from crop + 2 scale."""
    weights, biases, slopes = (content[key].ravel() for key in ("weights_conv", "biases_conv", "prelu_conv"))
    data = [frame]
    for weight, bias, slope in zip(weights[:-1], biases[:-1], slopes[:-1], strict=True):
        sums = [
            sum(filtered(plane, weight[i, :, o]) for i, plane in enumerate(data)) + float(bias[o, 0])
            for o in range(weight.shape[2])
        ]
        data = [np.maximum(x, 0) + float(slope[0, 0]) * np.minimum(x, 0) for x in sums]
    height, width = frame.shape
    out = np.full((height * scale, width * scale), float(biases[-1][0, 0]))
    for j, plane in enumerate(data):
        kernel = weights[-1][0, :, j].reshape(9, 9, order="F")
        padded = np.pad(plane, 2, mode="edge")
        whole = np.zeros((padded.shape[0] * scale + 8, padded.shape[1] * scale + 8))
        for y in range(padded.shape[0]):
            for x in range(padded.shape[1]):
                whole[scale * y : scale * y + 9, scale * x : scale * x + 9] += padded[y, x] * kernel
        start = crop + 2 * scale
        out += whole[start : start + height * scale, start : start + width * scale]
    return out


def evaluate_layers(weights: AuthorsWeights, lr: Tensor, scale: int) -> Tensor:
    """Evaluate the layers of `read_authors_weights` as the authors do, all borders replicated: (N, 1, h, w) -> (N, 1, H, W)."""
    x = resize_bicubic_up(lr, scale) if weights.kind == "srcnn" else lr
    for layer in weights.layers:
        if layer.name == "deconvolution":
            padded = F.pad(x, (2, 2, 2, 2), mode="replicate")
            x = F.conv_transpose2d(padded, layer.weight, layer.bias, scale, 4 + 2 * scale, scale - 1)
        else:
            pad = [layer.weight.shape[-1] // 2] * 4
            x = F.conv2d(F.pad(x, pad, mode="replicate"), layer.weight, layer.bias)
        x = x if layer.slope is None else F.prelu(x, layer.slope)
    return x


def loaded(network: Network, weights: AuthorsWeights) -> Network:
    """The network in float64 with all its weights from the authors."""
    network = network.double()
    values, rows = adapt_weights(dict(network.named_parameters()), adapt_authors_tensors(network, weights))
    assert [row.status for row in rows] == ["loaded"] * len(rows)
    network.load_state_dict(values)
    return network.eval()


def frame(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(7).random((height, width))


def as_batch(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values)[None, None]


@pytest.mark.parametrize("act", ["relu", "prelu"])
@pytest.mark.parametrize("k2", [1, 3, 5])
@torch.no_grad()
def test_srcnn_is_the_authors_computation_to_the_last_border_pixel(k2: int, act: Any, tmp_path: Path) -> None:
    content = srcnn_content(k2)
    weights = read_authors_weights(saved(tmp_path / "srcnn.mat", content))
    assert (weights.kind, weights.architecture) == ("srcnn", f"SRCNN 9-{k2}-5")
    assert [layer.name for layer in weights.layers] == ["extraction", "mapping", "reconstruction"]
    # With a PReLU behind the last layer, too, where the authors have nothing.
    network = loaded(SRCNN(kernels=(9, k2, 5), act=act, output_act=act == "prelu", scale=2), weights)
    enlarged = frame(13, 10)
    assert isinstance(network, SRCNN)
    np.testing.assert_allclose(network.body(as_batch(enlarged))[0, 0], numpy_srcnn(content, enlarged), rtol=0, atol=1e-6)


@pytest.mark.parametrize("scale", [2, 3, 4])
@torch.no_grad()
def test_fsrcnn_is_the_authors_computation_away_from_the_border(scale: int, tmp_path: Path) -> None:
    content = fsrcnn_content()
    weights = read_authors_weights(saved(tmp_path / "fsrcnn.mat", content))
    assert (weights.kind, weights.architecture) == ("fsrcnn", "FSRCNN(6,3,2)")
    lr = frame(21, 19)
    network = loaded(FSRCNNOriginal(d=6, s=3, m=2, act="prelu", scale=scale), weights)
    assert isinstance(network, FSRCNNOriginal)
    # The convolutions reach 2 + m LR pixels, the deconvolution 2 more. At x3 the authors' own script takes the result from one
    # pixel further up and left, which is a padding of 3.
    assert network.enlarge.padding[0] == (3 if scale == 3 else 4)
    inner = slice(6 * scale, -6 * scale)
    theirs = numpy_fsrcnn(content, lr, scale, crop=int(network.enlarge.padding[0]))
    for form in (network, network.fold()):
        np.testing.assert_allclose(form(as_batch(lr))[0, 0][inner, inner], theirs[inner, inner], rtol=0, atol=1e-6)


@pytest.mark.parametrize("scale", [2, 3, 4])
@torch.no_grad()
def test_fsrcnn_is_the_authors_computation_to_the_last_border_pixel(scale: int, tmp_path: Path) -> None:
    content = fsrcnn_content()
    network = FSRCNNOriginal(d=6, s=3, m=2, act="prelu", border="replicate", scale=scale)
    loaded(network, read_authors_weights(saved(tmp_path / "fsrcnn.mat", content)))
    lr = frame(7, 9)
    theirs = numpy_fsrcnn(content, lr, scale, crop=int(network.enlarge.padding[0]))
    for form in (network, network.fold()):
        np.testing.assert_allclose(form(as_batch(lr))[0, 0], theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_layers_read_are_the_authors_computation_to_the_last_border_pixel(scale: int, tmp_path: Path) -> None:
    content = fsrcnn_content(m=1)
    weights = read_authors_weights(saved(tmp_path / "fsrcnn.mat", content))
    lr = frame(7, 9)
    ours = evaluate_layers(weights, as_batch(lr), scale)[0, 0]
    np.testing.assert_allclose(ours, numpy_fsrcnn(content, lr, scale), rtol=0, atol=1e-9)


@pytest.mark.parametrize("compressed", [False, True])
def test_numbers_are_taken_as_they_are(compressed: bool, tmp_path: Path) -> None:
    """MATLAB may store whole numbers in fewer bytes, and biases as rows; the values stay the same."""
    content = srcnn_content()
    content["weights_conv1"] = np.arange(81 * 64, dtype=np.int16).reshape(81, 64)
    content["biases_conv1"] = content["biases_conv1"].T
    weights = read_authors_weights(saved(tmp_path / "a.mat", content, do_compression=compressed))
    first = weights.layers[0]
    assert first.weight.dtype == torch.float64
    assert first.weight[5, 0, 2, 7] == content["weights_conv1"][7 * 9 + 2, 5]
    np.testing.assert_array_equal(first.bias, content["biases_conv1"].ravel())


@needs_shared
def test_the_released_files_hold_what_scipy_reads_from_them() -> None:
    architectures = {path.name: read_authors_weights(path).architecture for path in sorted((SHARED / "weights").glob("*.mat"))}
    assert architectures == {
        "9-1-5_91-images_x2.mat": "SRCNN 9-1-5",
        "9-1-5_91-images_x3.mat": "SRCNN 9-1-5",
        "9-5-5_ImageNet_x2.mat": "SRCNN 9-5-5",
        "FSRCNN-s_x2.mat": "FSRCNN-s = FSRCNN(32,5,1)",
        "FSRCNN_x2.mat": "FSRCNN(56,12,4)",
        "FSRCNN_x3.mat": "FSRCNN(56,12,4)",
    }
    theirs = scipy.io.loadmat(SHARED / "weights" / "FSRCNN_x2.mat")
    for i, layer in enumerate(read_authors_weights(SHARED / "weights" / "FSRCNN_x2.mat").layers):
        kernels = layer.weight if layer.name == "deconvolution" else layer.weight.transpose(0, 1)  # (in, out, k, k)
        values = kernels.transpose(2, 3).flatten(2).numpy()
        stored = theirs["weights_conv"][i, 0]
        np.testing.assert_array_equal(values, stored.transpose(2, 0, 1) if i == 7 else stored.transpose(0, 2, 1))
        np.testing.assert_array_equal(layer.bias, theirs["biases_conv"][i, 0].ravel())
        np.testing.assert_array_equal([] if layer.slope is None else layer.slope, theirs["prelu_conv"][i, 0].ravel())


# --- a picture ------------------------------------------------------------------------------------------------------------


def psnr(sr: Tensor, hr: Tensor, shave: int) -> float:
    """Of 8-bit codes, `shave` pixels cut per side."""
    codes = (sr.clamp(0, 1) * 255).round() - (hr * 255).round()
    return float(10 * torch.log10(255**2 / codes[..., shave:-shave, shave:-shave].square().mean()))


def picture(scale: int) -> Tensor:
    """t30 of T91, a typical one (the gains on it are about the mean over all 91), as luma in the unit interval."""
    luma = read_picture(SHARED / "images" / "T91" / "t30.bmp", "luma", rounded=True).values / 255
    height, width = (size // scale * scale for size in luma.shape[1:])
    return torch.from_numpy(luma[None, :, :height, :width]).double()


@needs_shared
@pytest.mark.parametrize(
    ("file", "build", "gain"),
    [
        ("9-1-5_91-images_x2.mat", partial(SRCNN, act="relu"), 2.35),
        ("9-5-5_ImageNet_x2.mat", partial(SRCNN, kernels=(9, 5, 5), act="relu"), 2.35),
        ("FSRCNN-s_x2.mat", partial(FSRCNNOriginal, d=32, s=5, m=1, border="replicate"), 2.3),
        ("FSRCNN_x2.mat", partial(FSRCNNOriginal, border="replicate"), 2.75),
    ],
)
@torch.no_grad()
def test_released_weights_gain_over_bicubic(file: str, build: Callable[..., Network], gain: float) -> None:
    """In our networks as in the authors' computation, to the rounding of doubles."""
    hr = picture(2)
    lr = resize_bicubic_down(hr, 2)
    weights = read_authors_weights(SHARED / "weights" / file)
    network = loaded(build(scale=2), weights)
    bicubic = psnr(resize_bicubic_up(lr, 2), hr, 2)
    ours, theirs = network(lr), evaluate_layers(weights, lr, 2)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
    print(f"{file}: bicubic {bicubic:.2f} dB, our network {psnr(ours, hr, 2) - bicubic:+.2f}")
    assert psnr(ours, hr, 2) > bicubic + gain


@needs_shared
@torch.no_grad()
def test_the_released_fsrcnn_for_x3_is_one_pixel_off() -> None:
    """The authors' own script cuts its output one pixel further up and left than the truth (shave_x3)."""
    hr = picture(3)
    lr = resize_bicubic_down(hr, 3)
    sr = evaluate_layers(read_authors_weights(SHARED / "weights" / "FSRCNN_x3.mat"), lr, 3)
    bicubic = psnr(resize_bicubic_up(lr, 3), hr, 3)
    moved = psnr(sr.roll((1, 1), (2, 3)), hr, 3)
    network = loaded(FSRCNNOriginal(border="replicate", scale=3), read_authors_weights(SHARED / "weights" / "FSRCNN_x3.mat"))
    ours = psnr(network(lr), hr, 3)
    print(f"bicubic {bicubic:.2f} dB, FSRCNN x3 as it is {psnr(sr, hr, 3) - bicubic:+.2f}, moved {moved - bicubic:+.2f}")
    assert psnr(sr, hr, 3) < bicubic
    assert moved > bicubic + 1.8
    assert ours == pytest.approx(moved, abs=0.01)


# --- where the weights go ---------------------------------------------------------------------------------------------------


def test_first_layers_into_the_reports_fsrcnn(tmp_path: Path) -> None:
    """It has 8 filters where FSRCNN-s has 5: those are loaded, the rest stays as it was."""
    weights = read_authors_weights(saved(tmp_path / "s.mat", fsrcnn_content(32, 5, 1)))
    network = FSRCNN(scale=3).double()
    target = dict(network.named_parameters())
    values, rows = adapt_weights(target, adapt_authors_tensors(network, weights, layers=4), overlap=True)
    partly = {f"features.{i}.{kind}" for i in (2, 4) for kind in ("weight", "bias")} | {"features.6.weight"}
    features = {row.tensor: row.status for row in rows if row.tensor.startswith("features")}
    assert len(features) == 12
    assert features == {name: "overlap" if name in partly else "loaded" for name in features}
    assert {row.status for row in rows if not row.tensor.startswith("features")} == {"fresh"}
    torch.testing.assert_close(values["features.4.weight"][:5, :5], weights.layers[2].weight, rtol=0, atol=0)
    torch.testing.assert_close(values["features.4.weight"][5:], target["features.4.weight"].data[5:], rtol=0, atol=0)
    assert set(adapt_authors_tensors(network, weights)) == set(adapt_authors_tensors(network, weights, layers=4))
    _, strict = adapt_weights(target, adapt_authors_tensors(network, weights))
    assert [row.tensor for row in strict if row.status == "refused"] == [r.tensor for r in rows if r.status == "overlap"]


def test_layers_meet_by_what_they_do(tmp_path: Path) -> None:
    deep = read_authors_weights(saved(tmp_path / "deep.mat", fsrcnn_content(8, 4, 3)))
    shallow = FSRCNNOriginal(d=8, s=4, m=1, scale=2)
    source = adapt_authors_tensors(shallow, deep)
    assert source["features.6.weight"] is deep.layers[5].weight  # expanding, behind three mappings there and one here
    assert source["enlarge.weight"] is deep.layers[6].weight
    first = adapt_authors_tensors(SRCNN(scale=2), read_authors_weights(saved(tmp_path / "srcnn.mat", srcnn_content())), layers=1)
    assert list(first) == ["body.0.weight", "body.0.bias", "body.1.weight"]
    assert first["body.1.weight"].item() == 0  # ReLU


def test_mappings_that_mean_nothing_are_refused(tmp_path: Path) -> None:
    srcnn = read_authors_weights(saved(tmp_path / "srcnn.mat", srcnn_content()))
    fsrcnn = read_authors_weights(saved(tmp_path / "fsrcnn.mat", fsrcnn_content()))
    for network, weights, layers, message in (
        (FSRCNN(scale=2), srcnn, None, "SRCNN 9-1-5 has no layer in common with a FSRCNN"),
        (SRCNN(scale=2), fsrcnn, None, "no layer in common"),
        (torch.nn.Conv2d(1, 1, 3), srcnn, None, "no layer in common with a Conv2d"),
        (SRCNN(scale=2), srcnn, 4, "layers=4.*3 layers in common"),
        (FSRCNN(scale=2), fsrcnn, 0, "layers=0.*from 1 to 4"),
        (FSRCNN(act="relu", scale=2), fsrcnn, None, "type model.act=prelu"),
        (SRCNN(act="relu", output_act=True, scale=2), srcnn, None, "type model.output_act=false"),
    ):
        with pytest.raises(UserError, match=message):
            adapt_authors_tensors(network, weights, layers=layers)


# --- other files ------------------------------------------------------------------------------------------------------------


def refusal(path: Path) -> str:
    """The message without the path: one line."""
    with pytest.raises(UserError) as caught:
        read_authors_weights(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert message.isprintable()
    return message.removeprefix(f"{path}: ")


def changed(key: str, value: Any, base: Callable[[], Content] = srcnn_content) -> Content:
    return {**base(), key: value}


def entry(key: str, index: int, value: Any) -> Content:
    content = fsrcnn_content()
    content[key][index, 0] = value
    return content


def without(key: str, base: Callable[[], Content]) -> Content:
    return {name: value for name, value in base().items() if name != key}


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": np.ones(3)}, "has neither weights_conv1"),
        ({}, "holds? no variable|but no variable"),
        (without("biases_conv2", srcnn_content), "lacks biases_conv2"),
        (without("prelu_conv", fsrcnn_content), "lacks prelu_conv"),
        (changed("weights_conv1", np.ones((80, 64))), "weights_conv1 is 1x80x64 .*odd k"),
        (changed("weights_conv2", np.ones((64, 4, 32))), "weights_conv2 is 64x4x32"),
        (changed("weights_conv2", np.ones((63, 1, 32))), "weights_conv2 is 63x1x32 .*64 inputs"),
        (changed("weights_conv2", np.ones((64, 32))), "weights_conv2 has 2 axes"),
        (changed("biases_conv1", np.ones((64, 2))), "biases_conv1 is 64x2"),
        (changed("biases_conv1", np.ones((8, 8))), "biases_conv1 is 8x8"),
        (changed("biases_conv3", np.zeros((0, 1))), "biases_conv3 is empty"),
        (changed("weights_conv1", {"values": np.ones((81, 64))}), "weights_conv1 is a struct, not real numbers"),
        (changed("weights_conv1", np.full((81, 64), 1j)), "weights_conv1 is complex"),
        (changed("weights_conv1", scipy.sparse.csc_matrix(np.ones((81, 64)))), "weights_conv1 is a sparse matrix"),
        (changed("weights_conv1", cells([np.ones((81, 64))])), "weights_conv1 is a cell array"),
        (changed("weights_conv1", np.ones((81, 64), bool)), "weights_conv1 is logical"),
        (changed("weights_conv1", "os.system"), "weights_conv1 is a char"),
        (changed("weights_conv1", np.where(np.eye(81, 64) > 0, np.nan, 1)), "weights_conv1 holds 64 NaN or infinite"),
        (changed("biases_conv3", np.array([[np.inf]])), "biases_conv3 holds 1 NaN or infinite"),
        (changed("weights_conv", np.ones((5, 1)), fsrcnn_content), "weights_conv is an array of numbers, not a cell"),
        (changed("weights_conv", {"a": 1.0}, fsrcnn_content), "weights_conv is a struct, not a cell"),
        (changed("biases_conv", cells([np.ones((6, 1))] * 5), fsrcnn_content), "6, 5 and 6 entries"),
        (changed("weights_conv", cells([np.ones((1, 25, 6))] * 4), fsrcnn_content), "4, 6 and 6 entries"),
        (entry("weights_conv", 0, np.ones((1, 81, 6))), r"weights_conv\{1\} is 1x81x6.*25"),
        (entry("weights_conv", 3, np.ones((4, 9, 3))), r"weights_conv\{4\} is 4x9x3.*3 inputs"),
        (entry("weights_conv", 3, cells([np.ones(1)])), r"weights_conv\{4\} is a cell array"),
        (entry("weights_conv", 3, {"a": 1.0}), r"weights_conv\{4\} is a struct"),
        (entry("weights_conv", 2, np.full((3, 9, 3), np.nan)), r"weights_conv\{3\} holds 81 NaN"),
        (entry("weights_conv", 5, np.ones((1, 81, 5))), r"weights_conv\{6\} is 5x81x1.*6 inputs"),
        (entry("weights_conv", 5, np.ones((2, 81, 6))), r"biases_conv\{6\} is 1x1, its layer has 2"),
        (entry("prelu_conv", 1, np.ones((3, 1))), r"prelu_conv\{2\} is 3x1, where one slope"),
        (entry("prelu_conv", 1, np.zeros((1, 0))), r"prelu_conv\{2\} is empty"),
        (entry("prelu_conv", 5, np.ones((1, 1))), r"prelu_conv\{6\} is 1x1, where nothing"),
    ],
)
def test_other_contents_are_refused(content: Content, message: str, compressed: bool, tmp_path: Path) -> None:
    text = refusal(saved(tmp_path / "other.mat", content, do_compression=compressed))
    assert re.search(message, text), text


def test_two_channels_are_refused(tmp_path: Path) -> None:
    content = entry("weights_conv", 5, np.ones((2, 81, 6)))
    content["biases_conv"][5, 0] = np.ones((2, 1))
    assert "gives 2 channels" in refusal(saved(tmp_path / "two.mat", content))


def test_files_of_other_kinds_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.mat"
    for content, message in (
        (b"", "not a MATLAB 5 file"),
        (b"MATLAB 7.3 MAT-file, Platform: GLNXA64" + bytes(600), "save(..., '-v7')"),
        (b"\x89HDF\r\n\x1a\n" + bytes(600), "save(..., '-v7')"),
        (b"MATLAB 5.0 MAT-file", "not a MATLAB 5 file"),
        (b"PK\x03\x04" + bytes(300), "not a MATLAB 5 file"),
    ):
        path.write_bytes(content)
        assert message in refusal(path)
    scipy.io.savemat(path, {"weights_conv1": np.ones((81, 64))}, format="4")
    assert "not a MATLAB 5 file" in refusal(path)
    assert "No such file" in refusal(tmp_path / "missing.mat")
    assert "directory" in refusal(tmp_path)
    with path.open("wb") as stream:
        stream.truncate(2**27)
    assert "more than any of the authors' files" in refusal(path)


def test_a_variable_that_unpacks_to_too_much_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "bomb.mat", {"weights_conv1": np.zeros((81, 110_000))}, do_compression=True)
    assert path.stat().st_size < 200_000
    assert "too large" in refusal(path)


def test_a_variable_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "twice.mat", srcnn_content())
    path.write_bytes(path.read_bytes() + path.read_bytes()[128:])
    assert "weights_conv1 occurs twice" in refusal(path)


@pytest.mark.parametrize("compressed", [False, True])
def test_every_truncation_is_refused(compressed: bool, tmp_path: Path) -> None:
    path = saved(tmp_path / "cut.mat", fsrcnn_content(), do_compression=compressed)
    raw = path.read_bytes()
    for kept in (*range(0, 400, 7), *range(400, len(raw), 501), len(raw) - 1):
        path.write_bytes(raw[:kept])
        refusal(path)


def raw_file(compressed: bool) -> bytes:
    stream = io.BytesIO()
    scipy.io.savemat(stream, fsrcnn_content(2, 1, 1), do_compression=compressed)
    return stream.getvalue()


RAW = {compressed: raw_file(compressed) for compressed in (False, True)}


@given(st.data(), st.booleans())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damage_is_refused_or_harmless(tmp_path: Path, data: Any, compressed: bool) -> None:
    """SciPy's reader ends the process on some of these files. Checksums are in compressed files alone."""
    raw = bytearray(RAW[compressed])
    for _ in range(data.draw(st.integers(0, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged.mat"
    path.write_bytes(raw)
    try:
        weights = read_authors_weights(path)
    except UserError as error:
        assert str(error).isprintable()
    else:
        shapes = [(2, 1, 5, 5), (1, 2, 1, 1), (1, 1, 3, 3), (2, 1, 1, 1), (2, 1, 9, 9)]
        assert [tuple(layer.weight.shape) for layer in weights.layers] == shapes
        assert all(torch.isfinite(layer.weight).all() for layer in weights.layers)
