"""A network between physical values: the same state and the same frames as its LightningModule."""

from __future__ import annotations

import pytest
import torch

from tests.fakes import compose_config, small
from vsr.degradations.resize import resize_bicubic_up
from vsr.training.build import build_module
from vsr.training.build_network import build_super_resolver
from vsr.types import Clip

FACTS = {"name": "film", "channels": 1, "bounds": [-2.0, 3.0], "units": "m"}


@pytest.mark.parametrize("model", ["fsrcnn", "stacked", "joint"])
@torch.no_grad()
def test_a_lightning_module_has_the_same_state_and_gives_the_same_frames(model: str) -> None:
    cfg = compose_config("train", small(model))
    trained, plain = build_module(cfg, FACTS, ("test",)).eval(), build_super_resolver(cfg, FACTS).eval()
    for parameter in trained.network.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    plain.load_state_dict(trained.state_dict())
    context = plain.network.context
    lr = 5 * torch.rand(2, 1, 3 + 2 * context, 12, 14) - 2
    clip = Clip(lr, torch.zeros(2, 1, 3, 24, 28), torch.arange(2))
    assert plain.kind == trained.kind
    torch.testing.assert_close(plain(lr), trained(lr), rtol=0, atol=0)
    torch.testing.assert_close(plain.predict_clip(clip), trained.predict_clip(clip), rtol=0, atol=0)


@torch.no_grad()
def test_frames_are_in_physical_units() -> None:
    plain = build_super_resolver(compose_config("train", ["model=bicubic"]), FACTS)
    lr = 5 * torch.rand(2, 1, 3, 12, 14) - 2
    expected = resize_bicubic_up(lr.transpose(1, 2).flatten(0, 1), 2).unflatten(0, (2, 3)).transpose(1, 2)
    torch.testing.assert_close(plain(lr), expected, rtol=0, atol=1e-5)
