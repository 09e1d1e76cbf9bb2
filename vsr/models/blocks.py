"""Activations, initial weights and checks of sizes that several networks share."""

from __future__ import annotations

from typing import Literal

from torch import nn

from vsr.errors import UserError

Activation = Literal["prelu", "relu"]


def check_block_sizes(least: int = 1, **sizes: tuple[int, int]) -> None:
    """Check that no size given to a network's constructor is below the smallest allowed value.

    Args:
        least: Smallest allowed value.
        **sizes: (given value, usual value) of each argument, by its name in the config.

    Raises:
        UserError: If a size is below `least`; the message suggests the usual value.
    """
    for name, (value, usual) in sizes.items():
        if value < least:
            raise UserError(f"model.{name}={value}: must be {least} or more; type model.{name}={usual}")


def build_activation(kind: Activation, channels: int, slope: float) -> nn.Module:
    """Return an activation layer: a ReLU, or a PReLU with one slope per channel that starts at `slope`."""
    return nn.PReLU(channels, init=slope) if kind == "prelu" else nn.ReLU()


def init_block_he_normal_(module: nn.Module) -> None:
    """Draw the weights of all convolutions from He's normal distribution, and set the biases to zero.

    Source: He et al., "Delving deep into rectifiers", 2015, section 2.2. The fan-in of a transposed convolution is the number
    of inputs that contribute to one output.
    """
    for m in module.modules():
        if isinstance(m, (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d)):
            fan = m.weight.numel() // m.stride[0] ** 2 if isinstance(m, nn.ConvTranspose2d) else m.weight[0].numel()
            nn.init.normal_(m.weight, std=(2 / fan) ** 0.5)
            nn.init.zeros_(m.bias)  # type: ignore[arg-type]
