"""Fine-tuning of loaded weights: frozen parts, lower learning rates, and a penalty on the distance from the initial weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from vsr.errors import UserError
from vsr.models.parameter_names import canonical_parameter_name, is_parameter_within, require_parameters


@dataclass(frozen=True, kw_only=True)
class Tune:
    """Settings of fine-tuning. Modules have the names of the table of initial weights; a name includes all parts of its module.

    Attributes:
        freeze: Modules whose weights stay unchanged; they are in evaluation mode.
        freeze_epochs: Epochs after which the frozen modules train too; None for never. The learning-rate schedule is not
            affected.
        rates: Module -> factor on its learning rate; the longest matching name counts. None for no factors.
        l2sp: Weight a of the penalty a/2 |w - w0|^2 in the loss, for pretrained weights w with initial values w0. It follows Li
            et al., "Explicit inductive bias for transfer learning ...", 2018; their decay of the new weights is left out.
    """

    freeze: list[str] = field(default_factory=list)
    freeze_epochs: int | None = None
    rates: dict[str, float] | None = None
    l2sp: float = 0.0

    def check(self, network: nn.Module) -> None:
        """Raise UserError if the network lacks a named module, or if nothing would train in the first `freeze_epochs` epochs."""
        trained = {canonical_parameter_name(name): tensor.requires_grad for name, tensor in network.named_parameters()}
        require_parameters("tune.freeze", self.freeze, trained)
        require_parameters("tune.rates", self.rates or {}, trained)
        free = [name for name, trains in trained.items() if trains and not self.freezes(name)]
        if not free and self.freeze and self.freeze_epochs is not None:
            raise UserError(
                f"tune.freeze={self.freeze}: leaves nothing to train in the first {self.freeze_epochs} epochs; freeze less, or "
                "type tune.freeze_epochs=null to score the network as it is"
            )

    def of_stage(self, stage: str) -> Tune:
        """Return the settings for the fit of one stage of a Cascade.

        A setting for a whole stage, such as freeze=[first], is left out: it is for the fit of the whole Cascade.

        Args:
            stage: "first" (names lose the prefix "first.") or "second" (names keep their prefixes).
        """
        cut = "first." if stage == "first" else ""

        def kept(name: str) -> bool:
            return name.startswith(cut) and name != stage

        rates = {name.removeprefix(cut): factor for name, factor in (self.rates or {}).items() if kept(name)}
        return replace(self, freeze=[name.removeprefix(cut) for name in self.freeze if kept(name)], rates=rates)

    def freezes(self, name: str) -> bool:
        """Return True if the settings freeze the tensor or module `name`."""
        return any(is_parameter_within(name, module) for module in self.freeze)

    def factor(self, name: str) -> float:
        """Return the number that multiplies the learning rate of the parameter `name`."""
        rates = self.rates or {}
        found = [module for module in rates if is_parameter_within(name, module)]
        return rates[max(found, key=len)] if found else 1.0


class Tuning:
    """Fine-tuning of one network during a fit, from construction until `release`.

    Args:
        tune: The settings of fine-tuning.
        network: The network to train; its frozen parameters stop requiring gradients at once.
        pretrained: Tensor name -> mask of the tensor's shape, 1 where a value was loaded.
    """

    def __init__(self, tune: Tune, network: nn.Module, pretrained: Mapping[str, Tensor] | None = None) -> None:
        self.tune, self.network, self.pretrained = tune, network, pretrained or {}
        named = {canonical_parameter_name(name): tensor for name, tensor in network.named_parameters()}
        self.frozen = [tensor for name, tensor in named.items() if tensor.requires_grad and tune.freezes(name)]
        self._later = [] if tune.freeze_epochs is None else list(self.frozen)
        self.thawed: list[Tensor] = []  # what trains now and did not at the start
        # Now and not when training begins: the weights of an interrupted run come in between.
        self._start: list[tuple[Tensor, Tensor, Tensor]] = []
        if tune.l2sp > 0:
            pulled = [(tensor, self.pretrained[name]) for name, tensor in named.items() if name in self.pretrained]
            self._start = [(tensor, tensor.detach().clone(), mask) for tensor, mask in pulled]
        for tensor in self.frozen:
            tensor.requires_grad_(False)

    def groups(self, rate: float) -> list[dict[str, Any]]:
        """Return the optimizer's parameter groups, one per learning rate, with all parameters that train now or later."""
        found: dict[float, list[nn.Parameter]] = {1.0: []}  # first, so that the rate that is logged is the recipe's
        later = {id(tensor) for tensor in self._later}
        for name, tensor in self.network.named_parameters():
            if tensor.requires_grad or id(tensor) in later:
                found.setdefault(self.tune.factor(canonical_parameter_name(name)), []).append(tensor)
        return [{"params": tensors, "lr": rate * factor} for factor, tensors in found.items() if tensors]

    def begin(self) -> None:
        """Move the initial weights, from which the l2sp penalty measures distance, to the network's device."""
        self._start = [(tensor, start.to(tensor), mask.to(tensor)) for tensor, start, mask in self._start]

    def begin_epoch(self, epoch: int) -> None:
        """Unfreeze if `epoch` (from 0) has reached `freeze_epochs`, and put modules that do not train into evaluation mode."""
        if self.tune.freeze_epochs is not None and epoch >= self.tune.freeze_epochs:
            self._thaw()
            self.thawed = list(self._later)
        for module in self.network.modules():
            if tensors := list(module.parameters()):
                module.train(any(tensor.requires_grad for tensor in tensors))

    def penalty(self) -> Tensor | float:
        """Return the l2sp penalty, which is added to the loss; 0.0 without one."""
        if not self._start:
            return 0.0
        squares = [((tensor - start) * mask).square().sum() for tensor, start, mask in self._start]
        return 0.5 * self.tune.l2sp * torch.stack(squares).sum()

    def release(self) -> None:
        """End fine-tuning: every frozen parameter requires gradients again, and all modules are in training mode."""
        self._thaw()
        self.thawed = []
        self.network.train()

    def _thaw(self) -> None:
        for tensor in self.frozen:
            tensor.requires_grad_(True)
        self.frozen = []
