"""Small files with the names that the pages use, and checkpoints that are trained for a few steps."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.fakes import moving_pattern, write_video, write_y4m
from tests.warm import Warm

SHORT = ["trainer.accelerator=cpu", "epochs=1", "recipe.steps=2", "recipe.batch=2", "recipe.patch=6"]
# Generated data with the fewest frames and pixels; the first is what `vsr train` takes when no data are typed.
GENERATED = {
    "climate": ["data.size=24", "data.learn=20", "data.test=10"],
    "spectral": ["data.size=24", "data.learn=20", "data.test=10"],
    "coarse": ["data.size=64", "data.frames=5", "data.window=5", "data.learn=10", "data.test=5"],
    "phantom": ["data.size=24", "data.learn=20", "data.test=10"],
    "fields": ["data.size=48", "data.learn=20", "data.test=10", "data.flows=3"],
    "images": ["data.learn=2", "data.test=1"],
    "movies": ["data.size=32", "data.frames=20"],
    "cross": [f"data.{of}.{key}" for of in ("train", "test") for key in ("size=24", "learn=20", "test=10")],
}
EXPERIMENTS = {"field_network": "fields", "pretrained": "images"}  # and their data
HOUR = np.timedelta64(1, "h")


def waves(frames: int, rows: int, columns: int, seed: int = 0) -> np.ndarray:
    """Smooth moving fields (T, H, W) in -3 to 3; the seed changes their phases."""
    t, y, x = np.ogrid[0:frames, 0:rows, 0:columns]
    first, second = np.random.default_rng(seed).uniform(0, 6, 2)
    values = np.sin(0.35 * y + 0.2 * t + first) * np.cos(0.3 * x + 0.1 * t) + np.sin(0.5 * x - 0.3 * y + second) + 0.2 * np.sin(t)
    return values.astype(np.float32)


def write_netcdf(path: Path, frames: int = 30, rows: int = 24, columns: int = 36, seed: int = 0, start: int = 0) -> None:
    """The variable h in metres on a grid of latitudes and longitudes, each hour from hour `start`."""
    import xarray

    times = (np.datetime64("2020-06-01") + (start + np.arange(frames)) * HOUR).astype("datetime64[ns]")
    lat = ("lat", np.linspace(-40, 40, rows), {"units": "degrees_north"})
    lon = ("lon", np.linspace(10, 130, columns), {"units": "degrees_east"})
    array = (("time", "lat", "lon"), waves(frames, rows, columns, seed), {"units": "m"})
    xarray.Dataset({"h": array}, {"time": times, "lat": lat, "lon": lon}).to_netcdf(path, engine="h5netcdf")


def write_levels(path: Path) -> None:
    """Two levels of a variable."""
    import xarray

    values = np.stack([waves(6, 24, 36, seed) for seed in range(2)], axis=1)
    coords = {"time": np.arange(6.0), "level": [500, 850], "lat": np.linspace(-40, 40, 24), "lon": np.linspace(10, 130, 36)}
    xarray.Dataset({"h": (("time", "level", "lat", "lon"), values, {"units": "m"})}, coords).to_netcdf(path, engine="h5netcdf")


def write_members(path: Path, members: int = 8) -> None:
    """Runs of one model."""
    import xarray

    values = np.stack([waves(6, 32, 40, seed) for seed in range(members)])
    coords = {
        "member": np.arange(members),
        "time": np.arange(6.0),
        "lat": np.linspace(-40, 40, 32),
        "lon": np.linspace(10, 130, 40),
    }
    xarray.Dataset({"h": (("member", "time", "lat", "lon"), values, {"units": "m"})}, coords).to_netcdf(path, engine="h5netcdf")


def write_pair_side(path: Path, size: int, names: tuple[str, ...] = ("eta", "u", "v"), runs: int = 5, frames: int = 6) -> None:
    """One side of a pair: trajectories of `names` on a grid of `size` cells of the unit square."""
    import xarray

    axis = (np.arange(size) + 0.5) / size
    t, y, x = np.arange(frames)[:, None, None], axis[:, None], axis
    values = {
        name: (
            ("trajectory", "time", "y", "x"),
            np.stack([np.sin(9 * y + run + which + 0.3 * t) + np.cos(7 * x - 0.2 * t + run) for run in range(runs)]).astype("f4"),
            {"units": "m"},
        )
        for which, name in enumerate(names)
    }
    coords = {"trajectory": np.arange(runs), "time": ("time", np.arange(float(frames)), {"units": "s"})}
    xarray.Dataset(values, coords | {"y": ("y", axis, {"units": "m"}), "x": ("x", axis, {"units": "m"})}).to_netcdf(
        path, engine="h5netcdf"
    )


def write_zarr(path: Path) -> None:
    """A chunked store of a variable."""
    import xarray

    coords = {"time": np.arange(6.0), "lat": np.linspace(-40, 40, 24), "lon": np.linspace(10, 130, 36)}
    xarray.Dataset({"h": (("time", "lat", "lon"), waves(6, 24, 36), {"units": "m"})}, coords).chunk(time=2).to_zarr(path)


def write_mat(path: Path) -> None:
    """A movie `h` of axes y, x, t, as MATLAB shows them, and a vector."""
    import scipy.io

    scipy.io.savemat(path, {"h": waves(12, 24, 36).transpose(1, 2, 0).astype(float), "t": np.arange(12.0)})


def write_clip(path: Path) -> None:
    """A video of 24 frames of 48x64."""
    luma = moving_pattern(24, 48, 64)
    write_y4m(path, luma) if path.suffix == ".y4m" else write_video(path, luma, "libx264", "yuv420p")


def write_pictures(path: Path, frames: int = 8) -> None:
    """Numbered PNG files."""
    from PIL import Image

    path.mkdir()
    for number, frame in enumerate(moving_pattern(frames, 48, 64)):
        Image.fromarray(frame).save(path / f"{number:03}.png")


def write_picture(path: Path) -> None:
    """A grey picture."""
    from PIL import Image

    Image.fromarray(moving_pattern(1, 40, 48)[0]).save(path)


def write_authors_weights(path: Path) -> None:
    """FSRCNN(32, 5, 1) in the layout of the authors' files, with random numbers."""
    from tests.models.weights.test_authors import fsrcnn_content, saved

    saved(path, fsrcnn_content(32, 5, 1))


FILES: dict[str, Callable[[Path], None]] = {
    "field.nc": write_netcdf,
    "movie.nc": write_netcdf,
    "other.nc": lambda path: write_netcdf(path, seed=5),
    "coarse.nc": lambda path: write_netcdf(path, rows=12, columns=18),
    "coarse_new.nc": lambda path: write_pair_side(path, 16, runs=1),
    "levels.nc": write_levels,
    "field.mat": write_mat,
    "movie.npy": lambda path: np.save(path, waves(12, 24, 36)),
    "archive.zarr": write_zarr,
    "in.zarr": write_zarr,
    "clip.mp4": write_clip,
    "clip.y4m": write_clip,
    "frames/": write_pictures,
    "picture.png": write_picture,
    "FSRCNN-s_x2.mat": write_authors_weights,
    "tas_*.nc": lambda path: [write_netcdf(path.with_name(f"tas_{part}.nc"), frames=12, start=12 * part) for part in (0, 1)],
    "runs.nc": write_members,
}


class Trained:
    """Checkpoints of runs of a few steps, each of which is trained once in a session.

    Args:
        warm: the process that trains.
        folder: holds the runs.
    """

    def __init__(self, warm: Warm, folder: Path) -> None:
        self.warm, self.folder = warm, folder
        self.runs: dict[tuple[str, ...], Path] = {}

    def run(self, *arguments: str) -> Path:
        """Return the folder of a run of `vsr train` with these arguments in place of the longest ones."""
        if arguments not in self.runs:
            place = self.folder / str(len(self.runs))
            place.mkdir()
            generated = [] if any(each.startswith("data=") for each in arguments) else GENERATED["climate"]
            typed = [*SHORT, *generated, *arguments, "logger=csv", f"hydra.run.dir={place}/run"]
            done = self.warm.run(place, "vsr", "train", *typed, limit=200)
            assert done.status == 0, (arguments, done.stderr)
            self.runs[arguments] = place / "run"
        return self.runs[arguments]

    def copy_checkpoint(self, path: Path, *arguments: str) -> None:
        """Write the checkpoint of such a run to a path."""
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.run(*arguments) / "checkpoints" / "best.ckpt", path)

    def copy_run(self, path: Path, *arguments: str) -> None:
        """Write the folder of such a run to a path."""
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(self.run(*arguments), path)
