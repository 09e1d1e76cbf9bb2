"""Every degradation against a reference of its own, and what all of them promise."""

from __future__ import annotations

import io
import math
import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch import Tensor

from tests.fakes import choices, compose_config, moving_pattern
from tests.processes import run_process
from vsr.config.check import check_config
from vsr.degradations import H264, JPEG, Area, Bicubic, Chain, Degradation, GaussianBlur, GaussianNoise, SameSizeStep, Subsample
from vsr.degradations.resize import resize_bicubic_down
from vsr.errors import UserError
from vsr.training.build_network import build_from_node

SCALES = (2, 3, 4, 6, 8)
BYTES = (0.0, 255.0)


def frames(n: int = 4, c: int = 1, height: int = 24, width: int = 48, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).random((n, c, height, width), dtype=np.float32))


def movie(n: int = 12, height: int = 32, width: int = 48) -> Tensor:
    """(n, 1, height, width), code values."""
    return torch.from_numpy(moving_pattern(n, height, width)).float().unsqueeze(1)


def psnr(a: Tensor, b: Tensor) -> float:
    """Of code values."""
    return 10 * math.log10(255**2 / max(1e-9, float((a - b).square().mean())))


def configured(choice: str, *overrides: str) -> Any:
    """As train.py would build it."""
    cfg = compose_config("train", [f"degradation={choice}", *overrides])
    check_config(cfg)
    return build_from_node("degradation", cfg.degradation)


# What changes the size


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("channels", [1, 3])
def test_area_is_the_block_mean(scale: int, channels: int) -> None:
    hr = frames(c=channels)
    blocks = hr.numpy().reshape(4, channels, 24 // scale, scale, 48 // scale, scale)
    np.testing.assert_allclose(Area()(hr, scale).numpy(), blocks.mean((3, 5)), atol=1e-6)


@pytest.mark.parametrize(("scale", "phase"), [(s, p) for s in SCALES for p in range(s)])
def test_subsample_is_slicing(scale: int, phase: int) -> None:
    hr = frames(c=2)
    lr = Subsample(phase)(hr, scale)
    np.testing.assert_array_equal(lr.numpy(), hr.numpy()[:, :, phase::scale, phase::scale])
    assert lr.untyped_storage().data_ptr() != hr.untyped_storage().data_ptr()


def test_bicubic_is_that_of_resize() -> None:
    assert torch.equal(Bicubic()(frames(), 3, bounds=(-1.0, 2.0), first=5), resize_bicubic_down(frames(), 3))


@pytest.mark.parametrize("phase", [2, 3])
def test_a_phase_beyond_the_scale(phase: int) -> None:
    with pytest.raises(UserError, match=f"phase={phase} must be below scale=2; type degradation.phase=0"):
        Subsample(phase)(frames(), 2)


@pytest.mark.parametrize("degradation", [Bicubic(), Area(), Subsample()], ids=lambda d: d.name)
def test_sizes_must_be_divisible(degradation: Degradation) -> None:
    with pytest.raises(ValueError, match="24x48 is not divisible by 5"):
        degradation(frames(), 5)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(
    ("degradation", "centred"),
    [(Bicubic(), True), (Area(), True), (Subsample(), False)],
    ids=lambda value: getattr(value, "name", ""),
)
def test_which_ones_commute_with_flips(degradation: Degradation, centred: bool, scale: int) -> None:
    """All commute with the transpose. Subsampling shifts the grid, and a flip turns the shift round."""
    hr = frames()
    torch.testing.assert_close(degradation(hr.mT, scale), degradation(hr, scale).mT, atol=1e-5, rtol=0)
    for axis in (-2, -1):
        difference = (degradation(hr.flip(axis), scale) - degradation(hr, scale).flip(axis)).abs().max()
        assert (difference < 1e-5) == centred


@pytest.mark.parametrize("scale", SCALES)
def test_where_subsampled_pixels_lie(scale: int) -> None:
    """The shift that the docstring states, on a ramp of HR pixel positions."""
    ramp = torch.arange(48.0).expand(1, 1, 24, 48)
    centre = Area()(ramp, scale)
    for phase in range(scale):
        torch.testing.assert_close(centre - Subsample(phase)(ramp, scale), torch.full_like(centre, (scale - 1) / 2 - phase))


# What keeps the size


@pytest.mark.parametrize("sigma", [0.1, 0.65, 1.2, 1.6, 3.0, 7.0])
@pytest.mark.parametrize("channels", [1, 3])
def test_blur_is_scipys(sigma: float, channels: int) -> None:
    """Also where the kernel is wider than the frame."""
    hr = frames(c=channels)
    expected = gaussian_filter(hr.double().numpy(), sigma, mode="reflect", axes=(2, 3))
    np.testing.assert_allclose(GaussianBlur(sigma).apply(hr).numpy(), expected, atol=1e-6)


def test_blur_1_6_has_the_13_taps_of_the_literature() -> None:
    impulse = torch.zeros(1, 1, 31, 31)
    impulse[..., 15, 15] = 1.0
    assert (GaussianBlur(1.6).apply(impulse) > 0).sum() == 13 * 13


def test_noise_has_its_standard_deviation() -> None:
    hr = 300 + 20 * frames(8, 2, 60, 60)
    noise = (GaussianNoise(0.05).apply(hr, bounds=(300.0, 320.0)) - hr).double()
    count = noise.numel()
    assert abs(float(noise.mean())) < 4 / count**0.5
    assert abs(float(noise.std()) - 1.0) < 4 / (2 * count) ** 0.5
    # Gaussian: kurtosis 3. White: neighbours, channels and frames are uncorrelated.
    assert abs(float((noise / noise.std()).pow(4).mean()) - 3) < 0.15
    for axis in range(4):
        a, b = noise.narrow(axis, 1, noise.shape[axis] - 1), noise.narrow(axis, 0, noise.shape[axis] - 1)
        assert abs(float((a * b).mean())) < 5 / a.numel() ** 0.5


def test_noise_belongs_to_the_frame_and_the_seed() -> None:
    hr = frames(10)
    whole = GaussianNoise(0.1, seed=3).apply(hr)
    parts = torch.cat([GaussianNoise(0.1, seed=3).apply(hr[a:b], first=a) for a, b in ((0, 4), (4, 5), (5, 10))])
    assert torch.equal(whole, parts)
    assert not torch.equal(whole, GaussianNoise(0.1, seed=4).apply(hr))
    nothing = torch.zeros(10, 1, 24, 36)
    noise = torch.cat([GaussianNoise(1.0, seed=seed).apply(nothing) for seed in (0, 1)]).flatten(1)
    assert float((torch.corrcoef(noise) - torch.eye(20)).abs().max()) < 0.2
    assert torch.equal(frames(10), hr), "the argument is left as it is"


def test_noise_stays_what_it_was_in_earlier_versions() -> None:
    hr = torch.zeros(2, 1, 4, 5)
    drawn = torch.stack([torch.from_numpy(np.random.default_rng((3, k)).standard_normal((1, 4, 5), np.float32)) for k in (7, 8)])
    torch.testing.assert_close(GaussianNoise(0.5, seed=3).apply(hr, first=7), 0.5 * drawn)
    torch.testing.assert_close(GaussianNoise(0.5, seed=3).apply(hr, bounds=(-1.0, 3.0), first=7), 2 * drawn)


def test_no_noise_is_the_identity() -> None:
    assert torch.equal(GaussianNoise(0.0).apply(frames()), frames())


def jpeg_roundtrip(codes: np.ndarray, quality: int) -> np.ndarray:
    """One image, uint8 (H, W) or (H, W, 3)."""
    file = io.BytesIO()
    Image.fromarray(codes).save(file, format="jpeg", quality=quality)
    return np.array(Image.open(io.BytesIO(file.getvalue())))


@pytest.mark.parametrize("bounds", [BYTES, (-3.0, 5.0)])
@pytest.mark.parametrize("quality", [1, 50, 75, 100])
@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_pillows(channels: int, quality: int, bounds: tuple[float, float]) -> None:
    codes = np.random.default_rng(0).integers(0, 256, (3, 17, 30, channels), dtype=np.uint8)
    expected = np.stack([jpeg_roundtrip(c[..., 0] if channels == 1 else c, quality).reshape(c.shape) for c in codes])
    low, high = bounds
    values = low + (high - low) * torch.from_numpy(codes.transpose(0, 3, 1, 2)).float() / 255
    back = JPEG(quality).apply(values, bounds=bounds)
    np.testing.assert_allclose(
        back.numpy(), low + (high - low) * expected.transpose(0, 3, 1, 2).astype(np.float64) / 255, atol=1e-5 * (high - low)
    )


@pytest.mark.parametrize("codec", [JPEG(100), H264(0)], ids=lambda c: c.name)
def test_values_outside_the_bounds_are_clipped(codec: SameSizeStep) -> None:
    values = torch.full((2, 1, 16, 16), 7.0)
    values[1] = -7.0
    back = codec.apply(values, bounds=(-1.0, 1.0))
    torch.testing.assert_close(back, values.clamp(-1, 1), atol=1e-6, rtol=0)


@pytest.mark.parametrize("size", [(32, 48), (31, 48), (32, 47), (31, 47), (6, 9), (1, 1)], ids=str)
@pytest.mark.parametrize("n", [1, 2, 40])
def test_h264_lossless_is_rounding(size: tuple[int, int], n: int) -> None:
    """crf=0 loses nothing: all codes, frames and pixels come back in their places, also where sizes are odd."""
    values = 255 * frames(n, 1, *size)
    assert torch.equal(H264(0).apply(values, bounds=BYTES), values.round())


@pytest.mark.long
def test_h264_does_not_depend_on_what_was_in_memory() -> None:
    """x264's macroblock tree reads what nobody has written; glibc can be told what freed and fresh memory holds."""
    code = """
import hashlib, torch
from vsr.degradations import H264
clip = torch.rand(12, 1, 48, 64, generator=torch.Generator().manual_seed(0)).cumsum(-1).cumsum(-2)
clip = torch.stack([(255 * clip / clip.max())[i].roll(i, -1) for i in range(12)])
print(hashlib.sha256(H264(23).apply(clip, bounds=(0.0, 255.0)).numpy().tobytes()).hexdigest())
"""
    found = [
        run_process(
            [sys.executable, "-c", code], env={**os.environ, "MALLOC_PERTURB_": fill}, capture_output=True, text=True, check=True
        ).stdout
        for fill in ("0", "85")
    ]
    assert found[0] == found[1]


def test_h264_loses_more_with_rising_crf() -> None:
    clip = movie(20)
    quality = [psnr(H264(crf).apply(clip, bounds=BYTES), clip) for crf in (10, 23, 35, 51)]
    assert quality == sorted(quality, reverse=True)
    assert quality[0] > 40
    assert 28 < quality[1] < 45


@pytest.mark.parametrize("preset", ["ultrafast", "medium", "veryslow"])
def test_h264_keeps_the_order_of_frames(preset: Any) -> None:
    """A bar that moves by three pixels a frame; presets differ in how many B-frames stand out of order."""
    clip = torch.full((30, 1, 16, 96), 40.0)
    for i in range(30):
        clip[i, ..., 3 * i : 3 * i + 4] = 220.0
    back = H264(23, preset).apply(clip, bounds=BYTES)
    assert back.shape == clip.shape
    middle = back.mean((1, 2)).sub(40).clamp(min=20).sub(20)
    centre = (middle * torch.arange(96.0)).sum(1) / middle.sum(1)
    torch.testing.assert_close(centre, 3 * torch.arange(30.0) + 1.5, atol=0.5, rtol=0)


def test_h264_presets_differ() -> None:
    clip = movie()
    assert not torch.equal(H264(30, "ultrafast").apply(clip, bounds=BYTES), H264(30, "veryslow").apply(clip, bounds=BYTES))


def test_h264_extends_odd_sizes_by_their_last_pixels() -> None:
    clip = movie(6, 31, 47)
    even = torch.cat([clip, clip[..., -1:, :]], dim=-2)
    even = torch.cat([even, even[..., -1:]], dim=-1)
    assert torch.equal(H264(30).apply(clip, bounds=BYTES), H264(30).apply(even, bounds=BYTES)[..., :31, :47])


def test_h264_predicts_between_frames() -> None:
    """Why it takes whole clips: a frame comes out differently without the others."""
    clip = movie()
    assert not torch.equal(H264(30).apply(clip, bounds=BYTES)[6:7], H264(30).apply(clip[6:7], bounds=BYTES))


@pytest.mark.parametrize(
    ("codec", "channels", "message"),
    [
        (JPEG(75), 2, "degradation=jpeg(75): the data have 2 channels, this codec takes 1 or 3"),
        (H264(), 3, "degradation=h264(23): the data have 3 channels, this codec takes 1;"),
    ],
    ids=["jpeg", "h264"],
)
def test_channels_that_codecs_cannot_hold(codec: SameSizeStep, channels: int, message: str) -> None:
    with pytest.raises(UserError) as caught:
        codec.apply(frames(c=channels))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("module", "build", "message"),
    [
        ("PIL.Image", lambda: JPEG(75), "degradation=jpeg(75): needs Pillow; type: pip install 'vsr-movies[images]'"),
        ("av", H264, "degradation=h264(23): needs PyAV; type: pip install 'vsr-movies[video]'"),
    ],
    ids=["jpeg", "h264"],
)
def test_without_the_library(
    monkeypatch: pytest.MonkeyPatch, module: str, build: Callable[[], SameSizeStep], message: str
) -> None:
    """Before any data are read."""
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError) as caught:
        build()
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: GaussianBlur(0.0), "sigma=0.0 of GaussianBlur: must be positive"),
        (lambda: GaussianBlur(math.nan), "sigma=nan of GaussianBlur"),
        (lambda: GaussianBlur(math.inf), "sigma=inf of GaussianBlur"),
        (lambda: GaussianNoise(-0.1), "sigma=-0.1 of GaussianNoise: must be 0 or more"),
        (lambda: GaussianNoise(0.1, seed=-1), "seed=-1 of GaussianNoise: must be 0 or more"),
        (lambda: Subsample(-1), "phase=-1 of Subsample: must be 0 or more"),
        (lambda: JPEG(0), "quality=0 of JPEG: must lie between 1 and 100"),
        (lambda: JPEG(101), "quality=101 of JPEG"),
        (lambda: H264(-1), "crf=-1 of H264: must lie between 0 and 51"),
        (lambda: H264(52), "crf=52 of H264"),
    ],
)
def test_values_out_of_range(build: Callable[[], object], message: str) -> None:
    with pytest.raises(UserError) as caught:
        build()
    assert message in str(caught.value)
    assert "type degradation." in str(caught.value)
    assert "\n" not in str(caught.value)


# What all promise


def chain(**steps: object) -> Chain:
    return Chain(steps=steps)


LINEAR: list[Degradation] = [
    Bicubic(),
    Area(),
    Subsample(),
    Subsample(1),
    chain(blur=GaussianBlur(1.6), down=Subsample()),
    chain(down=Area(), blur=GaussianBlur(0.7)),
]
NOISY: list[Degradation] = [
    chain(down=Bicubic(), noise=GaussianNoise(0.05, seed=2)),
    chain(noise=GaussianNoise(0.05), down=Area()),
]
CODED: list[Degradation] = [chain(down=Subsample(), jpeg=JPEG(60)), chain(h264=H264(30), down=Subsample(1))]


@pytest.mark.parametrize("degradation", LINEAR, ids=lambda d: d.name)
@given(value=st.floats(-1e3, 1e3, width=32), scale=st.sampled_from(SCALES))
@settings(max_examples=20, deadline=None)
def test_constants_stay_constant(degradation: Degradation, value: float, scale: int) -> None:
    lr = degradation(torch.full((2, 1, 24, 48), value), scale)
    torch.testing.assert_close(lr, torch.full_like(lr, value), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("degradation", LINEAR, ids=lambda d: d.name)
@given(a=st.floats(-4, 4), b=st.floats(-4, 4), scale=st.sampled_from(SCALES))
@settings(max_examples=20, deadline=None)
def test_linear(degradation: Degradation, a: float, b: float, scale: int) -> None:
    x, y = frames(seed=1), frames(seed=2)
    torch.testing.assert_close(
        degradation(a * x + b * y, scale), a * degradation(x, scale) + b * degradation(y, scale), atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("degradation", [*LINEAR, *NOISY, *CODED], ids=lambda d: d.name)
@given(gain=st.floats(0.01, 100), offset=st.floats(-5, 5), scale=st.sampled_from(SCALES))
@settings(max_examples=15, deadline=None)
def test_units_do_not_matter(degradation: Degradation, gain: float, offset: float, scale: int) -> None:
    """Values and bounds in other units give the same LR frames in these units; `offset` counts ranges."""
    # Codes with a remainder that no rounding of float32 carries over the edge to the next code.
    values = ((255 * frames()).round() + 0.6 * (frames(seed=1) - 0.5)) / 255
    bounds = (gain * offset, gain * (offset + 1))
    other = degradation(gain * (values + offset), scale, bounds=bounds, first=7)
    torch.testing.assert_close(other / gain - offset, degradation(values, scale, first=7), atol=1e-4, rtol=0)


@pytest.mark.parametrize("degradation", [*LINEAR, *NOISY, *CODED], ids=lambda d: d.name)
def test_the_same_input_gives_the_same_output(degradation: Degradation) -> None:
    hr = frames()
    lr = degradation(hr, 2, first=3)
    assert torch.equal(lr, degradation(hr, 2, first=3))
    assert torch.equal(hr, frames()), "the argument is left as it is"


@pytest.mark.parametrize("degradation", [*LINEAR, *NOISY, CODED[0]], ids=lambda d: d.name)
@given(cut=st.integers(1, 5), scale=st.sampled_from(SCALES))
@settings(max_examples=10, deadline=None)
def test_batches_do_not_matter(degradation: Degradation, cut: int, scale: int) -> None:
    hr = frames(6)
    parts = [degradation(hr[:cut], scale, first=10), degradation(hr[cut:], scale, first=10 + cut)]
    torch.testing.assert_close(torch.cat(parts), degradation(hr, scale, first=10), atol=1e-6, rtol=0)


# Chains


def test_a_chain_is_its_steps_in_order() -> None:
    hr, bounds = movie(5), BYTES
    noise, jpeg = GaussianNoise(0.02), JPEG(50)
    degraded = chain(blur=GaussianBlur(1.0), noise=noise, down=Area(), jpeg=jpeg)(hr, 2, bounds=bounds, first=9)
    blurred = noise.apply(GaussianBlur(1.0).apply(hr), bounds=bounds, first=9)
    assert torch.equal(degraded, jpeg.apply(Area()(blurred, 2), bounds=bounds))
    assert torch.equal(chain(noise=noise, down=Area())(hr, 2), Area()(noise.apply(hr, first=0), 2))
    assert chain(h264=H264(), down=Area()).temporal
    assert not chain(down=Area(), jpeg=jpeg).temporal


def test_a_chain_is_a_degradation() -> None:
    inner = chain(blur=GaussianBlur(1.0), down=Bicubic())
    outer = chain(bd=inner, jpeg=JPEG(75))
    assert outer.name == "blur(1)+bicubic+jpeg(75)"
    assert torch.equal(outer(frames(), 2), JPEG(75).apply(inner(frames(), 2)))


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ({}, "degradation.steps=[]: none of them changes the size; add one"),
        ({"blur": GaussianBlur(1.0)}, "degradation.steps=['blur']: none of them changes the size; add one"),
        ({"a": Area(), "n": GaussianNoise(0.1), "b": Bicubic()}, "['a', 'n', 'b']: a and b change the size, one step must do it"),
        ({"a": Area(), "b": Bicubic()}, "type ~degradation.steps.b"),
        ({"a": Area(), "b": 5}, "degradation.steps.b=5: not a degradation; type ~degradation.steps.b to do without"),
        ({"a": Area(), "b": None}, "degradation.steps.b=None: not a degradation"),
        ({"a": Area(), "b": {"quality": 3}}, "degradation.steps.b={'quality': 3}: not a degradation"),
    ],
)
def test_chains_that_are_none(steps: dict[str, object], message: str) -> None:
    with pytest.raises(UserError) as caught:
        Chain(steps=steps)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("step", [GaussianBlur(1.6), GaussianNoise(0.01), JPEG(75), H264()], ids=lambda s: s.name)
def test_what_keeps_the_size_is_no_degradation_by_itself(step: SameSizeStep) -> None:
    with pytest.raises(UserError) as caught:
        step(frames(), 2)
    assert f"degradation={step.name}: keeps the size of frames" in str(caught.value)
    assert "\n" not in str(caught.value)


# Configs and names


@pytest.mark.parametrize(
    ("degradation", "name"),
    [
        (Bicubic(), "bicubic"),
        (Area(), "area"),
        (Subsample(), "subsample"),
        (Subsample(2), "subsample(2)"),
        (GaussianBlur(1.6), "blur(1.6)"),
        (GaussianBlur(2.0), "blur(2)"),
        (GaussianBlur(1.2345678), "blur(1.2345678)"),
        (GaussianNoise(0.01), "noise(0.01)"),
        (GaussianNoise(0.01, seed=3), "noise(0.01,seed=3)"),
        (JPEG(75), "jpeg(75)"),
        (H264(), "h264(23)"),
        (H264(18, "fast"), "h264(18,fast)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_names(degradation: Degradation | SameSizeStep, name: str) -> None:
    assert degradation.name == name
    assert degradation.temporal == name.startswith("h264")


@pytest.mark.parametrize(
    ("choice", "overrides", "name"),
    [
        ("bicubic", [], "bicubic"),
        ("area", [], "area"),
        ("subsample", ["degradation.phase=1"], "subsample(1)"),
        ("blur", [], "blur(1.6)+subsample"),
        ("blur", ["degradation.steps.blur.sigma=1.2"], "blur(1.2)+subsample"),
        ("noise", ["degradation.steps.noise.seed=1"], "bicubic+noise(0.01,seed=1)"),
        ("jpeg", ["degradation.steps.jpeg.quality=50"], "bicubic+jpeg(50)"),
        ("h264", ["degradation.steps.h264.preset=fast"], "bicubic+h264(23,fast)"),
        ("jpeg", ["~degradation.steps.jpeg"], "bicubic"),
        (
            "jpeg",
            ["+degradation.steps.noise={_target_: vsr.degradations.noise.GaussianNoise, sigma: 0.1}"],
            "bicubic+jpeg(75)+noise(0.1)",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_configs_give_what_the_command_line_says(choice: str, overrides: list[str], name: str) -> None:
    assert configured(choice, *overrides).name == name


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("choice", [name for name in choices("degradation") if name != "pairs"])  # LR of pairs comes from files
@pytest.mark.sampled(8)
def test_every_config_degrades(choice: str, scale: int) -> None:
    degradation = configured(choice)
    assert isinstance(degradation, Degradation)
    assert not isinstance(degradation, SameSizeStep)
    hr = movie(4, 24, 48)
    lr = degradation(hr, scale, bounds=BYTES)
    assert lr.shape == (4, 1, 24 // scale, 48 // scale)
    assert lr.dtype == hr.dtype
    reference = Subsample()(hr, scale) if choice in ("subsample", "blur") else Area()(hr, scale)
    assert psnr(lr, reference) > 18


@pytest.mark.parametrize(
    ("choice", "override", "message"),
    [
        ("jpeg", "+degradation.steps.jpeg.qualty=50", "degradation.steps.jpeg.qualty: unknown; did you mean 'quality'?"),
        ("jpeg", "degradation.steps.jpeg.quality=high", "degradation.steps.jpeg.quality=high: must be int"),
        ("jpeg", "degradation.steps.jpeg.quality=0", "quality=0 of JPEG: must lie between 1 and 100"),
        ("h264", "degradation.steps.h264.preset=swift", "degradation.steps.h264.preset=swift: must be one of ultrafast, "),
        ("noise", "degradation.steps.noise._target_=os.system", "degradation.steps.noise._target_=os.system: not a class"),
        ("noise", "~degradation.steps.bicubic", "degradation.steps=['noise']: none of them changes the size"),
    ],
)
def test_mistakes(choice: str, override: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        configured(choice, override)
    assert message in str(caught.value)
