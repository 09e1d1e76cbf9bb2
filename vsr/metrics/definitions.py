"""Definitions of all scores: name, unit, direction, decimals, data and formula. Imports no torch.

Tables, CSV files, pages and `vsr.metrics.collection` read a score from its definition alone. A new score of single frames, of
spectra in space or of spectra in time is one entry in `DEFINITIONS`, with its `function`. A score that sums up other quantities
over a segment also needs a metric class, as in `vsr.metrics.motion`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

from vsr.geometry import PER_PIXEL

HEADLINE_SCORES = ("mae", "mse", "psnr", "ssim")  # of every validation and test
UNIT_INTERVAL = "range"  # 1 = the data range
# The square of float32's eps, which is the smallest error that float32 frames can show. With this floor the PSNR of equal frames
# is 138.5 dB; without it one such frame would make the mean PSNR infinite.
MSE_FLOOR = 2.0**-46
AMPLITUDE_FLOOR = MSE_FLOOR**0.5  # amplitudes below it are rounding
LEVELS = (50, 80, 90, 95)  # per cent, of the intervals whose coverage is scored
ACTIVITIES = ("quiet", "moderate", "front")  # classes of pixels, see `vsr.metrics.ensemble`
RESOLVED = 0.5  # coherence: below, prediction and truth have little in common


def psnr_from_mse(mse: Any) -> Any:
    """Compute the peak signal-to-noise ratio, -10 log10 MSE.

    Args:
        mse: Mean squared error in the unit interval, where the data range is 1: a number, an array or a tensor on any device.

    Returns:
        The PSNR in dB, of the kind and shape of `mse`, at most 138.5 dB.
    """
    if hasattr(mse, "log10"):  # a tensor
        return -10 * mse.clamp_min(MSE_FLOOR).log10()
    import numpy as np  # only here: the check of a command line reads the definitions

    return -10 * np.log10(np.maximum(mse, MSE_FLOOR))


@dataclass(frozen=True, kw_only=True)
class Definition:
    """Definition of one score.

    Attributes:
        label: Heading of the score's column.
        better: "high", "low", or the ideal value ("one", "zero"); "level" for the level in the label, or for no value at all.
        group: The block of the report that shows the score.
        text: The formula in one line; p is the prediction, y the truth, x the LR frame.
        unit: "dB", "px" (or the unit of `lengths_in`), "range" (1 is the data range), "data" (the data's own unit), "" for none.
        source: The paper or project that defined the score; "-" for common knowledge.
        per: "frame" for one value per frame, "segment" for one value per segment.
        needs: Data that the score needs: "field", a physical field, whose sum is a mass; "geostrophic", heights of a fluid in
            geostrophic balance; "" for any data.
        digits: Decimals in tables of runs.
        function: The formula. Scores per frame take a `FramePair` and return (N,) values. Scores per segment take a
            `SpectrumPair` (in space for the group "spectrum", in time for the group "time") and return a float. None for scores
            that have a metric class of their own.
    """

    label: str
    better: Literal["high", "low", "one", "zero", "level"]
    group: Literal["error", "structure", "spectrum", "physics", "extremes", "time", "uncertainty"]
    text: str
    unit: str = ""
    source: str = "-"
    per: Literal["frame", "segment"] = "frame"
    needs: Literal["", "field", "geostrophic"] = ""
    digits: int = 4
    function: Callable[[Any], Any] | None = None


def functions_of_definitions(
    per: Literal["frame", "segment"], group: str | None = None, met: Collection[str] = ()
) -> dict[str, Callable[[Any], Any]]:
    """Return the formulas (`Definition.function`) of the selected scores, by score name.

    Args:
        per: "frame" or "segment", as in `Definition.per`.
        group: Group of the scores; None for all groups.
        met: Properties that the data have ("field", "geostrophic"). Scores that need another property are left out.
    """
    return {
        name: one.function
        for name, one in DEFINITIONS.items()
        if one.function and one.per == per and group in (None, one.group) and one.needs in ("", *met)
    }


QUANTILES = {"q001": 0.001, "q010": 0.01, "q990": 0.99, "q999": 0.999}


def _quantile_error(name: str, level: float) -> Definition:
    return Definition(
        label=f"q {100 * level:g}%",
        better="zero",
        group="extremes",
        text="(q(p) - q(y)) / (max y - min y) of the frame",
        source="sup3r (NREL)",
        function=lambda pair: pair.quantile_errors[name],
    )


def _coverage(level: int) -> Definition:
    return Definition(
        label=f"in {level}%",
        better="level",
        group="uncertainty",
        digits=3,
        text=f"share of the pixels inside the {level}% interval of the members",
    )


# fmt: off
DEFINITIONS: dict[str, Definition] = {
    "mae": Definition(
        label="MAE", unit="range", better="low", group="error", digits=5,
        text="mean |p - y|", source="Wang & Bovik 2009",
    ),
    "mse": Definition(
        label="MSE", unit="range", better="low", group="error", digits=6,
        text="mean (p - y)^2", source="Wang & Bovik 2009",
    ),
    "psnr": Definition(
        label="PSNR", unit="dB", better="high", group="error", digits=2,
        text="-10 log10 MSE, per frame, data range 1", source="as in the SRCNN papers, on floats",
    ),
    "rmse": Definition(
        label="RMSE", unit="data", better="low", group="error",
        text="root of the frame's MSE in physical units",
        source="World Meteorological Organization, No. 485", function=lambda pair: pair.data_range * pair.mse.sqrt(),
    ),
    "max_error": Definition(
        label="max error", unit="data", better="low", group="error",
        text="largest |p - y| of the frame, in physical units", function=lambda pair: pair.data_range * pair.largest_error,
    ),
    "vrmse": Definition(
        label="VRMSE", better="low", group="error",
        text="RMSE over the truth's standard deviation; 1 predicts the mean",
        source="Ohana et al. 2024 (The Well)", function=lambda pair: pair.ratio(pair.mse, pair.variance).sqrt(),
    ),
    "ssim": Definition(
        label="SSIM", better="high", group="structure",
        text="11x11 Gaussian, sigma 1.5, data range 1", source="Wang et al. 2004",
    ),
    "gradient_rmse": Definition(
        label="gradient RMSE", unit="data", better="low", group="structure",
        text="root of the mean |grad p - grad y|^2, central differences per px, in physical units",
        source="sup3r (NREL)", function=lambda pair: pair.data_range * pair.gradient_mse.sqrt(),
    ),
    "sharpness": Definition(
        label="sharpness", better="one", group="structure",
        text="mean |grad p| / mean |grad y|", function=lambda pair: pair.ratio(*pair.mean_gradients, AMPLITUDE_FLOOR),
    ),
    "consistency": Definition(
        label="LR consistency", better="low", group="structure",
        text="RMS(D p - x) / RMS(x - mean x), D the degradation that made x, over LR pixels that the window decides alone",
        source="Aybar et al. 2024 (opensr-test)",
    ),
    "band_low": Definition(
        label="error, low band", unit="data", better="low", group="spectrum",
        text="RMSE of the error's Fourier part |k| below half of the LR Nyquist wavenumber",
        source="Takamoto et al. 2022 (PDEBench)",
    ),
    "band_mid": Definition(
        label="error, mid band", unit="data", better="low", group="spectrum",
        text="RMSE of the error's Fourier part |k| between half of the LR Nyquist wavenumber and the LR Nyquist wavenumber",
        source="Takamoto et al. 2022 (PDEBench)",
    ),
    "band_high": Definition(
        label="error, high band", unit="data", better="low", group="spectrum",
        text="RMSE of the error's Fourier part |k| from the LR Nyquist wavenumber on, which LR cannot hold",
        source="Takamoto et al. 2022 (PDEBench)",
    ),
    "lsd": Definition(
        label="LSD", unit="dB", better="low", group="spectrum", per="segment",
        text="log-spectral distance: RMS over rings of 10 log10 of the ratio of radially averaged power",
        source="Harris et al. 2001", function=lambda pair: pair.log_distance(),
    ),
    "lsd_high": Definition(
        label="LSD above LR", unit="dB", better="low", group="spectrum", per="segment",
        text="log-spectral distance over the rings from the LR Nyquist wavenumber on",
        source="Harris et al. 2001", function=lambda pair: pair.log_distance(lowest=pair.lr_nyquist),
    ),
    "resolution": Definition(
        label="effective resolution", unit="px", better="low", group="spectrum", per="segment",
        text="wavelength in px at which the coherence of p and y first falls below 0.5; two pixels is the finest there is",
        source="Subich et al. 2025 (AMSE), for the coherence", function=lambda pair: pair.resolution(),
    ),
    "nyquist_coherence": Definition(
        label="coherence at LR", better="one", group="spectrum",
        text="Re sum P Y* / root(sum |P|^2 sum |Y|^2) of the frame over the ring at the LR Nyquist wavenumber",
        source="Subich et al. 2025 (AMSE), for the coherence",
    ),
    "mass": Definition(
        label="mass error", better="zero", group="physics", needs="field",
        text="(sum p - sum y) / sum |y - mean y|",
        source="Takamoto et al. 2022 (PDEBench cRMSE), normalised",
        function=lambda pair: pair.ratio(pair.mean(pair.error), pair.mean_deviation, AMPLITUDE_FLOOR),
    ),
    "energy": Definition(
        label="energy", better="one", group="physics",
        text="mean kinetic energy (u^2 + v^2) / 2 of the frame, p over y; of several vectors, the mean",
    ),
    "wall_velocity": Definition(
        label="wall velocity", better="low", group="physics",
        text="RMS of the velocity normal to the outermost rows and columns, over the RMS speed of y; that of y is ideal",
    ),
    "vorticity_rmse": Definition(
        label="vorticity RMSE", better="low", group="physics", needs="geostrophic",
        text="RMSE of the geostrophic vorticity (g/f) Laplacian h, over the truth's RMS",
        source="geostrophic balance", function=lambda pair: pair.ratio(pair.laplacians[2], pair.laplacians[1]).sqrt(),
    ),
    "enstrophy": Definition(
        label="enstrophy", better="one", group="physics", needs="geostrophic",
        text="mean square of the geostrophic vorticity, p over y",
        source="geostrophic balance", function=lambda pair: pair.ratio(*pair.laplacians[:2]),
    ),
    **{name: _quantile_error(name, level) for name, level in QUANTILES.items()},
    "change_error": Definition(
        label="change err", better="low", group="time", per="segment",
        text="RMS(dp - dy) / RMS(dy) of first differences in time; a still picture scores 1", source="sup3r, anemoi",
    ),
    "flicker": Definition(
        label="flicker", better="one", group="time", per="segment",
        text="RMS of second differences in time, p over y: above 1 flickers, below smears", source="this project",
    ),
    "error_lag": Definition(
        label="error lag-1", better="one", group="time", per="segment",
        text="correlation (no mean taken off) of the error with that of the frame before: near 0 it flickers, near 1 it stays",
        source="this project",
    ),
    "temporal_lsd": Definition(
        label="temporal LSD", unit="dB", better="low", group="time", per="segment",
        text="log-spectral distance over frequencies of the power in time (Welch, blocks of 64 frames), mean over pixels",
        source="sup3r (NREL)", function=lambda pair: pair.log_distance(),
    ),
    "crps": Definition(
        label="CRPS", unit="range", better="low", group="uncertainty", digits=5,
        text="mean E|x - y| - E|x - x'| / 2 over members x and x', fair for their number; the MAE of a single prediction",
        source="Ferro 2014",
    ),
    "spread": Definition(
        label="spread", unit="range", better="level", group="uncertainty", digits=5,
        text="root of the mean variance of the members, times (K + 1) / K", source="Fortin et al. 2014",
    ),
    "spread_error": Definition(
        label="spread / error", better="one", group="uncertainty", per="segment", digits=2,
        text="root of the mean variance of the members, times (K + 1) / K, over the RMSE of their mean",
        source="Fortin et al. 2014",
    ),
    "member_flicker": Definition(
        label="member flicker", better="one", group="uncertainty", per="segment", digits=2,
        text="RMS of second differences in time, members over y: above 1 they flicker, below they smear", source="this project",
    ),
    **{f"coverage_{level}": _coverage(level) for level in LEVELS},
    "width_90": Definition(
        label="width 90%", unit="range", better="low", group="uncertainty", digits=5,
        text="mean width of the 90% interval of the members",
    ),
    "energy_score": Definition(
        label="energy score", unit="range", better="low", group="uncertainty", digits=5,
        text="CRPS with lengths of differences over 4x4 px, over 4; fair for the number of members",
        source="Gneiting & Raftery 2007",
    ),
    "variogram_score": Definition(
        label="variogram score", better="low", group="uncertainty",
        text="mean (E|x_i - x_j|^0.5 - |y_i - y_j|^0.5)^2 over pairs one and two pixels apart",
        source="Scheuerer & Hamill 2015",
    ),
}
# fmt: on


@contextmanager
def lengths_in(unit: str) -> Iterator[None]:
    """Define scores that hold lengths in a unit other than the HR pixel ("px"), inside the block."""
    known = {} if unit == PER_PIXEL else {name: DEFINITIONS[name] for name in ("gradient_rmse", "resolution")}
    DEFINITIONS.update(
        {
            name: replace(one, unit=unit if one.unit == PER_PIXEL else one.unit, text=one.text.replace(" px", f" {unit}"))
            for name, one in known.items()
        }
    )
    try:
        yield
    finally:
        DEFINITIONS.update(known)
