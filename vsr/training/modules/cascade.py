"""LightningModule for two networks in a row: frame then movie network, or movie then frame network."""

from __future__ import annotations

from torch import Tensor

from vsr.models.cascade import Cascade
from vsr.training.modules.base import SRModule
from vsr.types import HRClips, LRClips


class CascadeSR(SRModule):
    """Super-resolution of clips by two networks in a row; the loss may include the error of the first network."""

    kind = "movie"
    network: Cascade

    def loss(self, lr: LRClips, hr: HRClips, mask: Tensor | None) -> Tensor:
        """Compute the loss of the final output, plus `network.interim` times that of the first output if both networks train."""
        network = self.network
        interim, sr = network.stages(lr)
        loss = self.error(sr, hr, mask, network)
        if network.trains == "both" and network.interim > 0:
            loss = loss + network.interim * self.error(interim, hr, mask, network.first)
        return loss
