"""Base class of the LightningModules of all pipelines: training, validation and scoring."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from vsr.degradations.consistency import Consistency
from vsr.errors import UserError
from vsr.geometry import Triple, crop
from vsr.metrics.calibration import Calibration
from vsr.metrics.collection import MetricCollection
from vsr.metrics.fields import VectorScores
from vsr.metrics.motion import MotionScores
from vsr.metrics.psnr_ssim import HeadlineScores
from vsr.models.base import LRLayout, Network
from vsr.models.ensemble import Ensemble, MemberNoise, SpreadFit, draw_noise
from vsr.models.linear import Linear
from vsr.models.normalize import Normalizer
from vsr.models.super_resolver import SuperResolver
from vsr.models.transform import Transformed, unwrap_transform
from vsr.recipe import Recipe
from vsr.system.ranks import average_over_ranks, copy_from_first_rank, current_rank, rank_count, sum_over_ranks
from vsr.training.finetune import Tune, Tuning
from vsr.training.modules.ensemble_loss import ensemble_terms
from vsr.training.modules.losses import additional_loss_terms, loss_function, weighted_mean
from vsr.training.modules.schedule import build_schedule
from vsr.types import Clip, HRClips, LRClips, TrainingFrames

MEMBERS_OF_FIT = 1  # of an ensemble in validation, to fit their spread
FINITE_CHECK_EVERY = 50  # steps, on accelerators, where looking at the loss waits for the device


class SRModule(SuperResolver, L.LightningModule):
    """LightningModule of a network: a `SuperResolver` with loss, optimiser and scores.

    Batches are in physical units; the network works in the unit interval.

    Args:
        network: The network to train.
        normalizer: Maps physical units to the unit interval; a part of the checkpoint.
        recipe: Settings of the training.
        window: (t, y, x) HR frames and pixels cut per side before scoring, the same for every row of a table.
        quantize: True to score frames that are clamped and rounded to 256 codes of the unit interval, as in an 8-bit file.
        val_splits: Names of the data module's validation loaders, in order.
        test_splits: Names of the data module's test loaders, in order.
        tune: Settings of fine-tuning; None for ordinary training.
        reference: The linear filter that is fitted to the same training frames and scored as a row of each table; a part of the
            checkpoint.
        card: Description of the module for the checkpoint, in plain values: config, data, scale, ...
        consistency: Makes whole frames agree with their LR frames before they are scored or written; None for no correction.
            The training step does not use it, because a patch has only some of the HR pixels that its LR pixels depend on.
        layout: Channels of the LR frames; None if they are the channels of HR frames and nothing else.

    Raises:
        UserError: If the network loses more of the border than the window cuts.
    """

    def __init__(
        self,
        network: Network,
        *,
        normalizer: Normalizer,
        recipe: Recipe,
        window: Triple,
        quantize: bool = False,
        val_splits: tuple[str, ...] = ("train", "val"),
        test_splits: tuple[str, ...] = ("test",),
        tune: Tune | None = None,
        reference: Linear | None = None,
        card: dict[str, Any] | None = None,
        consistency: Consistency | None = None,
        layout: LRLayout | None = None,
    ) -> None:
        # In time the data module makes frames up beyond the ends; in space nothing stands in for what a network loses.
        needed = (window[0], *network.geometry.margin[1:])
        if not network.geometry.fits((network.geometry.margin[0], *window[1:])):
            raise UserError(
                f"{type(network).__name__} loses {network.geometry.margin[1:]} (y,x) of its output's border, the evaluation "
                f"window cuts only {window[1:]}; type window=[{','.join(map(str, needed))}] or larger"
            )
        super().__init__(network, normalizer=normalizer, reference=reference, card=card, consistency=consistency, layout=layout)
        self.recipe, self.window, self.quantize = recipe, window, quantize
        self.val_splits, self.test_splits = val_splits, test_splits
        self.tune = tune or Tune()
        self.tuning = Tuning(Tune(), network)  # at work during a fit
        # Tests score each variable in its own range, validation all of them together.
        each = range(normalizer.low.numel())
        self.scores = nn.ModuleDict({_key(name): nn.ModuleList([HeadlineScores()]) for name in val_splits})
        self.scores.update({_key(name): nn.ModuleList([HeadlineScores() for _ in each]) for name in test_splits})
        self.sequences = nn.ModuleDict({_key(name): nn.ModuleList([MotionScores() for _ in each]) for name in test_splits})
        self.members = 0  # of an ensemble whose members are scored; 0 for the output without noise
        self.calibration: Calibration | None = None  # whose intervals are scored
        # Split -> scores of the last test, by name, of each variable.
        self.scored: dict[str, list[dict[str, Tensor]]] = {}
        self.collections: dict[str, list[MetricCollection]] = {}  # split -> all metrics of a detailed test, of each variable
        self.vector_scores: dict[str, VectorScores] = {}  # split -> scores of velocities of a detailed test
        self._spread: SpreadFit | None = None  # of an ensemble, during a validation of a fit
        self._loss_sum: Tensor | float = 0.0
        self._part = 1.0  # of the batch, see Clip
        self._steps = 0  # of the fit
        self._started: float | None = None
        self._spent = 0.0  # seconds, in the processes that this fit was interrupted in
        self.stage_seconds: dict[str, float] = {}  # of fits of parts of the network that came before this one

    def predict_members(self, batch: Clip) -> Tensor:
        """Return `members` members of an ensemble, in the unit interval and after consistency correction, (B, C, K, F, H, W)."""
        network = self.ensemble
        assert network is not None
        noise = MemberNoise(network.noise_planes, self.members, seed=0)
        length, (h, w), (y, x) = batch.lr.shape[2], batch.lr.shape[-2:], batch.border
        planes = [noise(range(first - batch.context, first - batch.context + length), h, w) for first in batch.position.tolist()]
        drawn = torch.stack(planes).transpose(1, 2).to(batch.lr)  # (B, K planes, T, h, w)
        lr, context, lost = self.unit_lr(batch.lr), network.context, network.geometry.margin[0]
        seen = crop(torch.cat([lr, drawn], 1), (batch.context - context, 0, 0))
        sr = crop(self.super_resolve(self._evaluated[0], seen), (context - lost, y * network.scale, x * network.scale))
        return torch.stack([self._agreeing(one, batch) for one in sr.split(network.channels, 1)[1:]], 2)

    def predict_distribution(self, batch: Clip) -> tuple[HRClips, Tensor | None]:
        """Return the prediction (B, C, F, H, W) and members (B, C, K, F, H, W), or values of its calibration; None without."""
        members = self.predict_members(batch) if self.members else None
        sr = self.predict_clip(batch) if members is None else members.mean(2)
        if self.calibration is not None:
            lr = self.normalizer(batch.own_lr[:, : batch.hr.shape[1]])
            spread = None if members is None else members.std(2)
            members = self.calibration.members(sr, spread, lr, self.lead_of(batch))
        return sr, members

    def lead_of(self, batch: Clip) -> Tensor | None:
        """Return the lead time of the frames to score, (B, F), 1 for the longest of training; None if the network is not told."""
        plane = self.time_plane
        return None if plane is None else batch.own_lr[:, plane, :, 0, 0]

    @property
    def time_plane(self) -> int | None:
        """Number of the channel of LR that holds the lead time; None if the network does not see it."""
        return None if self.layout is None else self.layout.time_plane

    def in_unit_interval(self, frames: TrainingFrames) -> TrainingFrames:
        """Normalise whole frames from physical units to the unit interval."""
        return [(self.unit_lr(lr), self.normalizer(hr), mask) for lr, hr, mask in frames]

    def seen_frames(self, frames: TrainingFrames) -> TrainingFrames:
        """Return whole frames as the network sees them inside its transform, from frames in physical units."""
        unit = self.in_unit_interval(frames)
        return self.network.transform_training_frames(unit) if isinstance(self.network, Transformed) else unit

    def prepare(self, frames: TrainingFrames, validation: TrainingFrames = ()) -> dict[int, float]:
        """Compute the statistics and closed-form filters of the networks from whole frames in physical units.

        Args:
            frames: Training frames.
            validation: Validation frames, which choose the size of the linear filter; without any, it stays as it is.

        Returns:
            Validation PSNR in dB of the linear filter by its size; empty without validation frames.
        """
        unit = self.in_unit_interval(frames)
        own = unwrap_transform(self.network)
        if isinstance(own, Linear) and own.chosen and validation:
            own.prepare_best_size(self.seen_frames(frames), self.seen_frames(validation))
        else:
            self.network.prepare(unit)
        if self.reference is not None and validation:
            return self.reference.prepare_best_size(unit, self.in_unit_interval(validation))
        if self.reference is not None:
            self.reference.prepare(unit)
        return {}

    @property
    def trainable(self) -> bool:
        """Return True if any parameter of the network requires a gradient."""
        return any(p.requires_grad for p in self.network.parameters())

    # --- training -----------------------------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Copy all parameters and buffers from rank 0, because values that each rank computes may differ in the last bit."""
        copy_from_first_rank([*self.parameters(), *self.buffers()])

    def training_step(self, batch: Clip, batch_idx: int) -> Tensor:
        """Compute the loss of a batch over all pixels inside the network's margin. Raises UserError if the loss is not finite."""
        self._part = batch.share
        lr, hr = self.unit_lr(batch.lr), self.normalizer(batch.hr)
        if isinstance(self.network, Transformed):
            lr, hr = self.network.transform(lr), self.network.transform(hr)
        loss = self.loss(lr, hr, batch.mask) + self.tuning.penalty()
        value = loss.detach()
        if (value.device.type == "cpu" or batch_idx % FINITE_CHECK_EVERY == 0) and not torch.isfinite(value):
            raise UserError(
                f"the loss is {value.item()} in epoch {self.current_epoch + 1}, step {batch_idx + 1}: training stopped, the "
                f"checkpoints of earlier epochs are kept; try a lower recipe.rate than {self.recipe.rate:g}"
            )
        self._loss_sum = self._loss_sum + value
        return loss

    def loss(self, lr: LRClips, hr: HRClips, mask: Tensor | None) -> Tensor:
        """Compute the training loss of LR and HR clips of equal length, in the unit interval, transformed if the network is."""
        network = unwrap_transform(self.network)
        if isinstance(network, Ensemble):
            return self.ensemble_error(network, lr, hr, mask)
        return self.error(self.super_resolve(network, lr), hr, mask, network)

    def ensemble_error(self, network: Ensemble, lr: LRClips, hr: HRClips, mask: Tensor | None) -> Tensor:
        """Compute the recipe's loss of the network's own output, plus the proper scores of members, see `ensemble_terms`."""
        count = int(self.card["config"]["members"])
        # All processes draw the noise of all clips, so that none has that of another.
        every = draw_noise(network.noise_planes, lr.shape[2], lr, count, clips=len(lr) * rank_count())
        noise = every[current_rank() * len(lr) :][: len(lr)]
        found = self.super_resolve(network, torch.cat([lr, noise], 1)).unflatten(1, (1 + count, network.channels))
        sr, *members = found.unbind(1)
        loss = self.error(sr, hr, mask, network)
        hr, mask = self._inside_margin(hr, mask, network)
        unit = network.error_unit
        for weight, score, counts in ensemble_terms(torch.stack(members) / unit, hr / unit, mask, network.scale):
            loss = loss + weight * self._part_of(weighted_mean(score, counts), counts)
        return loss

    def error(self, sr: HRClips, hr: Tensor, mask: Tensor | None, network: Network) -> Tensor:
        """Compute the recipe's loss of SR clips against HR clips, inside the margin, in the error unit of `network`, weighted."""
        hr, mask = self._inside_margin(hr, mask, network)
        sr, hr, recipe = sr / network.error_unit, hr / network.error_unit, self.recipe
        if self.finetuning:
            return self._part_of(loss_function("mse", sr, hr, mask), mask)
        loss = self._part_of(loss_function(recipe.loss, sr, hr, mask), mask)
        weights = {"gradient": recipe.gradient, "spectral": recipe.spectral, "temporal": recipe.temporal}
        kind = "mse" if callable(recipe.loss) else recipe.loss  # a loss of a plugin is for frames
        for weight, p, y, counts in additional_loss_terms(sr, hr, mask, **weights):
            loss = loss + weight * self._part_of(loss_function(kind, p, y, counts), counts)
        return loss

    def _inside_margin(self, hr: Tensor, mask: Tensor | None, network: Network) -> tuple[Tensor, Tensor | None]:
        """Cut HR clips and their mask as the network cuts its output; the weights of variables become part of the mask."""
        if any(network.geometry.margin):
            hr = crop(hr, network.geometry.margin)
            mask = None if mask is None else crop(mask, network.geometry.margin)
        if self.recipe.weights:
            each = [self.recipe.weights.get(name, 1.0) for name in self.card["data"]["variables"]]
            counted = hr.new_tensor(each).view(-1, 1, 1, 1).expand_as(hr)
            mask = counted if mask is None else mask * counted
        return hr, mask

    @property
    def finetuning(self) -> bool:
        """Return True in the last fraction `recipe.finetune` of the fit's steps, where the loss is the squared error alone."""
        return self.recipe.finetune > 0 and self.trainer.global_step >= (1 - self.recipe.finetune) * self._steps

    def _part_of(self, loss: Tensor, mask: Tensor | None) -> Tensor:
        """Scale the mean loss over this process's unmasked values to the process's part of the mean over the whole batch.

        The mean of the parts over all processes is the loss of one process with the whole batch; the same holds for the
        gradients, and also if the processes have different numbers of clips or of unmasked values.
        """
        if rank_count() == 1:
            return loss
        if mask is None:
            return loss * self._part
        pixels = mask.sum() * (self._part > 0)
        return loss * pixels * rank_count() / sum_over_ranks(pixels).clamp_min(1)

    def on_after_backward(self) -> None:
        # DDP averages the gradients of what required them at the start of the fit.
        average_over_ranks(self.tuning.thawed)

    def on_train_start(self) -> None:
        self._started = time.perf_counter()
        self._steps = int(self.trainer.estimated_stepping_batches)
        self.tuning.begin()
        self.tuning.begin_epoch(self.current_epoch)  # a fit that goes on in the middle of an epoch does not begin it

    def on_train_epoch_start(self) -> None:
        self._loss_sum = 0.0
        self.tuning.begin_epoch(self.current_epoch)

    def configure_optimizers(self) -> Any:
        """Build Adam for all parameters that train now or later, and the learning-rate schedule with one step per batch."""
        groups = self.tuning.groups(self.recipe.rate)
        # Lightning clips gradients under mixed precision only where the optimizer is not fused.
        optimizer = torch.optim.Adam(groups, lr=self.recipe.rate, fused="mixed" not in str(self.trainer.precision))
        scheduler = build_schedule(optimizer, self.recipe.schedule, int(self.trainer.estimated_stepping_batches))
        return (
            optimizer
            if scheduler is None
            else {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
        )

    # --- scores -------------------------------------------------------------------------------------------------------

    def score(self, batch: Clip, split: str) -> None:
        """Crop whole frames by the window in y and x, and add them to a split's scores; the loader has cropped them in time."""
        truth = self.normalizer(batch.hr)
        sr, members = self.predict_distribution(batch) if split in self.collections else (self.predict_clip(batch), None)
        if self.quantize:
            sr, truth = ((x.clamp(0, 1) * 255).round() / 255 for x in (sr, truth))
        if split in self.vector_scores:
            self.vector_scores[split].update(sr, truth, batch.mask)
        _, y, x = self.window
        _, lost_y, lost_x = self.network.geometry.margin
        sr, truth = crop(sr, (0, y - lost_y, x - lost_x)), crop(truth, (0, y, x))
        mask = None if batch.mask is None else crop(batch.mask, (0, y, x))
        # A frame without a score would only drop out of the mean, which flatters what gave it.
        if split in self.test_splits and not bool(torch.isfinite(sr).all()):
            name = self.card.get("config", {}).get("name", type(self.network).__name__)
            raise UserError(
                f"{name}: puts out values that are not finite in frames {int(batch.position[0])} and on of '{split}'; "
                f"train it again with a lower recipe.rate than {self.recipe.rate:g}"
            )
        if split in self.collections:
            lr = self.normalizer(batch.own_lr[:, : batch.hr.shape[1]])
            cut = sr.unsqueeze(2) if members is None else crop(members, (0, y - lost_y, x - lost_x))
            for metrics, p, target, own, each in _by_variable(self.collections[split], sr, truth, lr, cut):
                metrics.update(p, target, mask, lr=own, follows=batch.follows, members=each)
            return
        for metrics, p, y in _by_variable(self._metrics(self.scores, split), sr, truth):
            metrics.update(p, y, mask)
        if _key(split) in self.sequences:
            for metrics, p, y in _by_variable(self._metrics(self.sequences, split), sr, truth):
                metrics.update(p, y, mask, batch.follows)

    @staticmethod
    def _metrics(group: nn.ModuleDict, split: str) -> list[Any]:
        """Return the metrics of each variable on a split."""
        return list(group[_key(split)])  # type: ignore[call-overload]

    def on_validation_epoch_start(self) -> None:
        # After the callbacks' hook of this name, which puts the averaged weights in place.
        if self.ensemble is not None and self.trainer.state.fn == "fit":
            self._spread = SpreadFit(self.ensemble.channels)
            self.ensemble.factor.fill_(1.0)
        self._evaluated = (self.network.fold(),)

    def validation_step(self, batch: Clip, batch_idx: int, dataloader_idx: int = 0) -> None:
        split = self.val_splits[dataloader_idx]
        self.score(batch, split)
        if self._spread is not None and split == "val":
            _, y, x = self.window  # ensembles lose no border
            self.members = MEMBERS_OF_FIT
            clips = self.predict_members(batch), self.predict_clip(batch), self.normalizer(batch.hr)
            self.members = 0
            mask = None if batch.mask is None else crop(batch.mask, (0, y, x))
            members, sr, hr = (crop(each, (0, y, x)) for each in clips)
            self._spread.update(members, sr, hr, mask, crop(self.classes_of(batch), (0, y, x)))

    def classes_of(self, batch: Clip) -> Tensor:
        """Return the class of activity of each HR pixel of the frames to score, (B, C, F, H, W), for an ensemble."""
        assert self.ensemble is not None
        lr = self.normalizer(batch.own_lr[:, : batch.hr.shape[1]]).transpose(1, 2)
        found = self.ensemble.classes(lr.flatten(0, 1)).unflatten(0, lr.shape[:2]).transpose(1, 2)
        return found.repeat_interleave(self.ensemble.scale, -2).repeat_interleave(self.ensemble.scale, -1)

    def fit_spread(self) -> None:
        """Set the factors of the members of an ensemble to that of the validation frames since the validation began."""
        if self._spread is not None and self.ensemble is not None:
            self.ensemble.factor.copy_(self._spread.factor())

    def on_validation_epoch_end(self) -> None:
        self.fit_spread()
        self._spread = None
        if self.trainer.state.fn == "fit":
            # Once per epoch, and here, where callbacks still see it: logging every step costs more than a step does.
            steps = self.trainer.fit_loop.epoch_loop.batch_progress.current.ready  # an epoch may be ended early
            self.log("train/loss", float(self._loss_sum) / max(1, steps), sync_dist=True)
            self.log("train/rate", self.optimizers().param_groups[0]["lr"])  # type: ignore[union-attr]
        for split in self.val_splits:
            means = self.validation_means(split)
            self.log_dict({f"{split}/{name}": value for name, value in means.items()}, add_dataloader_idx=False)
        self._evaluated = (self.network,)

    def validation_means(self, split: str) -> dict[str, Tensor]:
        """Return the mean headline scores of the frames of a validation split, and begin anew."""
        scores = self._metrics(self.scores, split)[0]
        means = scores.compute()
        scores.reset()
        return means

    def on_test_start(self) -> None:
        self.network.eval()
        self._evaluated = (self.network.fold(),)
        self.scored = {}

    def test_step(self, batch: Clip, batch_idx: int, dataloader_idx: int = 0) -> None:
        self.score(batch, self.test_splits[dataloader_idx])

    def on_test_epoch_end(self) -> None:
        for split in (name for name in self.test_splits if name not in self.collections):
            self.scored[split] = []
            for frames, sequences in zip(*(self._metrics(group, split) for group in (self.scores, self.sequences)), strict=True):
                with frames.sync_context():
                    columns = {name: column.cpu().double() for name, column in frames.per_frame().items()}
                self.scored[split].append(columns | sequences.compute())
                frames.reset()
                sequences.reset()

    def on_test_end(self) -> None:
        self._evaluated = (self.network,)

    # --- checkpoint ---------------------------------------------------------------------------------------------------

    def trained_seconds(self) -> float:
        """Return the seconds of training in this fit, without the pauses after interruptions."""
        return self._spent + (time.perf_counter() - self._started if self._started else 0.0)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        spent = self.trained_seconds()
        seconds = sum(self.stage_seconds.values()) + spent
        checkpoint["vsr"] = {**self.card, "seconds": seconds, "stage_seconds": self.stage_seconds}
        checkpoint["vsr_progress"] = {"loss_sum": self._loss_sum, "spent": spent}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._loss_sum = checkpoint["vsr_progress"]["loss_sum"]
        self._spent = checkpoint["vsr_progress"]["spent"]


def _by_variable(metrics: Any, *clips: Tensor) -> Iterator[Any]:
    """Yield each of several metrics with the clips of its variable; a single metric with the clips of all channels."""
    if len(metrics) == 1:
        yield metrics[0], *clips
        return
    for i, one in enumerate(metrics):
        yield one, *(each[:, i : i + 1] for each in clips)


def _key(split: str) -> str:
    """Return the ModuleDict key of a split; the names "train" and "val" would shadow attributes."""
    return f"split_{split}"
