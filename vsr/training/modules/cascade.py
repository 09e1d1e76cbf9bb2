"""The pipelines of two networks in a row: frame then movie, or movie then frame."""

from __future__ import annotations

from torch import Tensor

from vsr.models.cascade import Cascade
from vsr.training.modules.base import SRModule
from vsr.types import HRClips, LRClips


class CascadeSR(SRModule):
    """Super-resolution of clips by two networks in a row; the first one's own error may be part of the loss."""

    kind = "movie"
    network: Cascade

    def loss(self, lr: LRClips, hr: HRClips, mask: Tensor | None) -> Tensor:
        """Add the loss of the first network's output, weighted by `interim`, when the first network is trained."""
        network = self.network
        interim, sr = network.stages(lr)
        loss = self.error(sr, hr, mask, network)
        if network.trains == "both" and network.interim > 0:
            loss = loss + network.interim * self.error(interim, hr, mask, network.first)
        return loss
