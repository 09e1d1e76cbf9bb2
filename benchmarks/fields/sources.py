"""Real fields from data packages and solvers of other people.

    python -m benchmarks.fields.sources FOLDER OUT [--set design] [--only NAME ...]

FOLDER holds the unpacked packages, see PACKAGES. The command writes OUT/NAME.npy with frames (n, H, W) and adds the
sources to OUT/list.json. It names the packages of the sources that it cannot read.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fields import solvers
from benchmarks.fields.solvers import FRAMES

PACKAGES = {  # where a source comes from: how to get it, its terms
    "iris-sample-data": ("pip install --no-deps --target FOLDER iris-sample-data==2.5.2", "Open Government Licence (UK)"),
    "hvsampledata": ("pip install --no-deps --target FOLDER hvsampledata==0.1.5", "BSD"),
    "cfgrib": ("pip download --no-binary :all: --no-deps cfgrib==0.9.15.1; tar xf cfgrib-*.tar.gz -C FOLDER", "Apache-2.0"),
    "ferret-datasets": ("apt-get download ferret-datasets; dpkg -x ferret-datasets_*.deb FOLDER", "Ferret, public domain"),
    "r-cran-stars": ("apt-get download r-cran-stars; dpkg -x r-cran-stars_*.deb FOLDER", "Apache-2.0"),
    "libncarg-data": ("apt-get download libncarg-data; dpkg -x libncarg-data_*.deb FOLDER", "BSD-4-clause"),
    "torch-harmonics": ("pip install --no-deps torch-harmonics==0.9.3", "BSD-3-Clause"),
    "qg-python": ("pip install --no-deps qg-python==1.1.0", "MIT"),
    "exponax": ("pip install exponax==0.2.0", "MIT"),
}
READERS = "pip install netCDF4 scitools-iris eccodes rasterio"
IRIS = "iris_sample_data/sample_data/"
GRIB = "cfgrib-*/tests/sample-data/"
FERRET = "usr/share/ferret-vis/data/"
STARS = "usr/lib/R/site-library/stars/"
NCARG = "usr/share/ncarg/data/"

Window = tuple[int, int, int, int]
Read = Callable[[Path], np.ndarray]


@dataclass(frozen=True)
class Source:
    """One variable of one file or solver, with `set` "design" or "final" and a `note` on its precision."""

    name: str
    set: str
    package: str
    file: str
    variable: str
    unit: str
    read: Read
    note: str = ""

    @property
    def terms(self) -> str:
        """Licence of the package."""
        return PACKAGES[self.package][1]


def find(folder: Path, pattern: str) -> list[Path]:
    """List the files that match the pattern, at least one."""
    paths = sorted(folder.glob(pattern))
    if not paths:
        raise FileNotFoundError(f"no file {pattern}")
    return paths


def pick(frames: np.ndarray) -> np.ndarray:
    """Keep at most FRAMES frames, evenly spread."""
    count = min(FRAMES, len(frames))
    return frames[np.linspace(0, len(frames) - 1, count).round().astype(int)]


def crop(frames: np.ndarray, window: Window) -> np.ndarray:
    """Cut the window (top, left, height, width)."""
    top, left, height, width = window
    return frames[:, top : top + height, left : left + width]


def tiles(field: np.ndarray, size: int = 240) -> np.ndarray:
    """Keep tiles of one large field: evenly spread over the half of them that varies most."""
    rows, columns = field.shape[0] // size, field.shape[1] // size
    parts = field[: rows * size, : columns * size].reshape(rows, size, columns, size).swapaxes(1, 2).reshape(-1, size, size)
    spread = parts.std(axis=(1, 2))
    return pick(parts[spread >= np.median(spread)])


def read_netcdf(folder: Path, pattern: str, variable: str, window: Window | None, first: int | None = None) -> np.ndarray:
    """Read frames of NetCDF files, as tiles of the field where there is no window."""
    import netCDF4

    parts = []
    for path in find(folder, pattern):
        with netCDF4.Dataset(path) as file:
            data: np.ndarray = np.ma.filled(np.ma.asarray(file[variable][:], dtype=float), np.nan)
        parts.append(data.reshape(-1, *data.shape[-2:]))
    frames = np.concatenate(parts)[:first]
    return tiles(frames[0]) if window is None else crop(pick(frames), window)


def read_pp(folder: Path, pattern: str, stash: str, window: Window) -> np.ndarray:
    """Read the fields of one variable from pp files of the Met Office."""
    from iris.fileformats import pp

    fields = [field for path in find(folder, pattern) for field in pp.load(str(path)) if str(field.stash) == stash]
    return crop(np.stack([np.ma.filled(field.data, np.nan) for field in pick(np.array(fields, dtype=object))]), window)


def read_grib(folder: Path, pattern: str, variable: str, window: Window) -> np.ndarray:
    """Read all messages of one variable from a GRIB file."""
    import eccodes

    frames = []
    with open(find(folder, pattern)[0], "rb") as file:
        while (message := eccodes.codes_grib_new_from_file(file)) is not None:
            if variable in ("", eccodes.codes_get(message, "shortName")):
                eccodes.codes_set(message, "missingValue", 1e20)
                values = eccodes.codes_get_values(message)
                values = values.reshape(eccodes.codes_get(message, "Ny"), eccodes.codes_get(message, "Nx"))
                if eccodes.codes_is_defined(message, "alternativeRowScanning") and eccodes.codes_get(
                    message, "alternativeRowScanning"
                ):
                    values[1::2] = values[1::2, ::-1].copy()
                frames.append(np.where(values > 1e19, np.nan, values))
            eccodes.codes_release(message)
    return crop(pick(np.stack(frames)), window)


def read_tiff(folder: Path, pattern: str, window: Window) -> np.ndarray:
    """Read the bands of a picture as frames."""
    import rasterio

    with rasterio.open(find(folder, pattern)[0]) as file:
        return crop(file.read().astype(np.float32), window)


def read_plume(folder: Path, pattern: str, window: Window) -> np.ndarray:
    """Read the ash concentration at two levels from the text file of NAME, where cells without ash are left out."""
    lines = find(folder, pattern)[0].read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if "X grid," in line) + 1
    cells = np.loadtxt([line.rstrip(", ") for line in lines[start:] if line.strip()], delimiter=",", usecols=(0, 1, 4, 5))
    frames = np.zeros((2, 214, 584))
    x, y = cells[:, :2].astype(int).T - 1
    frames[:, y, x] = cells[:, 2:].T
    return crop(frames, window)


def file_source(set_: str, name: str, package: str, file: str, variable: str, unit: str, window: Any, **more: Any) -> Source:
    """Describe a variable of a file; the end of the file's name says how it is read."""
    note = more.pop("note", "")
    read: Read
    if file.endswith((".nc", ".cdf")):
        read = partial(read_netcdf, pattern=file, variable=variable, window=window, **more)
    elif file.endswith(".pp"):
        read = partial(read_pp, pattern=file, window=window, **more)
    elif file.endswith(".tif"):
        read = partial(read_tiff, pattern=file, window=window)
    elif file.endswith(".txt"):
        read = partial(read_plume, pattern=file, window=window)
    else:
        read = partial(read_grib, pattern=file, variable=variable, window=window)
    return Source(name, set_, package, file, variable, unit, read, note)


def run(set_: str, name: str, package: str, solver: str, variable: str, unit: str, solve: Callable[[], np.ndarray]) -> Source:
    """Describe a variable of a solver."""
    return Source(name, set_, package, solver, variable, unit, lambda folder: solve())


IRIS_, CFGRIB, NCAR, NOAA = "iris-sample-data", "cfgrib", "libncarg-data", "ferret-datasets"
LEVITUS, MET9 = FERRET + "levitus_climatology.cdf", NCARG + "grb/MET9_IR108_cosmode_0909210000.grb2"
LANDSAT = "hvsampledata/_data/landsat_rgb.tif"
RAIN = "Total_precipitation_surface_1_Hour_Accumulation"
design, final = partial(file_source, "design"), partial(file_source, "final")
SOURCES = [
    design("uk_theta", IRIS_, IRIS + "uk_hires.pp", "air_potential_temperature", "K", (0, 0, 204, 180), stash="m01s00i004"),
    design("glosea_surface", IRIS_, IRIS + "GloSea4/*.pp", "surface_temperature", "K", (0, 0, 144, 192), stash="m01s00i024"),
    design("scenario_air", IRIS_, IRIS + "[AEp]*[8l].pp", "air_temperature", "K", (0, 0, 144, 192), stash="m01s03i236"),
    design("nemo_sst", IRIS_, IRIS + "NEMO/*.nc", "tos", "degC", (65, 106, 144, 84)),
    design("toa_brightness", IRIS_, IRIS + "toa_brightness_stereographic.nc", "data", "K", (20, 62, 132, 192)),
    design("navy_wind_u", NOAA, FERRET + "monthly_navy_winds.cdf", "UWND", "m/s", (0, 0, 72, 144)),
    design("navy_wind_v", NOAA, FERRET + "monthly_navy_winds.cdf", "VWND", "m/s", (0, 0, 72, 144)),
    design("levitus_temperature", NOAA, LEVITUS, "TEMP", "degC", (20, 160, 72, 96), first=8),
    design("levitus_salinity", NOAA, LEVITUS, "SALT", "ppt", (20, 160, 72, 96), first=8),
    design("etopo_relief", NOAA, FERRET + "etopo5.cdf", "ROSE", "m", None, note="whole metres"),
    design("radar_rain", "r-cran-stars", STARS + "nc/test_stageiv_xyt.nc", RAIN, "kg/m^2", (0, 0, 108, 84)),
    design("landsat_bands", "r-cran-stars", STARS + "tif/L7_ETMs.tif", "bands", "count", (48, 48, 252, 252), note="uint8"),
    design("sea_level_pressure", CFGRIB, GRIB + "regular_ll_msl.grib", "prmsl", "Pa", (0, 0, 180, 252), note="14 bits"),
    design("sst_climatology", NCAR, NCARG + "cdf/sst30e_netcdf.nc", "sst", "degC", (0, 0, 84, 180)),
    run("design", "sphere_height", "torch-harmonics", "ShallowWaterSolver", "height", "m", partial(solvers.sphere, 0)),
    run("design", "sphere_vorticity", "torch-harmonics", "ShallowWaterSolver", "vorticity", "1/s", partial(solvers.sphere, 1)),
    run("design", "gyre_vorticity", "qg-python", "QGModel", "q", "1", partial(solvers.gyre, 0)),
    run("design", "gyre_streamfunction", "qg-python", "QGModel", "psi", "1", partial(solvers.gyre, 1)),
    final("hybrid_theta", IRIS_, IRIS + "hybrid_height.nc", "air_potential_temperature", "K", (0, 0, 96, 96)),
    final("colpex_theta", IRIS_, IRIS + "colpex.pp", "air_potential_temperature", "K", (6, 6, 72, 72), stash="m01s00i004"),
    final("polar_temperature", IRIS_, IRIS + "polar_stereo.grib2", "t", "K", (0, 0, 192, 240), note="12 bits"),
    final("ash_plume", IRIS_, IRIS + "NAME_output.txt", "air_concentration", "g/m^3", (0, 100, 204, 252)),
    final("model_temperature", CFGRIB, GRIB + "regular_gg_ml_g2.grib", "t", "K", (0, 0, 156, 252), note="16 bits"),
    final("surface_wind_u", CFGRIB, GRIB + "regular_gg_sfc.grib", "10u", "m/s", (0, 0, 96, 192), note="8 bits"),
    final("wave_height", CFGRIB, GRIB + "ds.waveh.5.grib", "shww", "m", (420, 480, 240, 240), note="9 bits"),
    final("ncar_wind_u", NCAR, NCARG + "cdf/941110_UV.cdf", "u", "m/s", (0, 0, 72, 72)),
    final("ncar_wind_v", NCAR, NCARG + "cdf/941110_UV.cdf", "v", "m/s", (0, 0, 72, 72)),
    final("pop_current_u", NCAR, NCARG + "cdf/pop.nc", "urot", "cm/s", (14, 194, 216, 84)),
    final("pop_current_v", NCAR, NCARG + "cdf/pop.nc", "vrot", "cm/s", (14, 194, 216, 84)),
    final("pop_temperature", NCAR, NCARG + "cdf/pop.nc", "t", "degC", (14, 194, 216, 84)),
    final("geopotential_height", NCAR, NCARG + "cdf/hgt.nc", "HGT", "gpm", (0, 0, 72, 144)),
    final("trinidad_relief", NCAR, NCARG + "cdf/trinidad.nc", "data", "ft", None),
    final("meteosat_infrared", NCAR, MET9, "", "count", (96, 96, 252, 252), note="8 bits"),
    final("landsat_rgb", "hvsampledata", LANDSAT, "bands", "count", (115, 47, 72, 132), note="uint8"),
    run("final", "kolmogorov_vorticity", "exponax", "KolmogorovFlowVorticity", "vorticity", "1", solvers.kolmogorov),
    run("final", "gray_scott", "exponax", "GrayScott", "second substance", "1", solvers.gray_scott),
]  # fmt: skip


def read(source: Source, folder: Path) -> np.ndarray:
    """Read the frames of a source, and refuse what is too small, not divisible by 12 or not finite."""
    frames = source.read(folder)
    height, width = frames.shape[1:]
    if len(frames) > FRAMES or min(height, width) < 64 or height % 12 or width % 12 or not np.isfinite(frames).all():
        raise ValueError(f"{source.name}: shape {frames.shape}, {np.isfinite(frames).mean():.3f} of the values are finite")
    return np.ascontiguousarray(frames, dtype=np.float64)


def write(sources: Sequence[Source], folder: Path, out: Path) -> list[Source]:
    """Write the sources and the list, and return those that cannot be read."""
    out.mkdir(parents=True, exist_ok=True)
    path, missing = out / "list.json", []
    entries = json.loads(path.read_text()) if path.exists() else {}
    for source in sources:
        try:
            frames = read(source, folder)
        except (ImportError, FileNotFoundError) as error:
            print(f"{source.name}: not read, {error}")
            missing.append(source)
            continue
        np.save(out / f"{source.name}.npy", frames)
        entries[source.name] = {
            "from": f"{source.package}, {source.file}",
            "variable": source.variable,
            "unit": source.unit,
            "shape": list(frames.shape),
            "terms": source.terms,
            "note": source.note,
            "set": source.set,
        }
        path.write_text(json.dumps(entries, indent=1) + "\n")
        print(f"{source.name}: {frames.shape}, {frames.min():.6g} to {frames.max():.6g}", flush=True)
    return missing


def main() -> None:
    """Write the sources that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--set", choices=("design", "final"))
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME")
    options = parser.parse_args()
    wanted = [s for s in SOURCES if options.set in (None, s.set) and (not options.only or s.name in options.only)]
    missing = write(wanted, options.folder, options.out)
    for package in sorted({source.package for source in missing}):
        print(f"{package}: {PACKAGES[package][0]}")
    if missing:
        print(f"The readers: {READERS}")


if __name__ == "__main__":
    main()
