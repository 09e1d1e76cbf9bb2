"""Draw the picture of docs/guides/upscale.md.

    python -m benchmarks.draw_upscale best.ckpt docs/images/upscale.png

Test frames of the tide are degraded, written as NetCDF, upscaled by upscale.py, and drawn beside the original frame.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import xarray
from matplotlib.figure import Figure

from vsr.config.schema import UpscaleSchema
from vsr.data.datamodules.climate import ClimateDataModule
from vsr.degradations import Bicubic
from vsr.inference.upscale_file import upscale_file
from vsr.recipe import Recipe

FRAME = 20


def main() -> None:
    checkpoint, target = sys.argv[1:]
    data = ClimateDataModule(scale=2, degradation=Bicubic(), recipe=Recipe())
    data.setup()
    pair = data.sets["test"].read(0, 25)
    height, width = pair.lr.shape[-2:]
    side = {name: (np.arange(n) + 0.5) / n for name, n in (("y", height), ("x", width))}
    lr = xarray.DataArray(pair.lr[:, 0].numpy(), {"time": np.arange(25.0), **side}, ["time", "y", "x"], name="h")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "movie.nc"
        lr.to_netcdf(path, engine="h5netcdf")
        with xarray.open_dataset(upscale_file(UpscaleSchema(checkpoint=checkpoint, input=str(path), periodic="xy"))) as made:
            sr = made.h.load()
    truth = pair.hr[FRAME, 0].numpy()
    figure = Figure(figsize=(10.5, 3.9), layout="constrained")
    axes = figure.subplots(1, 3)
    shown = {"movie.nc": lr[FRAME].values, "movie_x2.nc": sr[FRAME].values, "original": truth}
    for axis, (title, values) in zip(axes, shown.items(), strict=True):
        axis.imshow(values, vmin=truth.min(), vmax=truth.max(), origin="lower", extent=(0, 1, 0, 1), interpolation="nearest")
        axis.set(title=f"{title}, {values.shape[0]}x{values.shape[1]}", xlabel="x", ylabel="y")
    figure.savefig(target, dpi=100)


if __name__ == "__main__":
    main()
