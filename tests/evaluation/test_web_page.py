"""The page of `vsr export format=web`: its function against torch, its refusals, and the page itself in Chromium."""

from __future__ import annotations

import base64
import fcntl
import functools
import gzip
import http.server
import io
import json
import os
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

import vsr
from tests.fakes import upscale_here
from tests.inference.export.test_export import saved
from tests.processes import end_process, start_process, wait_until
from vsr.__main__ import main
from vsr.errors import UserError
from vsr.evaluation import web_page
from vsr.evaluation.web_page import PACKAGES, export_web_page, read_npm_packages

pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def field(*shape: int, seed: int = 0) -> np.ndarray:
    """Smooth noise in kelvin, float64."""
    noise = np.random.default_rng(seed).standard_normal(shape)
    for axis in (-2, -1):
        noise = noise + np.roll(noise, 1, axis) + np.roll(noise, 2, axis)
    return 280 + 3 * noise


def picture(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8).repeat(4, 0).repeat(4, 1)


@pytest.fixture
def without_npm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages get short texts in place of the packages of npm."""
    ids = [key for package in PACKAGES for key in package.members]
    monkeypatch.setattr(web_page, "read_npm_packages", lambda folder: ({key: b"code" for key in ids}, "licences"))


def part_of(page: Path, key: str) -> bytes:
    [text] = re.findall(f'<script type="text/plain" id="{key}">([^<]*)</script>', page.read_text(encoding="utf-8"))
    return gzip.decompress(base64.b64decode(text))


@pytest.mark.parametrize("name", [pytest.param("field_x2", marks=pytest.mark.long), "film_x2"])
@pytest.mark.usefixtures("without_npm")
def test_its_functions_give_what_upscale_gives(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    main(["export", f"checkpoint=pretrained:{name}", "format=web"])
    said = capsys.readouterr().out
    assert re.search(r"compared  with vsr\.load at 2x2, .*: differs by \d\.\de-0[67] of the range at most", said)
    page, network = tmp_path / f"{name}.web" / "index.html", vsr.load(f"pretrained:{name}", device="cpu")
    plane, colour = (onnxruntime.InferenceSession(part_of(page, key)) for key in ("plane", "colour"))
    of_any_unit = name == "field_x2"
    for height, width in ((2, 3), (31, 46)):
        lr = field(height, width)
        for frame in (lr, 1e6 + 1e-3 * lr) if of_any_unit else (lr - 150,):
            bicubic, sharpened = plane.run(None, {"lr": frame[..., None]})[0][..., 0]
            expected = network.upscale(frame)
            spread = np.ptp(frame) if of_any_unit else 255
            assert np.abs(sharpened - expected).max() < 1e-5 * spread
            assert np.abs(bicubic.mean() - frame.mean()) < 0.02 * spread
    Image.fromarray(picture(6, 8, 3)).save(tmp_path / "a.png")
    upscale_here([f"input={tmp_path}/a.png", f"checkpoint=pretrained:{name}", f"output={tmp_path}/b.png"])
    given = np.asarray(Image.open(tmp_path / "a.png")).astype(np.float64)
    codes = np.rint(colour.run(None, {"lr": given})[0][1]).clip(0, 255)
    differ = np.abs(codes - np.asarray(Image.open(tmp_path / "b.png")).astype(np.float64))
    assert differ.max() <= 1
    assert (differ > 0).mean() < 1e-3


@pytest.mark.usefixtures("without_npm")
def test_a_network_of_one_unit_takes_no_pictures(tmp_path: Path) -> None:
    """It mirrors its border, so that small frames are refused; its range and unit stand in the page."""
    checkpoint = saved(tmp_path / "best.ckpt", "linear", offset=300.0)
    lines = export_web_page(checkpoint, tmp_path / "page")
    page, network = tmp_path / "page" / "index.html", vsr.load(checkpoint, device="cpu")
    known = json.loads(re.findall(r'id="known">(.*?)</script>', page.read_text(encoding="utf-8"))[0])
    assert (known["bounds"], known["units"], known["pictures"], known["least"]) == ([298.0, 303.0], "m", False, 4)
    assert "at 4x4, " in "\n".join(lines)
    session, lr = onnxruntime.InferenceSession(part_of(page, "plane")), 300 + np.random.default_rng(0).random((9, 24))
    expected = network.upscale(lr)
    assert np.abs(session.run(None, {"lr": lr[..., None]})[0][1, ..., 0] - expected).max() < 1e-4 * 5


@pytest.mark.usefixtures("without_npm")
def test_it_loads_nothing_and_allows_its_own_script_alone(tmp_path: Path) -> None:
    export_web_page(saved(tmp_path / "best.ckpt", "bilinear"), tmp_path / "page")
    page = (tmp_path / "page" / "index.html").read_text(encoding="utf-8")
    assert "default-src 'none'; " in page
    assert not re.search(r"https?:|<link(?! rel=\"icon\" href=\"data:)| src=|innerHTML|eval\(|\{\{", page)
    assert sorted(path.name for path in (tmp_path / "page").iterdir()) == ["LICENSES.txt", "index.html"]
    with pytest.raises(UserError, match=r"index\.html: exists; type overwrite=true"):
        export_web_page(tmp_path / "best.ckpt", tmp_path / "page")
    with pytest.raises(UserError, match=r"best\.ckpt: is a file; type output=FOLDER"):
        export_web_page(tmp_path / "best.ckpt", tmp_path / "best.ckpt")


@pytest.mark.parametrize(
    ("model", "channels", "more", "said"),
    [
        ("srnet3d", 1, [], "sees several frames at once; format=web is for networks of single frames of one variable; type f"),
        ("bilinear", 3, [], "has 3 channels; format=web is for networks of single frames of one variable; type format=onnx"),
        ("fsrcnn_s", 1, ["consistency=projection"], "makes its frames agree with LR by consistency=projection, which format=web"),
        ("resnet", 1, ["members=4"], "is an ensemble, whose members a page cannot draw; use vsr upscale or vsr.load"),
    ],
)
@pytest.mark.usefixtures("without_npm")
def test_what_a_page_cannot_hold_is_refused(model: str, channels: int, more: list[str], said: str, tmp_path: Path) -> None:
    checkpoint = saved(tmp_path / "best.ckpt", model, 2, channels, *more)
    with pytest.raises(UserError, match=re.escape(f"{checkpoint}: {said}")):
        export_web_page(checkpoint, tmp_path / "page")
    assert not (tmp_path / "page").exists()


@pytest.mark.usefixtures("without_npm")
def test_a_page_that_computes_something_else_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = web_page.PageFunction.forward
    monkeypatch.setattr(web_page.PageFunction, "forward", lambda self, lr: exact(self, lr) * 1.001)
    with pytest.raises(UserError, match=r"the page would differ from vsr\.load by \d"):
        export_web_page(saved(tmp_path / "best.ckpt", "bilinear"), tmp_path / "page")
    assert not (tmp_path / "page").exists()


def test_without_npm_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = " ".join(f"{package.name}@{package.version}" for package in PACKAGES)
    monkeypatch.setenv("VSR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    otherwise = f"type on a machine that has both: npm pack {command}, and give that folder as packages=FOLDER"
    with pytest.raises(UserError, match=re.escape(f"and npm is not there; install Node.js, or {otherwise}")):
        read_npm_packages()
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho 'npm error code ENOTFOUND\nnpm error network request failed' >&2\nexit 1\n")
    npm.chmod(0o755)
    with pytest.raises(UserError, match=re.escape(f"(code ENOTFOUND); try again online, or {otherwise}")):
        read_npm_packages()
    assert list((tmp_path / "cache" / "npm").iterdir()) == []
    with pytest.raises(UserError, match=re.escape(f"there is no {PACKAGES[0].archive} in it; type there: npm pack {command}")):
        read_npm_packages(tmp_path)
    for package in PACKAGES:
        (tmp_path / package.archive).write_bytes(b"another")
    wrong = f"{PACKAGES[0].archive}: is not onnxruntime-web {PACKAGES[0].version} of npm, or damaged"
    with pytest.raises(UserError, match=re.escape(wrong)):
        read_npm_packages(tmp_path)


class Browser:
    """Headless Chromium with one page, driven by the DevTools protocol over two pipes.

    Attributes:
        requested: Addresses that the page asked for.
        complaints: What stands on the console, and errors that nothing caught.
    """

    def __init__(self, folder: Path) -> None:
        (theirs_in, self.outgoing), (self.incoming, theirs_out) = os.pipe(), os.pipe()
        high = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (theirs_in, theirs_out)]
        flags = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            f"--user-data-dir={folder}/profile",
        ]
        # Chromium reads commands from 3 and writes answers to 4.
        shell = ["bash", "-c", f'exec "$0" "$@" 3<&{high[0]} 4>&{high[1]}', str(CHROMIUM)]
        quiet = (folder / "chromium.txt").open("w")
        command = [*shell, *flags, "--remote-debugging-pipe", "about:blank"]
        self.process = start_process(command, pass_fds=high, stdin=-3, stdout=quiet, stderr=quiet)
        for end in (theirs_in, theirs_out, *high):
            os.close(end)
        self.held, self.number, self.session = b"", 0, ""
        self.requested: list[str] = []
        self.complaints: list[str] = []
        self.saved = folder / "saved"
        [page] = [each for each in self.call("Target.getTargets")["targetInfos"] if each["type"] == "page"]
        self.session = self.call("Target.attachToTarget", targetId=page["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log", "DOM"):
            self.call(f"{domain}.enable")
        self.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(self.saved))

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session and not method.startswith("Browser."):
            message["sessionId"] = self.session
        os.write(self.outgoing, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return answer["result"]
            self._note(answer)

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self.held:
            more = os.read(self.incoming, 1 << 20)
            assert more, "Chromium has ended"
            self.held += more
        message, _, self.held = self.held.partition(b"\0")
        return json.loads(message)

    def _note(self, event: dict[str, Any]) -> None:
        method, said = event.get("method"), event.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requested.append(said["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(said["exceptionDetails"]["exception"].get("description", "exception"))
        elif method == "Runtime.consoleAPICalled":
            self.complaints.append(str(said["args"]))
        elif method == "Log.entryAdded":
            self.complaints.append(said["entry"]["text"])

    def value(self, expression: str) -> Any:
        """Evaluate a JavaScript expression in the page."""
        how = {"returnByValue": True, "awaitPromise": True, "userGesture": True, "allowUnsafeEvalBlockedByCSP": False}
        done = self.call("Runtime.evaluate", expression=expression, **how)
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    def open(self, address: str) -> None:
        self.call("Page.navigate", url=address)
        wait_until(
            lambda: self.value("document.readyState === 'complete' && Boolean(document.getElementById('file'))"),
            process=self.process,
        )

    def give(self, file: Path) -> str:
        """Choose a file, as a user does, and return the line about the result, or the line about what is wrong."""
        node = self.call("DOM.querySelector", nodeId=self.call("DOM.getDocument")["root"]["nodeId"], selector="#file")["nodeId"]
        self.forget()
        self.call("DOM.setFileInputFiles", files=[str(file)], nodeId=node)
        return self.shown()

    def set(self, choice: str, value: Any) -> str:
        """Choose a frame or a variable, and return the line that the page shows then."""
        self.forget()
        self.value(f"at('{choice}').value = {json.dumps(value)}, at('{choice}').dispatchEvent(new Event('change')), 0")
        return self.shown()

    def forget(self) -> None:
        self.value("['facts', 'problem'].forEach(id => { at(id).textContent = ''; })")

    def shown(self) -> str:
        """Return the line about the result, or the line about what is wrong, as soon as there is one after `forget`."""
        text = "(at('result').hidden ? at('problem') : at('facts')).textContent"
        return wait_until(lambda: self.value(f"at('state').hidden ? {text} : ''"), process=self.process)

    def save(self, link: str) -> bytes:
        """Click on a link that saves the result, and return the content of the file."""
        wait_until(lambda: self.value(f"at('{link}').href !== ''"), process=self.process)
        path = self.saved / self.value(f"at('{link}').download")
        path.unlink(missing_ok=True)
        self.value(f"at('{link}').click()")
        wait_until(
            lambda: path.is_file() and path.stat().st_size > 0 and not list(self.saved.glob("*.crdownload")), process=self.process
        )
        content = path.read_bytes()
        path.unlink()
        return content

    def result(self) -> np.ndarray:
        return np.load(io.BytesIO(self.save("npy")))

    def end(self) -> None:
        end_process(self.process)
        os.close(self.incoming)
        os.close(self.outgoing)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of field_x2, with its packages of npm."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium")
    folder = tmp_path_factory.mktemp("page")
    try:
        read_npm_packages()
    except UserError as error:
        if "npm is not there" in str(error) or "npm cannot fetch" in str(error):
            pytest.skip(str(error))
        raise
    main(["export", "checkpoint=pretrained:field_x2", "format=web", f"output={folder}"])
    return folder / "index.html"


@pytest.fixture
def browser(page: Path, tmp_path: Path) -> Iterator[Browser]:
    browser = Browser(tmp_path)
    browser.open(page.as_uri())
    yield browser
    browser.end()


class Requests(http.server.SimpleHTTPRequestHandler):
    """Handler that keeps the paths of all requests."""

    seen: list[str]

    def log_message(self, format: str, *args: Any) -> None:
        self.seen.append(self.path)


def differs(found: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest difference as a part of the range; infinity if NaN is elsewhere."""
    if found.shape != expected.shape or not np.array_equal(np.isnan(found), np.isnan(expected)):
        return np.inf
    return float(np.nanmax(np.abs(found - expected)) / (np.nanmax(expected) - np.nanmin(expected)))


def write_netcdf(path: Path, packed: np.ndarray) -> None:
    """Write a packed variable (time, lat, lon) with its coordinates, and one that is named to be code."""
    with h5py.File(path, "w") as file:
        for name, values in {"time": np.arange(3.0), "lat": np.linspace(-70, 70, 20), "lon": np.arange(30.0)}.items():
            file[name] = values
            file[name].make_scale(name)
        file["t2m"], file["t2m"].attrs["units"] = packed, "K"
        file["t2m"].attrs.update({"scale_factor": np.float32(0.01), "add_offset": 270.0, "_FillValue": np.int16(-32768)})
        for axis, name in enumerate(("time", "lat", "lon")):
            file["t2m"].dims[axis].attach_scale(file[name])
        file["<img src=x onerror=alert(1)>"] = field(20, 30).astype(">f4")
        file["turned"] = np.zeros((20, 30, 5))
        file["lev"] = np.arange(5.0)
        file["lev"].make_scale("lev")
        file["turned"].dims[2].attach_scale(file["lev"])


@pytest.mark.timeout(1800)
def test_the_folder_is_small(page: Path) -> None:
    assert sum(path.stat().st_size for path in page.parent.iterdir()) < 12e6
    assert "Hierarchical Data Format" in (page.parent / "LICENSES.txt").read_text(encoding="utf-8")


@pytest.mark.timeout(1800)
def test_chromium_gives_what_torch_gives(browser: Browser, tmp_path: Path) -> None:
    network, movie = vsr.load("pretrained:field_x2", device="cpu"), field(3, 26, 41).astype(np.float32)
    np.save(tmp_path / "small.npy", movie)
    assert browser.give(tmp_path / "small.npy").startswith("small.npy: 26 x 41 to 52 x 82 pixels in ")
    assert differs(browser.result(), network.upscale(movie)[0]) < 1e-4
    browser.set("frame", 2)
    assert differs(browser.result(), network.upscale(movie)[2]) < 1e-4
    gaps = 1e5 + field(40, 33)  # land, and single pixels with several neighbours at one distance
    gaps[5:20, 8:30] = gaps[30:, :4] = gaps[np.random.default_rng(2).random(gaps.shape) < 0.1] = np.nan
    np.save(tmp_path / "gaps.npy", gaps)
    browser.give(tmp_path / "gaps.npy")
    assert differs(browser.result(), network.upscale(gaps)) < 1e-4
    packed = np.rint((field(3, 20, 30) - 270) / 0.01).astype(np.int16)
    packed[:, 3:6, 4:9] = -32768
    write_netcdf(tmp_path / "a.nc", packed)
    browser.give(tmp_path / "a.nc")
    browser.set("variable", "t2m")
    decoded = np.where(packed == -32768, np.nan, packed * np.float64(np.float32(0.01)) + 270)
    assert differs(browser.result(), network.upscale(decoded[0])) < 1e-4
    assert browser.value("at('what').textContent") == "t2m (K)"
    browser.set("variable", "<img src=x onerror=alert(1)>")
    assert differs(browser.result(), network.upscale(field(20, 30).astype(np.float32))) < 1e-4
    assert "its last two dimensions are no rows and columns" in browser.set("variable", "turned")
    for name, codes in {"grey": picture(5, 7), "colour": picture(5, 7, 3)}.items():
        Image.fromarray(codes).save(tmp_path / f"{name}.png")
        upscale_here([f"input={tmp_path}/{name}.png", "checkpoint=pretrained:field_x2", f"output={tmp_path}/{name}_x2.png"])
        browser.give(tmp_path / f"{name}.png")
        expected = np.asarray(Image.open(tmp_path / f"{name}_x2.png")).astype(np.float64)
        assert np.abs(browser.result().clip(0, 255) - expected).max() < 0.5 + 1e-4 * 255
        shown = np.asarray(Image.open(io.BytesIO(browser.save("png"))).convert("RGB")).astype(np.float64)
        assert (np.abs(shown - expected.reshape(40, 56, -1)) > 0).mean() < 1e-3
    assert browser.complaints == []
    assert {address.partition(":")[0] for address in browser.requested} == {"file", "blob"}


@pytest.mark.timeout(1800)
def test_large_frames_are_computed_in_parts(page: Path, browser: Browser, tmp_path: Path) -> None:
    """With tiles of 16 pixels, and a network that sees 44 pixels to each side."""
    browser.value("known.tile = 16, 0")
    lr = field(70, 130)
    np.save(tmp_path / "large.npy", lr)
    browser.give(tmp_path / "large.npy")
    assert differs(browser.result(), vsr.load("pretrained:field_x2", device="cpu").upscale(lr)) < 1e-4
    assert browser.complaints == []


@pytest.mark.timeout(1800)
def test_mistakes_are_one_line_in_the_page(browser: Browser, tmp_path: Path) -> None:
    good = tmp_path / "good.npy"
    np.save(good, field(20, 30))
    write_netcdf(tmp_path / "good.nc", np.zeros((3, 20, 30), np.int16))
    wrong = {
        "cut.npy": (good.read_bytes()[:-8], "is damaged: it has another size than its header says"),
        "cut.nc": ((tmp_path / "good.nc").read_bytes()[:4000], "is damaged, or no file of NetCDF or HDF5"),
        "old.nc": (
            b"CDF\x01" + bytes(40),
            "is a NetCDF file of the classic format, which the page does not read; type nccopy",
        ),
        "text.png": (b"no picture", "is no picture that this browser reads, or damaged"),
        "empty.npy": (b"", "is no picture that this browser reads, or damaged"),
    }
    for shape, said in {
        (1, 9): "has 1 x 9 pixels; this network needs 2 or more per side",
        (9,): "has the shape (9); the page takes (height, width) and (frames, height, width)",
        (2, 2, 9, 9): "has the shape (2, 2, 9, 9); the page takes",
    }.items():
        np.save(tmp_path / "array.npy", np.zeros(shape))
        wrong[f"{len(shape)}.npy"] = ((tmp_path / "array.npy").read_bytes(), said)
    np.save(tmp_path / "array.npy", np.zeros((9, 9), complex))
    wrong["complex.npy"] = ((tmp_path / "array.npy").read_bytes(), "holds no plain real numbers; save them with numpy.save(")
    for name, (content, said) in wrong.items():
        (tmp_path / name).write_bytes(content)
        assert browser.give(tmp_path / name).startswith(f"{name}: {said}")
    dropped = "const given = new DataTransfer(); given.items.add(new File(['x'], 'dropped.txt'))"
    browser.forget()
    browser.value(f"{{ {dropped}; document.dispatchEvent(new DragEvent('drop', {{dataTransfer: given}})); }}")
    assert browser.shown() == "dropped.txt: is no picture that this browser reads, or damaged"
    assert browser.give(good).startswith("good.npy: 20 x 30 to 40 x 60")
    assert browser.value("at('problem').hidden")
    assert browser.complaints == []


@pytest.mark.timeout(1800)
def test_a_served_page_asks_for_itself_alone(page: Path, browser: Browser, tmp_path: Path) -> None:
    Requests.seen = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Requests, directory=str(page.parent)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        place = f"http://127.0.0.1:{server.server_port}"
        browser.open(f"{place}/index.html")
        np.save(tmp_path / "a.npy", field(20, 30))
        browser.give(tmp_path / "a.npy")
        assert browser.complaints == []
        # What the page does not do, its policy forbids.
        assert browser.value(f"fetch('{place}/fetched').then(() => 'sent', () => 'refused')") == "refused"
        browser.value(f"new Promise(done => {{ const image = new Image(); image.onerror = done; image.src = '{place}/image'; }})")
        with pytest.raises(AssertionError, match="EvalError"):
            browser.value("eval('1')")
        assert Requests.seen == ["/index.html"]
    finally:
        server.shutdown()
        server.server_close()
