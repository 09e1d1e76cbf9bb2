"""Web page that sharpens files in a browser with the network of a checkpoint: `vsr export format=web`."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import logging
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vsr.data.cache import cache_folder
from vsr.degradations.resize import CUBIC_RADIUS
from vsr.errors import UserError
from vsr.evaluation.report.html import html_one_line, html_policy_hash
from vsr.evaluation.report.page_style import STYLE
from vsr.evaluation.report.style import FIELD, coloured
from vsr.inference.export.checkpoint import ROUNDINGS, check_exportable, format_size
from vsr.inference.export.formats import onnx_file, require_packages
from vsr.inference.export.function import INPUT, OUTPUT, ExportableLayers, InputAxes, describe_exported_function
from vsr.inference.export.operators import exportable_bicubic_upsample
from vsr.inference.options import UpscaleOptions
from vsr.inference.trained import Trained, read_trained
from vsr.inference.upscale_file import OUTSIDE
from vsr.inference.upscaler import Upscaler
from vsr.io.writers.pictures import TO_YCBCR, ZEROS
from vsr.models.super_resolver import SuperResolver
from vsr.models.transform import Transformed
from vsr.system.files import replacing_file

TEMPLATE = Path(__file__).with_name("web_page.html")
TILE = 256  # LR pixels per side, without what the network sees around them: it bounds the memory of the browser
TOLERANCE = 1e-4  # of the range of the values
PAGE, LICENCES = "index.html", "LICENSES.txt"
LICENCE = "package/LICENSE.txt"  # in an archive; that of onnxruntime-web has none
MIT = """\
MIT License

Copyright (c) Microsoft Corporation

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files
(the "Software"), to deal in the Software without restriction, including without limitation the rights to use, copy, modify,
merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES
OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE
LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN
CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class NpmPackage:
    """A package of npm in one exact version.

    Attributes:
        name: Name of the package.
        version: The version.
        sha512: SHA-512 checksum of the archive in base64, as npm gives it ("integrity").
        members: Id in the page -> name in the archive of the files that the page holds.
    """

    name: str
    version: str
    sha512: str
    members: dict[str, str]

    @property
    def archive(self) -> str:
        """Name of the archive that `npm pack` writes."""
        return f"{self.name}-{self.version}.tgz"


PACKAGES = (
    NpmPackage(
        "onnxruntime-web",
        "1.30.0",
        "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ==",
        {
            "onnxruntime": "package/dist/ort.wasm.bundle.min.mjs",
            "onnxruntime-wasm": "package/dist/ort-wasm-simd-threaded.wasm",
        },
    ),
    NpmPackage(
        "h5wasm",
        "0.10.3",
        "W4Jy5ExtX/VNbyD8GdOBckDuj6AL16TemppVNxZsV3rJZEWCv2sxlCzOttZLer3zkMttbDYsWHl0qt1z3Bln+Q==",
        {"h5wasm": "package/dist/iife/h5wasm.js"},
    ),
)


class PageFunction(nn.Module):
    """The function of a page: a frame (h, w, c) -> the bicubic and the sharpened frame (2, H, W, c), all float64.

    c is 1 for a plane of physical values, or 3 for the codes 0..255 of R'G'B'. Of a colour picture the network gets the luma, and
    the rest is enlarged by bicubic interpolation, as in `vsr.io.writers.pictures`. An equivariant network gets values between the
    extremes of the frame.

    Args:
        module: A network of single frames of one channel.
        bounds: Physical values that are 0 and 1 for the network; None for an equivariant network.
        colour: True for c = 3.
    """

    to_ycbcr: Tensor
    to_rgb: Tensor
    zeros: Tensor

    def __init__(self, module: SuperResolver, bounds: tuple[float, float] | None, *, colour: bool) -> None:
        super().__init__()
        self.scale, self.bounds, self.colour = module.network.geometry.scale[1], bounds, colour
        with torch.no_grad():
            self.layers = ExportableLayers(module.network.fold(), self.scale)
        self.register_buffer("to_ycbcr", torch.from_numpy(TO_YCBCR))
        self.register_buffer("to_rgb", torch.from_numpy(np.linalg.inv(TO_YCBCR)))
        self.register_buffer("zeros", torch.from_numpy(ZEROS)[:, None, None])
        self.requires_grad_(False).eval()

    def forward(self, lr: Tensor) -> Tensor:
        """Return the bicubic and the sharpened frame."""
        planes = lr.permute(2, 0, 1)
        if not self.colour:
            return self._enlarged(planes).permute(0, 2, 3, 1)
        ycbcr = torch.einsum("ij,jhw->ihw", self.to_ycbcr, planes) + self.zeros
        chroma = exportable_bicubic_upsample(ycbcr[None, 1:].float(), self.scale, self.layers.cubic).double()
        both = torch.cat([self._enlarged(ycbcr[:1]), chroma.expand(2, -1, -1, -1)], 1) - self.zeros
        return torch.einsum("ij,njhw->nhwi", self.to_rgb, both)

    def _enlarged(self, plane: Tensor) -> Tensor:
        """Return the bicubic and the sharpened frame (2, 1, H, W) of a plane (1, h, w)."""
        if self.bounds is None:
            low, high = plane.flatten().amin(0), plane.flatten().amax(0)
            span = torch.where(high > low, high - low, low.abs().clamp_min(1.0))
        else:
            low, span = plane.new_tensor(self.bounds[0]), plane.new_tensor(self.bounds[1] - self.bounds[0])
        unit = ((plane[None] - low) / span).float()
        bicubic = exportable_bicubic_upsample(unit, self.scale, self.layers.cubic)
        return torch.cat([bicubic, self.layers(unit)]).double() * span + low


def export_web_page(
    checkpoint: Path,
    output: Path,
    *,
    overwrite: bool = False,
    consistency: str | None = None,
    packages: Path | None = None,
) -> list[str]:
    """Write a folder with a page that sharpens files in a browser; it holds the network and all code, and requests nothing.

    Args:
        checkpoint: A checkpoint of vsr.
        output: The folder to write.
        overwrite: True to replace a page that is there.
        consistency: "none" to export the network without the consistency correction of its checkpoint.
        packages: Folder of the archives of `PACKAGES`; None to fetch them by npm, once into the cache of vsr.

    Returns:
        Lines of text that describe the page.

    Raises:
        UserError: If the page cannot hold the network, if the packages cannot be fetched, if the page would give other values
            than `vsr.load`, or if the output exists or cannot be written.
    """
    if output.exists() and not output.is_dir():
        raise UserError(f"{output}: is a file; type output=FOLDER")
    if (output / PAGE).exists() and not overwrite:
        raise UserError(f"{output / PAGE}: exists; type overwrite=true to replace it, or another output=FOLDER")
    trained = read_trained(checkpoint)
    check_exportable(trained, "web", consistency)
    module = trained.module()
    _check_page_network(trained, module)
    require_packages("onnx", "onnxscript", "onnxruntime")
    parts, licences = read_npm_packages(packages)
    facts = describe_exported_function(trained, module)
    axes, upscaler = InputAxes.of(module, 1), Upscaler(trained, UpscaleOptions(device="cpu", consistency="none"))
    axes = replace(axes, pixels=max(axes.pixels, CUBIC_RADIUS))  # for the bicubic frame
    parts["plane"] = _onnx(trained, module, axes, facts, colour=False)
    least, difference, sizes = _compare(parts["plane"], upscaler, axes)
    if trained.any_values or facts["units"] in ("", "1"):
        parts["colour"] = _onnx(trained, module, axes, facts, colour=True)
    page = web_page(trained, facts, parts, axes, least)
    try:
        output.mkdir(parents=True, exist_ok=True)
        for name, text in ((LICENCES, licences), (PAGE, page)):
            with replacing_file(output / name) as temporary:
                temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        detail = error.strerror or error
        raise UserError(f"{output}: cannot be written ({detail}); type output=FOLDER in a folder of yours") from error
    runtimes = " and ".join(f"{package.name} {package.version}" for package in PACKAGES)
    rows = {
        "format": f"web page with {runtimes}; {format_size(len(page.encode()) + len(licences.encode()))}",
        "network": f"{facts['name']}, {facts['kind']}, x{facts['scale']}, checkpoint {facts['checkpoint'][:12]}",
        "compared": f"with vsr.load at {sizes}: differs by {difference:.1e} of the range at most",
        "open": f"{output / PAGE} in a browser, from the disk or from a web server; it requests nothing from elsewhere",
    }
    return [str(output), *(f"  {key:<9} {text}" for key, text in rows.items())]


def _check_page_network(trained: Trained, module: SuperResolver) -> None:
    """Raise UserError for a network that the page cannot apply."""
    path, kinds = trained.path, "format=web is for networks of single frames of one variable; type format=onnx"
    if module.kind == "movie":
        raise UserError(f"{path}: sees several frames at once; {kinds}")
    if trained.channels != 1:
        raise UserError(f"{path}: has {trained.channels} channels; {kinds}")
    if any(module.network.geometry.margin):
        raise UserError(f"{path}: loses pixels at the border of a frame; type format=onnx")
    if module.ensemble is not None:
        raise UserError(f"{path}: is an ensemble, whose members a page cannot draw; use vsr upscale or vsr.load")
    if isinstance(module.network, Transformed):
        raise UserError(f"{path}: transforms its values (data.transform), which a page cannot check; use vsr upscale or vsr.load")


def _onnx(trained: Trained, module: SuperResolver, axes: InputAxes, facts: dict[str, str], *, colour: bool) -> bytes:
    """Return the ONNX file of the function of the page."""
    from torch.export import Dim

    low, high = (float(bound) for bound in trained.bounds)  # type: ignore[arg-type]
    function = PageFunction(module, None if trained.any_values else (low, high), colour=colour)
    example = torch.zeros(axes.pixels + 4, axes.pixels + 7, 3 if colour else 1, dtype=torch.float64)
    try:
        return onnx_file(function, example, {0: Dim("height", min=axes.pixels), 1: Dim("width", min=axes.pixels)}, facts)
    except torch.onnx.OnnxExporterError as error:
        detail = (str(error).strip().splitlines() or ["no reason given"])[0]
        raise UserError(f"{trained.path}: format=web has no operation for a part of this network ({detail})") from error


def _compare(content: bytes, upscaler: Upscaler, axes: InputAxes) -> tuple[int, float, str]:
    """Compare an exported function of planes with `vsr.load` on noise, at several sizes.

    Returns:
        The smallest height and width, the largest difference as a part of the range of the values, and the sizes in words.

    Raises:
        UserError: If the function differs by more than TOLERANCE and the rounding of float32.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

    low, high = np.ravel((280.0, 300.0) if upscaler.any_values else upscaler.bounds)
    # vsr.load computes in float32: values that are large beside their range are rounded there, and not in the page.
    allowed = TOLERANCE + ROUNDINGS * np.finfo(np.float32).eps * max(abs(low), abs(high)) / (high - low)

    def difference(height: int, width: int) -> float:
        lr = low + (high - low) * np.random.default_rng(height).random((height, width))
        found = session.run([OUTPUT], {INPUT: lr[..., None]})[0][1, ..., 0]
        return float(np.abs(found - upscaler.upscale(lr)).max() / (high - low))

    least = axes.pixels
    for smaller in (2, 4):  # networks that replicate their border take any frame, others as many pixels as they mirror
        try:
            fits = difference(smaller, smaller + 1) <= allowed
        except Exception:  # the runtime has errors of its own
            continue
        least = min(least, smaller) if fits else least
    sizes = [(least, least), (axes.pixels + 9, axes.pixels + 2), (axes.pixels, axes.pixels + 17)]
    largest = max(difference(*size) for size in sizes)
    if not largest <= allowed:  # in this form NaN does not pass
        raise UserError(f"format=web: the page would differ from vsr.load by {largest:.1e} of the range; type format=onnx")
    return least, largest, ", ".join(f"{height}x{width}" for height, width in sizes)


def web_page(trained: Trained, facts: dict[str, str], parts: dict[str, bytes], axes: InputAxes, least: int) -> str:
    """Build the HTML of the page.

    Args:
        trained: The checkpoint.
        facts: What `describe_exported_function` returns.
        parts: Id -> content of what the script unpacks: networks and packages.
        axes: Input sizes of the network.
        least: Smallest height and width.
    """
    pictures = "colour" in parts
    known: dict[str, Any] = {
        "scale": axes.geometry.scale[1],
        "reach": max(int(facts["reach"]), CUBIC_RADIUS),
        "tile": 0 if trained.module().network.whole_frames else TILE,
        "least": least,
        "bounds": None if trained.any_values else list(trained.bounds),
        "units": facts["units"] if facts["units"] != "1" else "",
        "outside": OUTSIDE,
        "pictures": pictures,
        "colours": coloured(np.linspace(0, 1, 256), FIELD, 0, 1).ravel().tolist(),
    }
    name = html_one_line(facts["name"])
    lead = (
        f"<p>Network: {name} x{facts['scale']} (checkpoint {facts['checkpoint'][:12]}), for LR that comes from "
        f"{html_one_line(facts['degradation'])} downscaling.</p>"
        "<p>Nobody has seen the truth at this scale: sharp is not the same as right. "
        "<code>vsr upscale input=FILE</code> and <code>vsr evaluate</code> tell what the network is worth on a file.</p>"
    )
    texts = {
        "title": f"Sharpen fields{' and pictures' * pictures}, x{facts['scale']}",
        "lead": lead,
        "kinds": f".npy, NetCDF-4 or HDF5{', or a picture' if pictures else ''}",
        "known": json.dumps(known).replace("<", "\\u003c"),
        "parts": "\n".join(f'<script type="text/plain" id="{key}">{_packed(content)}</script>' for key, content in parts.items()),
    }
    template = TEMPLATE.read_text(encoding="utf-8").replace("{{style}}", STYLE)
    style, script = (re.findall(f"<{tag}>(.*?)</{tag}>", template, re.DOTALL)[-1] for tag in ("style", "script"))
    # blob: is code that the page itself unpacks; nothing may be requested from anywhere.
    texts["policy"] = (
        f"default-src 'none'; img-src data: blob:; style-src '{html_policy_hash(style)}'; "
        f"script-src '{html_policy_hash(script)}' blob: 'wasm-unsafe-eval'; base-uri 'none'; form-action 'none'"
    )
    return re.sub(r"\{\{(\w+)\}\}", lambda found: texts[found[1]], template)


def _packed(content: bytes) -> str:
    return base64.b64encode(gzip.compress(content, mtime=0)).decode()


def read_npm_packages(folder: Path | None = None) -> tuple[dict[str, bytes], str]:
    """Return what the page needs of `PACKAGES`, by its id, and the texts of their licences.

    Args:
        folder: Folder of the archives; None for the cache of vsr, which npm fills.

    Raises:
        UserError: If an archive is missing and npm cannot fetch it, or if it is not the expected one.
    """
    own = cache_folder() / "npm" if folder is None else folder
    missing = [package for package in PACKAGES if not (own / package.archive).is_file()]
    if missing and folder is not None:
        raise UserError(f"packages={folder}: there is no {missing[0].archive} in it; type there: {_npm_command(missing)}")
    if missing:
        _fetch(missing, own)
    parts: dict[str, bytes] = {}
    licences = []
    for package in PACKAGES:
        path = own / package.archive
        content = path.read_bytes()
        if base64.b64encode(hashlib.sha512(content).digest()).decode() != package.sha512:
            raise UserError(f"{path}: is not {package.name} {package.version} of npm, or damaged; remove it and try again")
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            parts |= {key: _member(archive, member) for key, member in package.members.items()}
            licence = _member(archive, LICENCE).decode() if LICENCE in archive.getnames() else MIT
        licences.append(f"{package.name} {package.version}\n\n{licence}")
    return parts, f"\n{'-' * 80}\n\n".join(licences)


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    found = archive.extractfile(name)
    assert found is not None
    return found.read()


def _npm_command(packages: list[NpmPackage]) -> str:
    return f"npm pack {' '.join(f'{package.name}@{package.version}' for package in packages)}"


def _fetch(packages: list[NpmPackage], folder: Path) -> None:
    """Fetch archives by npm into a folder."""
    command = _npm_command(packages)
    otherwise = f"type on a machine that has both: {command}, and give that folder as packages=FOLDER"
    if (npm := shutil.which("npm")) is None:
        raise UserError(f"format=web needs packages of npm, and npm is not there; install Node.js, or {otherwise}")
    log.info("npm       fetches %s to %s, once", " and ".join(package.archive for package in packages), folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            arguments = [npm, *command.split()[1:], "--ignore-scripts", "--prefer-offline"]
            done = subprocess.run(arguments, cwd=temporary, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
            if done.returncode:
                lines = [line for line in done.stderr.splitlines() if line.startswith(("npm error", "npm ERR!"))]
                detail = lines[0].removeprefix("npm error ").removeprefix("npm ERR! ") if lines else f"status {done.returncode}"
                raise UserError(f"npm cannot fetch the packages of format=web ({detail}); try again online, or {otherwise}")
            for package in packages:
                os.replace(Path(temporary) / package.archive, folder / package.archive)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror}); export VSR_CACHE=FOLDER of yours") from error
