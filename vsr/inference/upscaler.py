"""A trained network for use from Python: `vsr.load("best.ckpt").upscale(movie)`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from vsr.config.check import CONSISTENCIES
from vsr.data.frames import Ends
from vsr.degradations.consistency import again
from vsr.errors import UserError, suggestion
from vsr.inference.engine import Engine, Options
from vsr.inference.labelled_arrays import refined
from vsr.inference.out_of_distribution import FRAMES, Familiarity, familiarity
from vsr.inference.stream import windows
from vsr.inference.trained import Trained, read_trained
from vsr.models.parameter_names import method
from vsr.training.build import build_baselines, make

Array = TypeVar("Array")  # numpy, torch or xarray: what goes in comes out


class Upscaler:
    """A network from a checkpoint. Nothing else is needed: scale, normaliser, degradation and ends travel in it.

    Attributes:
        trained: the checkpoint. config: of its run, with what was replaced here. engine: the function of frames. scale, channels:
            of the network. bounds: the physical values between which it was trained.
    """

    def __init__(
        self,
        trained: Trained,
        options: Options,
        *,
        device: torch.device,
        ends: Ends | None = None,
        consistency: str | None = None,
        consistency_steps: int | None = None,
    ) -> None:
        self.config = trained.config.copy()
        self.config.consistency = consistency or self.config.consistency
        self.config.consistency_steps = consistency_steps or self.config.consistency_steps
        degradation = make("degradation", self.config.degradation)
        self.trained = trained
        for name, values in trained.state.items():
            if name.startswith("network.") and values.is_floating_point() and not values.isfinite().all():
                raise UserError(f"{trained.path}: {name} is not finite; train it again with a lower recipe.rate")
            if name.endswith(".std") and not (values > 0).all():  # what comes in is divided by it
                raise UserError(f"{trained.path}: {name} is not positive; it was not written by vsr")
        self.module = trained.module(self.config)
        self.scale, self.channels, self.bounds = int(trained.config.scale), trained.channels, trained.bounds
        self.engine = Engine(
            self.module,
            options,
            channels=self.channels,
            ends=ends or trained.config.ends,
            centred=degradation.centred(self.scale),
            device=device,
        )

    @property
    def name(self) -> str:
        """What it is and which file it is from, for histories: "fsrcnn+projection x2 (checkpoint 0123456789ab)"."""
        name = method(str(self.config.name), self.config.consistency, self.trained.config.consistency)
        return f"{name} x{self.scale} (checkpoint {self.trained.sha256[:12]})"

    @cached_property
    def linear(self) -> Engine:
        """The linear filter that was fitted to the same training frames, in the same place as the network."""
        module = build_baselines(self.module, self.channels)["linear"]
        module.consistency = self.module.consistency
        return Engine(module, self.engine.options, channels=self.channels, ends=self.engine.ends, device=self.engine.device)

    def familiar(self, movie: Array) -> Familiarity | None:
        """Whether a movie is of the kind that the network was trained on; of its first frames, None where that cannot be told.

        Takes what `upscale` takes.
        """
        frames = self._as_frames(torch.as_tensor(np.asarray(movie), dtype=torch.float32))
        return self.familiarity((frame.numpy() for frame in frames), len(frames), frames.shape[-2:])

    def familiarity(self, frames: Iterable[np.ndarray], length: int | None, size: Sequence[int]) -> Familiarity | None:
        """The same, of LR frames (C, h, w) in order; `length` of them, None where that is not known, of `size` (h, w)."""
        degrade, engine = again(make("degradation", self.config.degradation), self.scale), self.engine
        if degrade is None or self.trained.consistency is None or self.module.reference is None:
            return None
        # Of short movies fewer: looking must not take longer than what is looked at.
        block = min(FRAMES, engine.block(*size), FRAMES if length is None else max(1, length // 8))
        clips = islice(windows(frames, 0, base=0, context=engine.context, block=block, ends=engine.ends), 1)
        return familiarity(engine, self.module.reference, degrade, self.trained.consistency, clips)

    def upscale(self, movie: Array) -> Array:
        """A movie in physical units, `scale` times finer in y and x; every frame comes out.

        numpy array or torch tensor: (H, W), (T, H, W), or (T, C, H, W) where the network has several channels; of any real dtype,
        out float32. xarray.DataArray: dimensions by name (time, lat, lon, y, x, ...), further ones are movies of their own;
        coordinates are refined, attributes kept. NaN stays NaN.

        Raises UserError for a shape that is none of these, and for values that the network makes infinite ones of.
        """
        if isinstance(movie, Tensor):
            return self._frames(movie.detach().cpu().float()).to(movie.device)  # type: ignore[return-value]
        if isinstance(movie, np.ndarray):
            return self._frames(torch.from_numpy(np.ascontiguousarray(movie, np.float32))).numpy()  # type: ignore[return-value]
        if type(movie).__module__.startswith("xarray.") and hasattr(movie, "dims"):
            return refined(movie, self.scale, self.channels, self._plain)
        raise UserError(f"upscale takes a numpy array, a torch tensor or an xarray.DataArray, not {type(movie).__name__}")

    def _frames(self, movie: Tensor) -> Tensor:
        sr = self._movie(self._as_frames(movie))
        return sr.reshape(*movie.shape[:-2], *sr.shape[-2:])

    def _as_frames(self, movie: Tensor) -> Tensor:
        """(T, C, h, w). Raises UserError for a shape that is none of a movie's."""
        expected = "(H, W), (T, H, W)" if self.channels == 1 else f"({self.channels}, H, W)"
        if self.channels == 1 and movie.ndim in (2, 3):
            frames = movie.reshape(-1, 1, *movie.shape[-2:])
        elif movie.ndim in (3, 4) and movie.shape[-3] == self.channels:
            frames = movie.reshape(-1, *movie.shape[-3:])
        else:
            raise UserError(
                f"a movie of shape {tuple(movie.shape)}: this network has {self.channels} channel(s) and takes {expected} or "
                f"(T, {self.channels}, H, W)"
            )
        if not frames.numel():
            raise UserError(f"a movie of shape {tuple(movie.shape)} holds no pixel")
        return frames

    def _movie(self, frames: Tensor) -> Tensor:
        """(T, C, h, w) -> (T, C, H, W), a block at a time."""
        length, block = len(frames), self.engine.block(*frames.shape[-2:])
        starts = range(0, length, block)
        engine = self.engine
        return torch.cat([engine(frames[engine.window(a, min(a + block, length), length)], first=a) for a in starts])

    def _plain(self, frames: np.ndarray) -> np.ndarray:
        sr = self._movie(torch.from_numpy(np.ascontiguousarray(frames)))
        return sr.numpy()


def load(
    path: str | Path,
    *,
    device: str = "auto",
    ends: Ends | None = None,
    consistency: str | None = None,
    consistency_steps: int | None = None,
    **options: Any,
) -> Upscaler:
    """The network of a checkpoint, ready to use.

    Args:
        path: a checkpoint of vsr (.ckpt).
        device: "cpu", "cuda", or "auto" for a GPU where there is one.
        ends: "replicate" or "reflect", for frames beyond the ends of a movie; None as in training.
        consistency: "none", "projection" or "backprojection" (in `consistency_steps` steps): whether the result, degraded, is LR;
            None as in training.
        options: those of `vsr.inference.engine.Options`: precision, compile, ensemble, periodic, memory, ...

    Raises UserError for a file that is not a checkpoint of vsr, and for options that there are not.
    """
    known = Options.__dataclass_fields__
    if unknown := [name for name in options if name not in known]:
        raise UserError(f"{unknown[0]}: no such option; known: {', '.join(sorted(known))}")
    if consistency is not None and consistency not in CONSISTENCIES:
        raise UserError(f"consistency={consistency}{suggestion(consistency, CONSISTENCIES)}")
    if consistency_steps is not None and consistency_steps < 1:
        raise UserError(f"consistency_steps={consistency_steps}: must be 1 or more")
    return Upscaler(
        read_trained(Path(path).expanduser()),
        Options(**options),
        device=chosen(device),
        ends=ends,
        consistency=consistency,
        consistency_steps=consistency_steps,
    )


def chosen(device: str) -> torch.device:
    """The device of that name. Raises UserError where there is none."""
    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise UserError("device=cuda: torch finds no GPU here; type device=cpu")
    if device not in ("auto", "cpu", "cuda"):
        raise UserError(f"device={device}: type device=cpu, cuda or auto")
    return torch.device("cuda" if available and device != "cpu" else "cpu")
