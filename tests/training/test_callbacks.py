"""Callbacks against the values that they promise."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader

from vsr.degradations.resize import resize_bicubic_up
from vsr.geometry import Geometry, crop
from vsr.models.base import Network
from vsr.models.normalize import Normalizer
from vsr.recipe import Recipe
from vsr.training import report
from vsr.training.callbacks import EMA, LRConsistency, ScoreLog, StopAtTarget, TimeLimit
from vsr.training.modules.frame import FrameSR
from vsr.types import Clip


class Countdown(L.LightningModule):
    """One weight, which is -n after n steps, and one buffer with the same value."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.register_buffer("count", torch.zeros(()))

    def training_step(self, batch: torch.Tensor) -> torch.Tensor:
        self.count -= 1
        return self.weight * 1.0

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1.0)


@pytest.mark.parametrize("decay", [0.3, 0.9, 0.999])
@pytest.mark.parametrize(("steps", "batches"), [(1, 1), (2, 3), (7, 2), (40, 1)])
def test_the_average_of_the_weights_is_the_recursion_written_out(decay: float, steps: int, batches: int) -> None:
    module = Countdown()
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = L.Trainer(max_epochs=1, accelerator="cpu", callbacks=[EMA(decay)], accumulate_grad_batches=batches, **quiet)
    trainer.fit(module, DataLoader(torch.zeros(steps * batches)))
    average = -1.0  # the first step is taken as it is
    for n in range(1, steps):
        kept = min(decay, (1 + n) / (10 + n))
        average = kept * average + (1 - kept) * -(n + 1)
    assert float(module.weight.detach()) == pytest.approx(average, rel=1e-5)
    assert float(module.count) == -steps * batches  # buffers are not averaged


class Enlarged(Network):
    """Bicubic interpolation that loses rows and columns on each side."""

    def __init__(self, lost: tuple[int, int]) -> None:
        super().__init__()
        self.geometry, self.reach = Geometry((1, 2, 2), (0, *lost)), 2

    def forward(self, lr: Tensor) -> Tensor:
        return crop(resize_bicubic_up(lr, 2), (0, *self.geometry.margin[1:]))


def module_with_clips(lost: tuple[int, int], seed: int) -> tuple[FrameSR, Clip]:
    """A module whose unit interval is -1 to 3, and a clip of 8 frames of 14x16 LR pixels with two LR frames before and after."""
    hr = 4 * torch.rand(1, 1, 12, 28, 32, generator=torch.Generator().manual_seed(seed)) - 1
    lr = hr.unflatten(-1, (16, 2)).unflatten(-3, (14, 2)).mean((-1, -3))
    module = FrameSR(Enlarged(lost), normalizer=Normalizer(-1.0, 3.0), recipe=Recipe(), window=(0, 8, 8))
    return module, Clip(lr, hr[:, :, 2:-2], torch.zeros(1, dtype=torch.int64))


@pytest.mark.parametrize(("lost", "border"), [((0, 0), (2, 2)), ((5, 0), (3, 2)), ((1, 7), (2, 4))])
def test_lr_consistency_is_of_the_first_frames_of_validation(lost: tuple[int, int], border: tuple[int, int]) -> None:
    logged: list[float] = []
    callback = LRConsistency(lambda hr: nn.functional.avg_pool2d(hr, 2), 2, lost)
    expected = []
    for epoch in range(2):
        for number in range(3):
            module, batch = module_with_clips(lost, 10 * epoch + number)
            module.log = lambda name, value: logged.append(value)  # type: ignore[method-assign, assignment]
            for place in (0, 1):  # the frames of training do not count
                callback.on_validation_batch_end(SimpleNamespace(), module, None, batch, number, place)  # type: ignore[arg-type]
            x = batch.lr[0, 0, 2:-2].double().numpy()
            again = resize_bicubic_up(batch.lr[0, 0, 2:-2, None].double(), 2)[:, 0].numpy().reshape(8, 14, 2, 16, 2).mean((2, 4))
            x, again = (each[:, border[0] : -border[0], border[1] : -border[1]] for each in (x, again))
            spread = (x - x.mean((1, 2), keepdims=True)) ** 2
            expected.append(np.sqrt(((again - x) ** 2).mean((1, 2)) / spread.mean((1, 2))))
        callback.on_validation_epoch_end(SimpleNamespace(), module)  # type: ignore[arg-type]
        # Two batches have the 16 frames.
        assert logged[-1] == module.card["consistency"] == pytest.approx(np.mean(expected[-3:-1]), rel=1e-5)
    assert len(logged) == 2


def test_lr_consistency_leaves_out_frames_with_gaps() -> None:
    callback = LRConsistency(lambda hr: nn.functional.avg_pool2d(hr, 2), 2, (5, 0))
    module, batch = module_with_clips((5, 0), 0)
    module.log = lambda name, value: None  # type: ignore[method-assign, assignment]
    found = []
    for gap in ((5, 20), (4, 20), (20, 3)):  # row and column; 5 rows and 4 columns per side do not count
        mask = torch.ones_like(batch.hr)
        mask[:, :, 2:, gap[0], gap[1]] = 0
        callback.on_validation_batch_end(SimpleNamespace(), module, None, batch._replace(mask=mask), 0, 1)  # type: ignore[arg-type]
        callback.on_validation_epoch_end(SimpleNamespace(), module)  # type: ignore[arg-type]
        found.append(module.card.pop("consistency"))
    assert found[1] == found[2] != found[0]
    callback.on_validation_batch_end(SimpleNamespace(), module, None, batch._replace(mask=0 * mask), 0, 1)  # type: ignore[arg-type]
    callback.on_validation_epoch_end(SimpleNamespace(), module)  # type: ignore[arg-type]
    assert not module.card  # no value is no value, not NaN


@pytest.mark.parametrize(
    ("limits", "course"),
    [((3, None), [False, False, True]), ((None, 30.0), [False, True, True]), ((2, 36.0), [False, True, True])],
)
def test_the_first_stage_ends_at_its_epoch_or_its_psnr(limits: tuple[int | None, float | None], course: list[bool]) -> None:
    for epoch, (psnr, ended) in enumerate(zip((29.9, 30.0, 31.0), course, strict=True)):
        trainer = SimpleNamespace(callback_metrics={"val/psnr": torch.tensor(psnr)}, current_epoch=epoch, should_stop=False)
        StopAtTarget(*limits).on_train_epoch_end(trainer, Countdown())  # type: ignore[arg-type]
        assert trainer.should_stop == ended


@pytest.mark.parametrize(
    ("processes", "step", "seconds", "ended"),
    [(1, 7, 8.0, False), (1, 7, 8.1, True), (2, 19, 9.0, False), (2, 20, 9.0, True), (2, 40, 7.0, False)],
)
def test_a_fit_ends_after_its_time(processes: int, step: int, seconds: float, ended: bool) -> None:
    module, _ = module_with_clips((0, 0), 0)
    module.trained_seconds = lambda: seconds  # type: ignore[method-assign]
    trainer = SimpleNamespace(should_stop=False, world_size=processes, global_step=step, current_epoch=0, max_epochs=9)
    TimeLimit(8.0).on_train_batch_end(trainer, module)  # type: ignore[arg-type]
    assert trainer.should_stop == ended


def test_the_scores_of_each_epoch_are_a_line(tmp_path: Path) -> None:
    saver = ModelCheckpoint(dirpath=tmp_path / "run" / "checkpoints")
    for epoch in range(2):
        scores = {"val/psnr": torch.tensor(30.5 + epoch), "loss": torch.tensor(1.0)}
        for first in (True, False):  # one process writes
            trainer = SimpleNamespace(
                checkpoint_callbacks=[saver], is_global_zero=first, callback_metrics=scores, current_epoch=epoch
            )
            ScoreLog().on_train_epoch_end(trainer, Countdown())  # type: ignore[arg-type]
    lines = (tmp_path / "run" / "scores.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"epoch": 1, "val/psnr": 30.5}, {"epoch": 2, "val/psnr": 31.5}]


def test_an_image_of_validation_has_a_row_for_each_method(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[dict[str, np.ndarray], np.ndarray, str]] = []

    def keep(values: dict[str, np.ndarray], error: np.ndarray, rms: str, unit: str) -> np.ndarray:
        drawn.append((values, error, rms))
        return draw_rows(values, error, rms, unit)

    draw_rows = report._draw_rows
    monkeypatch.setattr(report, "_draw_rows", keep)
    module, batch = module_with_clips((1, 3), 0)
    module.card = {"data": {"bounds": [-1.0, 3.0], "units": "m"}, "config": {"name": "mine"}}
    image = report.validation_image(module, batch)
    assert image.dtype == np.uint8
    assert image.ndim == 3
    assert np.ptp(image.astype(int), axis=-1).max() > 100  # in colour
    [(values, error, rms)] = drawn
    assert list(values) == ["LR", "bicubic", "mine", "truth"]
    shown = [0, 4, 7]  # of the 8 frames
    truth = batch.hr[0, 0, shown, 1:-1, 3:-3].numpy()
    lr = batch.lr[0, :, 2:-2].transpose(0, 1)[shown]
    bicubic = resize_bicubic_up((lr + 1) / 4, 2)[:, 0, 1:-1, 3:-3].numpy() * 4 - 1
    np.testing.assert_allclose(values["truth"][..., 0], truth, atol=1e-5)
    np.testing.assert_allclose(values["mine"][..., 0], bicubic, atol=1e-5)
    np.testing.assert_allclose(values["bicubic"], values["mine"], atol=1e-5)
    nearest = lr[:, 0].repeat_interleave(2, -1).repeat_interleave(2, -2)[:, 1:-1, 3:-3].numpy()
    np.testing.assert_allclose(values["LR"][..., 0], nearest, atol=1e-5)
    size = np.sqrt(np.mean((bicubic - truth) ** 2))
    np.testing.assert_allclose(error, (bicubic - truth) / size, atol=1e-4)
    assert rms == f"{size:.2g} m"
    colours = batch._replace(**{name: getattr(batch, name).expand(-1, 3, -1, -1, -1) for name in ("lr", "hr")})
    report.validation_image(module, colours, physical=False)
    assert drawn[-1][0]["truth"].shape == (3, 26, 26, 3)
    several = colours._replace(hr=torch.cat([colours.hr[:, :1] * 0, colours.hr[:, 1:]], 1))
    module.card["data"] |= {"variables": ["u", "v", "w"], "units": ["m/s"] * 3, "bounds": [[-1.0, 3.0]] * 3}
    report.validation_image(module, several, channel=0)
    assert np.allclose(drawn[-1][0]["truth"], 0, atol=1e-6)
