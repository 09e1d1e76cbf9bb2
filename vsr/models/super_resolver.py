"""A network between physical values: what is needed to apply it to frames, without Lightning."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from vsr.degradations.consistency import Consistency, apply_consistency
from vsr.geometry import Alignment, crop
from vsr.models.base import LRLayout, Network, apply_network_to_clip
from vsr.models.ensemble import Ensemble
from vsr.models.linear import Linear
from vsr.models.normalize import Normalizer
from vsr.models.transform import unwrap_transform
from vsr.types import Clip, HRClips, LRClips


class SuperResolver(nn.Module):
    """A network together with its normaliser, its linear filter, its consistency, and what is known of its data.

    Frames are in physical units; the network works in the unit interval. `vsr.training.modules.base.SRModule` adds training and
    scores.

    Args:
        network: The network.
        normalizer: Maps physical units to the unit interval; a part of the checkpoint.
        reference: The linear filter that was fitted to the same training frames; a part of the checkpoint.
        card: Description for the checkpoint, in plain values: config, data, scale, ...
        consistency: Makes whole frames agree with their LR frames before they are scored or written; None for no correction.
        layout: Channels of the LR frames; None if they are the channels of HR frames and nothing else.
    """

    def __init__(
        self,
        network: Network,
        *,
        normalizer: Normalizer,
        reference: Linear | None = None,
        card: dict[str, Any] | None = None,
        consistency: Consistency | None = None,
        layout: LRLayout | None = None,
    ) -> None:
        super().__init__()
        self.network, self.normalizer, self.reference = network, normalizer, reference
        self.card, self.consistency, self.layout = card or {}, consistency, layout
        # Its folded form while scoring. In a tuple, so that it is no submodule: its weights are those of `network`.
        self._evaluated: tuple[nn.Module] = (network,)

    @property
    def kind(self) -> Literal["frame", "movie"]:
        """Return the kind of the network: "frame" for single frames, "movie" for clips."""
        return self.network.kind

    @property
    def alignment(self) -> Alignment | None:
        """Return the place of the LR pixels on the HR grid; None for the middle of their blocks."""
        return None if self.layout is None else self.layout.alignment

    @property
    def ensemble(self) -> Ensemble | None:
        """Return the ensemble among the wrappers of the network; None for other networks."""
        network = unwrap_transform(self.network)
        return network if isinstance(network, Ensemble) else None

    def super_resolve(self, network: nn.Module, lr: LRClips) -> HRClips:
        """Apply `network` to LR clips (B, C, T, h, w) in the unit interval, and return SR clips (B, C, T', H', W')."""
        return apply_network_to_clip(network, self.kind, lr)

    def unit_lr(self, lr: Tensor) -> Tensor:
        """Map the variables of LR frames or clips to the unit interval; further channels are in units of their own."""
        if self.layout is None or self.layout.plain:
            return self.normalizer(lr)
        channels = self.layout.channels
        return torch.cat([self.normalizer(lr[:, :channels]), lr[:, channels:]], 1)

    def forward(self, lr: LRClips) -> HRClips:
        """Map LR clips (B, C, T, h, w) to SR clips, both in physical units; a movie network can return fewer frames."""
        return self.normalizer.inverse(self.super_resolve(self._evaluated[0], self.unit_lr(lr)))

    def predict_clip(self, batch: Clip) -> HRClips:
        """Return SR clips in the unit interval, one SR frame per HR frame of the batch, after consistency correction."""
        return self._agreeing(self.network_clip(batch), batch)

    def network_clip(self, batch: Clip) -> HRClips:
        """Return SR clips in the unit interval, one SR frame per HR frame of the batch, without consistency correction."""
        context, lost = self.network.context, self.network.geometry.margin[0]
        seen = crop(self.unit_lr(batch.lr), (batch.context - context, 0, 0))
        scale, (y, x) = self.network.geometry.scale[1], batch.border
        return crop(self.super_resolve(self._evaluated[0], seen), (context - lost, y * scale, x * scale))

    def _agreeing(self, sr: HRClips, batch: Clip) -> HRClips:
        if self.consistency is None:
            return sr
        _, y, x = self.network.geometry.margin
        return apply_consistency(self.consistency, sr, self.normalizer(batch.own_lr[:, : batch.hr.shape[1]]), (y, x))
