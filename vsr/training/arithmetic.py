"""Arithmetic of a network on its device: TF32, memory format and compilation."""

from __future__ import annotations

import torch
from omegaconf import DictConfig
from torch import nn

from vsr.models.base import Network
from vsr.models.cascade import Cascade
from vsr.models.transform import unwrap_transform


def set_arithmetic(tf32: bool) -> None:
    """Switch TF32 on or off for CUDA matrix products and convolutions; torch's default is on for convolutions only."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32


def to_training_arithmetic(network: Network, cfg: DictConfig) -> None:
    """Convert a network to channels_last memory format and compile it; the config switches each of the two steps on or off."""
    if cfg.channels_last:
        formats = {4: torch.channels_last, 5: torch.channels_last_3d}
        for parameter in network.parameters():
            if parameter.dim() in formats:
                parameter.data = parameter.data.contiguous(memory_format=formats[parameter.dim()])
    if cfg.compile:
        for part in [network.first, network.second] if isinstance(network, Cascade) else [unwrap_transform(network)]:
            part.compile()


def to_scoring_arithmetic(network: nn.Module) -> None:
    """Remove the compiled code of a network before scoring: code that was compiled for patches does not fit whole frames."""
    for part in network.modules():
        part._compiled_call_impl = None
