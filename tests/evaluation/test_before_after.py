"""The page that compares bicubic and the result: frames in order, one file, nothing loaded, any kind of input."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.fakes import moving_pattern, upscale_here, write_y4m


def images(page: str, alt: str) -> list[np.ndarray]:
    found = re.findall(rf'<img alt="{alt}" src="data:image/png;base64,([^"]+)">', page)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(text)))) for text in found]


def test_a_field_is_compared_frame_by_frame(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).standard_normal((5, 20, 24)).cumsum(1).cumsum(2)
    noise[:, 3, 4] = np.nan
    np.save(tmp_path / "a.npy", noise)
    upscale_here([f"input={tmp_path}/a.npy", "axes=tyx", "page=true"])
    page = (tmp_path / "a_x2.npy.html").read_text(encoding="utf-8")
    for method in ("bicubic", "result"):
        frames = images(page, rf"{method}, frame \d")
        assert [frame.shape for frame in frames] == [(40, 48, 3)] * 5
        assert np.abs(np.diff(np.stack(frames).astype(int), axis=0)).max() > 20
    assert "over bicubic on a coarser copy of this file" in page
    assert re.search(r'class="colour-bar"><span>[-+0-9.e]+</span><img alt="colours of a, ', page)
    assert page.count('<input type="range"') == 2
    assert "http" not in page.replace("http-equiv", "")


def test_a_clip_is_shown_in_its_own_colours(tmp_path: Path) -> None:
    clip = moving_pattern(3, 24, 32)
    write_y4m(tmp_path / "a.y4m", clip)
    upscale_here([f"input={tmp_path}/a.y4m", f"output={tmp_path}/frames/", "page=true"])
    [page] = tmp_path.glob("*.html")
    [shown] = images(page.read_text(encoding="utf-8"), "bicubic, frame 1")
    assert shown.shape == (48, 64, 3)
    blocks = shown[..., 0].reshape(24, 2, 32, 2).mean((1, 3))
    assert np.corrcoef(blocks.ravel(), clip[1].ravel())[0, 1] > 0.98


@pytest.mark.parametrize("size", [900])
def test_large_frames_are_cut_to_their_middle(size: int, tmp_path: Path) -> None:
    y, x = np.mgrid[:size, :size] / size
    np.save(tmp_path / "a.npy", np.stack([np.hypot(y - 0.5, x - 0.5)]).astype(np.float32))
    upscale_here([f"input={tmp_path}/a.npy", "axes=tyx", "page=true", "guard=off"])
    page = (tmp_path / "a_x2.npy.html").read_text(encoding="utf-8")
    [shown] = images(page, "result, frame 0")
    assert shown.shape == (768, 768, 3)
    assert page.count('<input type="range"') == 1


def test_the_north_is_up(tmp_path: Path) -> None:
    """Latitudes that grow are drawn from below, and those that fall from above: the same picture."""
    xarray = pytest.importorskip("xarray")
    noise = np.random.default_rng(0).standard_normal((2, 20, 24)).cumsum(1).cumsum(2)
    grown = xarray.DataArray(
        noise,
        {"lat": np.linspace(-40, 40, 20), "lon": np.linspace(0, 46, 24)},
        ["time", "lat", "lon"],
        name="t",
        attrs={"units": "K"},
    )
    shown = []
    for name, array in (("grows", grown), ("falls", grown.isel(lat=slice(None, None, -1)))):
        array.to_netcdf(tmp_path / f"{name}.nc", engine="h5netcdf")
        upscale_here([f"input={tmp_path}/{name}.nc", "page=true", "guard=off"])
        page = (tmp_path / f"{name}_x2.nc.html").read_text(encoding="utf-8")
        assert "<span>t (K)</span>" in page
        edges = ["42.1053", "latitude (°)", "-42.1053"]  # half a pixel beyond the outer latitudes
        assert '<div class="map-y">' + "".join(f"<span>{text}</span>" for text in edges) in page
        assert f"<code>vsr evaluate checkpoint=pretrained:field_x2 data=climate data.path={tmp_path}/{name}.nc" in page
        shown += images(page, "bicubic, frame 0")
    assert np.abs(shown[0].astype(int) - shown[1]).max() <= 8
