"""The options of upscaling, shared by `vsr.load` and upscale.py."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import torch

from vsr.config.check import CONSISTENCIES, DEVICES, ENDS, ENGINES, PERIODIC, PRECISIONS, check_engine
from vsr.config.schema import UpscaleSchema
from vsr.data.frames import Ends
from vsr.degradations.border import Periodic
from vsr.errors import UserError, error_suggestion

CHOICES = {
    "device": (*DEVICES, "mps"),
    "engine": ENGINES,
    "precision": PRECISIONS,
    "periodic": PERIODIC,
    "ends": ENDS,
    "consistency": CONSISTENCIES,
}


@dataclass(frozen=True, kw_only=True)
class UpscaleOptions:
    """Settings for the application of a trained network to LR frames.

    `device`, `tile` and `memory` change the place and the speed of a computation, but its result only by rounding. `engine`,
    `precision` and `compile` add further rounding.

    Attributes:
        device: "cpu", "cuda", "mps" (from Python only), or "auto", which is "cuda" if there is such a GPU and "cpu" otherwise.
        engine: What computes the layers of the network: "torch", "onnxruntime" or "openvino" (on the CPU), or "auto" for the
            fastest of these, found by a trial of two seconds at most, for movies that are long enough to pay for it.
        precision: "fp32", "bf16" or "fp16" for the arithmetic of the network. Normalization, bicubic interpolation and sums
            stay in float32. "auto" is "bf16" if the CPU computes it and errs by at most 1e-4 of the data range on the first
            frame of a movie, and otherwise "fp32". None: "fp32", or "auto" with engine="auto".
        compile: True to generate code with torch.compile. This pays off for movies of a few hundred frames or more.
        ensemble: True to average over the eight flips and rotations of each frame (Lim et al. 2017, "self-ensemble"), which is
            8 times the work.
        periodic: How a field continues beyond its borders: "x", "y" or "xy" at the opposite side, "globe" along x and beyond the
            poles, "none" not at all; None for what its coordinates say.
        ends: Padding before the first and after the last frame: "replicate" (nearest frame) or "reflect" (mirrored); None for
            the padding used in training.
        consistency: Method that corrects SR frames until they give the LR frames when degraded: "none", "projection",
            "backprojection" or "ratio", or "mean" for pairs; None for the method used in training.
        consistency_steps: Steps of "backprojection", 1 or more; None for the number used in training.
        members: Number of members of an ensemble, 2 or more; None for the output of the network without noise.
        keep: What is kept of the members: ("members",) or statistics such as ("mean", "std", "q05", "q95"); None for mean and
            std, with `calibration` for mean, q05 and q95.
        calibration: Path of the calibration.json of an evaluation of this network, whose intervals are the quantiles of `keep`.
        seed: Seed of the members.
        tile: Approximate side of a tile in LR pixels; 0 for whole frames; None to derive the tile from `memory`.
        memory: MiB that the intermediate results of the network may take.

    Raises:
        UserError: If a text is not one of its choices, if `consistency_steps` is less than 1, or if an engine is not installed
            or does not know another option.
    """

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    engine: Literal["auto", "torch", "onnxruntime", "openvino"] = "torch"
    precision: Literal["fp32", "bf16", "fp16", "auto"] | None = None
    compile: bool = False
    ensemble: bool = False
    periodic: Periodic | None = None
    ends: Ends | None = None
    consistency: Literal["none", "projection", "backprojection", "ratio", "mean"] | None = None
    consistency_steps: int | None = None
    members: int | None = None
    keep: tuple[str, ...] | None = None
    calibration: str | None = None
    seed: int = 0
    tile: int | None = None
    memory: int = 512

    def __post_init__(self) -> None:
        for key, choices in CHOICES.items():
            value = getattr(self, key)
            if value is not None and value not in choices:
                raise UserError(f"{key}={value}{error_suggestion(str(value), choices)}")
        if self.several:
            default = ("mean", "std") if self.calibration is None else ("mean", "q05", "q95")
            keep = default if self.keep is None else (self.keep,) if isinstance(self.keep, str) else tuple(map(str, self.keep))
            object.__setattr__(self, "keep", keep)
        elif self.keep is not None:
            kept = self.keep if isinstance(self.keep, str) else f"[{','.join(map(str, self.keep))}]"
            raise UserError(f"keep={kept}: is for members or intervals; type members=16 or calibration=FILE, or leave it out")
        if self.calibration is not None:
            of_folder = Path(self.calibration).expanduser() / "calibration.json"
            object.__setattr__(self, "calibration", str(of_folder if of_folder.exists() else self.calibration))
        if self.members is not None and (not isinstance(self.members, int) or self.members < 2):
            raise UserError(
                f"members={self.members}: must be 2 or more, a whole number; leave it out for the output of the network itself"
            )
        check_engine(self.engine, self.precision, compile=self.compile)
        if self.several and self.engine == "auto":
            object.__setattr__(self, "engine", "torch")
            object.__setattr__(self, "precision", self.precision if self.precision == "bf16" else "fp32")
        if self.precision is None:
            object.__setattr__(self, "precision", "auto" if self.engine == "auto" else "fp32")
        if self.several and (self.engine != "torch" or self.precision == "auto"):
            given = f"calibration={self.calibration}" if self.members is None else f"members={self.members}"
            typed = "engine=torch" if self.engine != "torch" else "precision=fp32"
            raise UserError(f"{given}: for engine=torch in precision=fp32 or bf16; type {typed}")
        if self.consistency_steps is not None and self.consistency_steps < 1:
            raise UserError(f"consistency_steps={self.consistency_steps}: must be 1 or more")

    @classmethod
    def from_config(cls, config: UpscaleSchema) -> UpscaleOptions:
        """Build the options from the config of upscale.py."""
        return cls(**{field.name: getattr(config, field.name) for field in fields(cls)})

    @property
    def several(self) -> bool:
        """Return True if the result has several fields for each field of the input: of members, or ends of intervals."""
        return self.members is not None or self.calibration is not None

    @property
    def approximate(self) -> bool:
        """Return True if results differ by rounding from results in plain single precision."""
        return self.engine != "torch" or self.precision != "fp32" or self.compile

    @property
    def undecided(self) -> bool:
        """Return True if the first frame of a movie decides on the engine or on the precision."""
        return "auto" in (self.engine, self.precision)

    def torch_device(self) -> torch.device:
        """Return the device to compute on. Raises UserError for "cuda" without a GPU."""
        available = torch.cuda.is_available()
        if self.device == "cuda" and not available:
            raise UserError("device=cuda: torch finds no GPU here; type device=cpu")
        if self.device == "auto":
            return torch.device("cuda" if available else "cpu")
        return torch.device(self.device)
