"""Every score by name: what it is, in which unit, what is ideal and who defined it. Tables, files and pages say it from here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

UNIT_INTERVAL = "range"  # 1 = the data range


@dataclass(frozen=True, kw_only=True)
class Definition:
    """A score.

    Attributes:
        label: heading of its column.
        unit: "dB", "px", "range" (1 is the data range), "data" (the data's own unit), "" for none.
        better: "high", "low", or what it should be close to.
        group: which data have it decides the group: all of "error" and "structure", movies "time", ...
        text: one line. source: who defined it.
        per: what has a value.
    """

    label: str
    unit: str
    better: Literal["high", "low", "one", "zero"]
    group: Literal["error", "structure", "spectrum", "physics", "extremes", "time"]
    text: str
    source: str
    per: Literal["frame", "segment"] = "frame"


_QUANTILE = "(q(p) - q(y)) / (max y - min y) of the frame"

DEFINITIONS: dict[str, Definition] = {
    "mae": Definition(
        label="MAE",
        unit="range",
        better="low",
        group="error",
        text="mean |p - y|",
        source="Wang & Bovik 2009",
    ),
    "mse": Definition(label="MSE", unit="range", better="low", group="error", text="mean (p - y)^2", source="Wang & Bovik 2009"),
    "psnr": Definition(
        label="PSNR",
        unit="dB",
        better="high",
        group="error",
        text="-10 log10 MSE, per frame, data range 1",
        source="as in the SRCNN papers, on floats",
    ),
    "rmse": Definition(
        label="RMSE",
        unit="data",
        better="low",
        group="error",
        text="root of the frame's MSE in physical units",
        source="World Meteorological Organization, No. 485",
    ),
    "max_error": Definition(
        label="max error",
        unit="data",
        better="low",
        group="error",
        text="largest |p - y| of the frame, in physical units",
        source="-",
    ),
    "vrmse": Definition(
        label="VRMSE",
        unit="",
        better="low",
        group="error",
        text="RMSE over the truth's standard deviation; 1 predicts the mean",
        source="Ohana et al. 2024 (The Well)",
    ),
    "ssim": Definition(
        label="SSIM",
        unit="",
        better="high",
        group="structure",
        text="11x11 Gaussian, sigma 1.5, data range 1",
        source="Wang et al. 2004",
    ),
    "gradient_rmse": Definition(
        label="gradient RMSE",
        unit="data",
        better="low",
        group="structure",
        text="root of the mean |grad p - grad y|^2, central differences per HR pixel, in physical units",
        source="sup3r (NREL)",
    ),
    "sharpness": Definition(
        label="sharpness",
        unit="",
        better="one",
        group="structure",
        text="mean |grad p| / mean |grad y|",
        source="-",
    ),
    "consistency": Definition(
        label="LR consistency",
        unit="",
        better="low",
        group="structure",
        text="RMS(D p - x) / RMS(x - mean x), D the degradation that made x, over LR pixels that the window decides alone",
        source="Aybar et al. 2024 (opensr-test)",
    ),
    "band_low": Definition(
        label="error, low band",
        unit="data",
        better="low",
        group="spectrum",
        text="RMSE of the error's Fourier part |k| below half of the LR Nyquist wavenumber",
        source="Takamoto et al. 2022 (PDEBench)",
    ),
    "band_mid": Definition(
        label="error, mid band",
        unit="data",
        better="low",
        group="spectrum",
        text="the same between half of the LR Nyquist wavenumber and that",
        source="Takamoto et al. 2022 (PDEBench)",
    ),
    "band_high": Definition(
        label="error, high band",
        unit="data",
        better="low",
        group="spectrum",
        text="the same from the LR Nyquist wavenumber on: what LR cannot hold",
        source="Takamoto et al. 2022 (PDEBench)",
    ),
    "lsd": Definition(
        label="LSD",
        unit="dB",
        better="low",
        group="spectrum",
        per="segment",
        text="log-spectral distance: RMS over rings of 10 log10 of the ratio of radially averaged power",
        source="Harris et al. 2001",
    ),
    "lsd_high": Definition(
        label="LSD above LR",
        unit="dB",
        better="low",
        group="spectrum",
        per="segment",
        text="the same over the rings from the LR Nyquist wavenumber on",
        source="Harris et al. 2001",
    ),
    "resolution": Definition(
        label="effective resolution",
        unit="px",
        better="low",
        group="spectrum",
        per="segment",
        text="wavelength in HR pixels at which the coherence of p and y first falls below 0.5; 2 is the finest there is",
        source="Subich et al. 2025 (AMSE), for the coherence",
    ),
    "mass": Definition(
        label="mass error",
        unit="",
        better="zero",
        group="physics",
        text="(sum p - sum y) / sum |y - mean y|",
        source="Takamoto et al. 2022 (PDEBench cRMSE), normalised",
    ),
    "vorticity_rmse": Definition(
        label="vorticity RMSE",
        unit="",
        better="low",
        group="physics",
        text="RMSE of the geostrophic vorticity (g/f) Laplacian h, over the truth's RMS",
        source="geostrophic balance",
    ),
    "enstrophy": Definition(
        label="enstrophy",
        unit="",
        better="one",
        group="physics",
        text="mean square of the geostrophic vorticity, p over y",
        source="geostrophic balance",
    ),
    "q001": Definition(label="q 0.1%", unit="", better="zero", group="extremes", text=_QUANTILE, source="sup3r (NREL)"),
    "q010": Definition(label="q 1%", unit="", better="zero", group="extremes", text=_QUANTILE, source="sup3r (NREL)"),
    "q990": Definition(label="q 99%", unit="", better="zero", group="extremes", text=_QUANTILE, source="sup3r (NREL)"),
    "q999": Definition(label="q 99.9%", unit="", better="zero", group="extremes", text=_QUANTILE, source="sup3r (NREL)"),
    "change_error": Definition(
        label="change err",
        unit="",
        better="low",
        group="time",
        per="segment",
        text="RMS(dp - dy) / RMS(dy) of first differences in time; a still picture scores 1",
        source="sup3r, anemoi",
    ),
    "flicker": Definition(
        label="flicker",
        unit="",
        better="one",
        group="time",
        per="segment",
        text="RMS of second differences in time, p over y: above 1 flickers, below smears",
        source="this project",
    ),
    "error_lag": Definition(
        label="error lag-1",
        unit="",
        better="one",
        group="time",
        per="segment",
        text="correlation (no mean taken off) of the error with that of the frame before: near 0 it flickers, near 1 it stays",
        source="this project",
    ),
    "temporal_lsd": Definition(
        label="temporal LSD",
        unit="dB",
        better="low",
        group="time",
        per="segment",
        text="log-spectral distance over frequencies of the power in time (Welch, blocks of 64 frames), mean over pixels",
        source="sup3r (NREL)",
    ),
}
