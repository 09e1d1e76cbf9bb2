"""Ablation of the standardised residual for 3D networks on raw data: the residual and the units, each alone.

    python -m benchmarks.residual_parts OUT [train.py overrides, e.g. model=srnet3d data.family=bores epochs=8]

The script trains the network of the config three times: with the whole wrapper; with the residual over bicubic in the unit of the
data (mean 0, std 1, rms 1); and with standardised units but without adding the bicubic frame. It prints the result of each run
when the run ends.
"""

from __future__ import annotations

import sys
from pathlib import Path

import lightning as L
from hydra import compose, initialize_config_dir
from torch import Tensor

from vsr.config.check import check_config
from vsr.config.schema import register_schemas
from vsr.models.residual import StandardizedResidual
from vsr.training.build import build_data, build_module
from vsr.training.fit import fit
from vsr.training.run import score_run
from vsr.types import TrainingFrames

CONF = Path(__file__).resolve().parent.parent / "conf"


class RawResidual(StandardizedResidual):
    """The residual alone: no statistics are measured, so the units stay those of the data."""

    def prepare(self, frames: TrainingFrames) -> None:
        self.network.prepare(frames)


class StandardizedOutput(StandardizedResidual):
    """The units alone: sr = mean + std * network((lr - mean) / std)."""

    def forward(self, lr: Tensor) -> Tensor:
        return self.mean + self.std * self.network((lr - self.mean) / self.std)

    @property
    def error_unit(self) -> Tensor:
        return self.std


def main() -> None:
    """Train all three variants and print their PSNR on the last test split."""
    out, overrides = Path(sys.argv[1]), sys.argv[2:]
    register_schemas()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", ["name=network", *overrides])
    check_config(cfg)
    for kind in (StandardizedResidual, RawResidual, StandardizedOutput):
        L.seed_everything(cfg.seed, workers=True, verbose=False)
        data = build_data(cfg)
        module = build_module(cfg, data.card, data.test_splits)
        assert isinstance(module.network, StandardizedResidual)
        module.network = kind(module.network.network)
        found = fit(cfg, out / kind.__name__, module, data, cfg.epochs)
        rows = score_run(cfg, data, module, {"seconds": found.seconds})
        split = data.test_splits[-1]
        psnr = {row["method"]: row["psnr"] for row in rows if row["split"] == split}
        print(
            f"{kind.__name__:<22}{split} {psnr['network']:.2f} dB, bicubic {psnr['bicubic']:.2f}, {found.seconds:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
