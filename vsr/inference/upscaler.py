"""A trained network for use from Python, as in `vsr.load("best.ckpt").upscale(movie)`."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from vsr.config.check import RUNTIMES
from vsr.config.plugins import open_announced_plugins, open_plugins
from vsr.degradations.border import choose_periodic
from vsr.errors import UserError
from vsr.inference.frame_upscaler import FrameUpscaler
from vsr.inference.labelled_arrays import movies_of_dataset, upscale_labelled
from vsr.inference.lazy_arrays import is_lazy, upscale_lazily
from vsr.inference.options import UpscaleOptions
from vsr.inference.out_of_distribution import FRAMES, OODScore, PairsScore
from vsr.inference.runtimes import runtime_version
from vsr.inference.stream import Gaps
from vsr.inference.trained import Trained, read_trained
from vsr.io.readers.pixel_grid import Coordinate, grid_of_coordinates
from vsr.io.readers.printable import printable_name, printable_shape
from vsr.io.static_fields import StaticField
from vsr.io.writers.template import output_dtype
from vsr.metrics.calibration import Calibration
from vsr.version import __version__

log = logging.getLogger(__name__)

_rebuilding = threading.Lock()
_rebuilt: dict[tuple[Any, ...], Upscaler] = {}  # the last upscaler that another process sent

Array = TypeVar("Array")  # a NumPy array, a torch tensor, an xarray.DataArray or an xarray.Dataset


class Upscaler(FrameUpscaler):
    """A trained network that upscales movies. `vsr.load` makes one from a checkpoint.

    Args:
        trained: Content of the checkpoint.
        options: Options of upscaling. None values are replaced by the values of the training.
        static: Static fields on the grid of SR frames, FILE:VARIABLE each, for a network that was trained with data.static; empty
            for those of training.
        calibration: The intervals of `options.calibration` if they have been read already; None to read them.

    Attributes:
        scale: SR pixels per LR pixel along y and x.
        alignment: Place of the LR pixels on the SR grid along y and x; see `vsr.geometry.lr_position`.
        variables: Names of the variables that are the channels, in their order; empty for one variable.
        bounds: The physical values that the normalizer maps to 0 and 1; a pair for each of several variables.
        offset: The physical value that is 0 in the frames of `engine`, or one for each variable; `upscale` takes and gives
            physical values.

    Raises:
        UserError: If weights are not finite, or if the options contradict each other or the network.
    """

    def upscale(self, movie: Array) -> Array:
        """Upscale a movie `scale` times along y and x. No frame is lost, and NaN stays NaN.

        Args:
            movie: LR frames in physical units, the units of the training data. A NumPy array or a torch tensor has any real
                dtype and the shape (H, W), (T, H, W) or (T, C, H, W) for a network with one channel, and (C, H, W) or (T, C, H,
                W) for a network with C channels, in the order of `variables`; variables of data.lr_variable are further
                channels behind them, and no output. In an xarray.DataArray, rows, columns and time
                are found by the names or CF attributes of dimensions (y, lat, x, lon, time, ...), and each index of a further
                dimension is a movie of its own. An xarray.Dataset must hold one such array, or the several `variables`. A network
                with data.inputs=[time] takes the first frame as the first of its trajectory, and frames as far apart as in
                training. Hours, days, latitudes and longitudes come from the coordinates of a DataArray, and static fields are
                those of training, or `static` of `vsr.load`; they must fit the size and the coordinates of the movie.

        Returns:
            SR frames of the same type, dimensions and units, on the same device; H and W are `scale` times larger. With the
            option `members`, the first dimension is that of the members, or of the statistics `keep` ("member" or "statistic"
            in a DataArray). Values are float64 for float64 input, and for integers if there is an `offset`; otherwise float32. A
            DataArray keeps its attributes, and its coordinates along rows and columns are refined.

        Raises:
            UserError: If the type or the shape is not listed here, or if values are so large that the network overflows.
        """
        if self.any_values and type(movie).__module__.startswith("xarray.") and hasattr(movie, "data_vars"):
            dataset: Any = movie
            movies = movies_of_dataset(dataset)
            if left := [str(name) for name in dataset.data_vars if name not in movies]:
                warnings.warn(f"without rows and columns, and left out: {', '.join(left)}", stacklevel=2)
            if finer := {name: self.upscale(dataset[name]) for name in movies}:  # one by one
                return type(dataset)(finer, attrs=dataset.attrs)
        if isinstance(movie, Tensor):
            held = movie.detach().cpu()
            values = (held.float() if held.dtype == torch.bfloat16 else held).numpy()
            return torch.from_numpy(self._upscale_array(values)).to(movie.device)  # type: ignore[return-value]
        if isinstance(movie, np.ndarray):
            return self._upscale_array(movie)  # type: ignore[return-value]
        if type(movie).__module__.startswith("xarray.") and hasattr(movie, "dims"):
            if names := self.trained.layout.further:
                raise UserError(
                    f"this network takes {', '.join(map(printable_name, names))} beside what it gives; give an array (T, C, H, "
                    f"W) whose last channels they are, or type vsr upscale input=FILE"
                )
            kept = () if self.members is None else self.members.kept
            return upscale_labelled(
                movie, self.scale, self.channels, self._upscale_on_grid, self.alignment, self.variables, kept=kept
            )
        raise UserError(
            f"upscale takes a numpy array, a torch tensor, an xarray.DataArray or an xarray.Dataset, not {type(movie).__name__}"
        )

    def ood_score(self, movie: Array) -> OODScore | PairsScore | None:
        """Compute the out-of-distribution score of a movie from its LR frames.

        Args:
            movie: LR frames as for `upscale`.

        Returns:
            The score; `score.unfamiliar` is True if the linear filter is to be preferred, `str(score)` says why. None if the
            score cannot be measured.
        """
        if self.trained.facts.get("pairs"):
            values = np.asarray(movie)
            if self.trained.layout.further and values.ndim > 2:
                values = values[..., : self.channels, :, :]
            every = self._as_frames(values).numpy()
            step = float(self.trained.facts["pairs"]["time"]["step"])
            chosen = np.unique(np.linspace(0, len(every) - 1, FRAMES).astype(int))
            return self.pairs_score(every[chosen], step * (len(every) - 1), self.trained.facts["pairs"]["time"]["unit"])
        upscaler = self._for_array(np.asarray(movie)) if self.any_values else self
        frames = upscaler._as_frames(np.asarray(movie))
        return upscaler.ood_score_of_frames((frame.numpy() for frame in frames), len(frames), frames.shape[-2:])

    def _upscale_on_grid(self, movies: Any, axes: str, of: Mapping[str, Coordinate]) -> Any:
        """Upscale an array (..., *axes) on a grid, each index of the other axes as a movie; a Dask array is not computed."""
        grid = grid_of_coordinates(of["y"], of["x"])
        periodic = choose_periodic(self.options.periodic, grid, movies.shape[-1], "the array", "periodic")
        upscaler = self.continued(periodic)
        if is_lazy(movies):
            return upscale_lazily(upscaler, movies, axes, of)
        lead, own = movies.shape[: -len(axes)], dict(zip(axes, movies.shape[-len(axes) :], strict=True))
        frames = movies.reshape(-1, own.get("t", 1), own.get("c", 1), own["y"], own["x"])
        finer = [upscaler._upscale_array(each, of) for each in frames]
        sr = np.stack([each.astype(finer[0].dtype, copy=False) for each in finer], axis=0 if self.members is None else 1)
        kept = () if self.members is None else (len(self.members.kept),)
        return sr.reshape(*kept, *lead, *movies.shape[-len(axes) : -2], *sr.shape[-2:])

    def __reduce__(self) -> tuple[Any, ...]:
        """Send the network to another process, which rebuilds it once."""
        return _rebuilt_upscaler, (self.trained, self.options, self.static_fields, self.calibration, _versions(self.options))

    def _upscale_array(self, movie: np.ndarray, of: Mapping[str, Coordinate] | None = None) -> np.ndarray:
        if self.any_values:
            return self._for_array(movie)._upscale_values(movie, of)
        return self._upscale_values(movie, of)

    def _for_array(self, movie: np.ndarray) -> Upscaler:
        """Return the upscaler of an array (..., T, C, h, w), or one without channels, whose first frame gives the range."""
        if movie.ndim < 2 or not movie.size:
            return self
        channels = movie.shape[-3] if movie.ndim == 4 else 1
        return self.for_frames(movie.reshape(-1, channels, *movie.shape[-2:])[:1])

    def _upscale_values(self, movie: np.ndarray, of: Mapping[str, Coordinate] | None) -> np.ndarray:
        dtype, further, names = output_dtype(movie.dtype, self.offset), None, self.trained.layout.further
        if names:
            if movie.ndim not in (3, 4) or movie.shape[-3] != self.channels + len(names):
                raise UserError(
                    f"a movie of shape {tuple(movie.shape)}: this network takes (T, {self.channels + len(names)}, H, W), whose "
                    f"last channels are {', '.join(map(printable_name, names))}"
                )
            movie, further = movie[..., : self.channels, :, :], movie[..., self.channels :, :, :]
            further = further.reshape(-1, *further.shape[-3:])
        frames = self._as_frames(movie)
        whose = f"a movie of {printable_shape(frames.shape[2:])}"
        nothing = dict.fromkeys("tyx", Coordinate("", None, {}))
        gaps = Gaps()
        gaps.add(frames)
        if (told := gaps.describe(len(frames), frames[0, 0].numel())) and not self.knows_gaps:
            log.info("note      %s", told)
        known, static = self.known_of(of or nothing, (frames.shape[2], frames.shape[3]), whose)
        if "time" in self.trained.layout.inputs:
            known["time"] = self.trained.facts["pairs"]["time"]["step"] * np.arange(len(frames))
        seen = self.add_planes(frames, known, further, static)
        if self.members is None:
            sr = self.with_offset(self.upscale_frames(seen).numpy(), np.dtype(dtype))
            return sr.reshape(*movie.shape[:-2], *sr.shape[-2:])
        sr = self.with_offset(self._in_blocks(self.members, seen).numpy(), np.dtype(dtype))
        kept = np.moveaxis(sr.reshape(len(sr), len(self.members.kept), self.channels, *sr.shape[-2:]), 1, 0)
        return kept.reshape(len(kept), *movie.shape[:-2], *sr.shape[-2:])

    def _as_frames(self, movie: np.ndarray) -> Tensor:
        """Reshape a movie to (T, C, h, w), without the offset. Raises UserError for a shape that does not fit the network."""
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
        if not frames.size:
            raise UserError(f"a movie of shape {tuple(movie.shape)} holds no pixel")
        return self.without_offset(frames)


def _versions(options: UpscaleOptions) -> list[str]:
    """Return what the result of a network depends on beside the network, such as "torch 2.13.0"."""
    engine = options.engine
    runtimes = [f"{engine} {runtime_version(engine)}"] if engine in RUNTIMES else []
    return [f"vsr {__version__}", f"torch {torch.__version__}", *runtimes]


def _rebuilt_upscaler(
    trained: Trained,
    options: UpscaleOptions,
    static: tuple[StaticField, ...],
    calibration: Calibration | None,
    versions: list[str],
) -> Upscaler:
    """Rebuild an upscaler that another process sent, once for each process.

    Args:
        trained: Content of the checkpoint.
        options: Options of upscaling.
        static: The static fields of the sender.
        calibration: The intervals of the sender, whose file this process may not see.
        versions: Versions of vsr, torch and the engine of the sender.

    Raises:
        UserError: If this process has other versions, whose results differ.
    """
    own = _versions(options)
    if own != versions:
        raise UserError(
            f"this worker has {' and '.join(own)}, the network was sent by {' and '.join(versions)}; install the same versions "
            f"on all workers"
        )
    intervals = None if calibration is None else str(calibration.to_plain())
    key = (trained.sha256, str(trained.facts), options, tuple(field.sha256 for field in static), intervals)
    with _rebuilding:
        if key not in _rebuilt:
            _rebuilt.clear()
            _rebuilt[key] = Upscaler(trained, options, calibration=calibration)
            _rebuilt[key].static_fields = static
        return _rebuilt[key]


def load_upscaler(path: str | Path, *, plugins: Sequence[str] = (), static: str | Sequence[str] = (), **options: Any) -> Upscaler:
    """Load a trained network from a checkpoint, ready to upscale movies.

    Example:
        >>> network = vsr.load("best.ckpt", device="cpu", ensemble=True)
        >>> sr = network.upscale(lr)  # (T, H, W) -> (T, 2 * H, 2 * W) for a network that was trained with scale=2

    Args:
        path: A checkpoint that training wrote (.ckpt) or `vsr export` (.safetensors), or "pretrained:NAME" for a network of the
            package, such as "pretrained:field_x2"; `vsr weights` lists them.
        plugins: Packages whose classes the checkpoint may name, such as ["mypackage"].
        static: Static fields on the grid of SR frames, such as ["orography.nc:z"], for a network that was trained with
            data.static; without any, those of training are used where they fit.
        **options: Fields of `vsr.inference.options.UpscaleOptions`, which explains them: `device`, `engine`, `precision`,
            `compile`, `ensemble`, `periodic`, `ends`, `consistency`, `consistency_steps`, `tile`, `memory`, `members`, `keep`,
            `seed` and `calibration`.

    Returns:
        An `Upscaler` with the methods `upscale(movie)` and `ood_score(movie)`.

    Raises:
        UserError: If the file is not a checkpoint of vsr, is damaged or incomplete, or if an option is unknown, has a value that
            is not allowed, or contradicts the network or another option.
    """
    open_announced_plugins()
    open_plugins(plugins)
    known = UpscaleOptions.__dataclass_fields__
    if unknown := [name for name in options if name not in known]:
        raise UserError(f"{unknown[0]}: no such option; known: {', '.join(sorted(known))}")
    given = [static] if isinstance(static, str) else list(static)
    return Upscaler(read_trained(Path(path).expanduser()), UpscaleOptions(**options), given)
