"""Layers of a network that ONNX Runtime or OpenVINO computes instead of torch. Needs the extra `fast`."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vsr.data.cache import cache_path
from vsr.errors import UserError
from vsr.inference.export.formats import OPSET, onnx_file
from vsr.inference.export.function import INPUT, OUTPUT, ExportableLayers
from vsr.system.files import replacing_file
from vsr.version import __version__

SMALLEST = 8  # pixels per side that the exported layers must take; torch computes smaller frames
TOLERANCE = 1e-4  # of the standard deviation of the output, by which a runtime may differ from torch in single precision

log = logging.getLogger(__name__)


def runtime_version(runtime: str) -> str:
    """Return the version of "onnxruntime" or "openvino"."""
    return version(runtime)


class RuntimeLayers(nn.Module):
    """Layers of a network that a runtime computes, on the CPU; they take and give tensors of single precision.

    The layers are exported to ONNX when they are first called, and kept in the cache of vsr. Before they are used, the runtime is
    compared with torch.

    Args:
        layers: A module that maps frames (N, C, h, w) or clips (B, C, T, h, w) to frames or clips.
        runtime: "onnxruntime" or "openvino".
        precision: "fp32", or "bf16" for OpenVINO.
        scale: SR pixels per LR pixel of the network.
        reach: LR pixels on each side on which an SR pixel depends.
        context: LR frames on each side on which an SR frame depends.

    Raises:
        UserError: On the first call, if the layers cannot be exported, or if the runtime gives other values than torch.
    """

    def __init__(self, layers: nn.Module, runtime: str, precision: str, *, scale: int, reach: int, context: int) -> None:
        super().__init__()
        self.takes_skip = bool(getattr(layers, "takes_skip", False))
        self.layers, self.runtime, self.precision = layers, runtime, precision
        self.scale, self.reach, self.context = scale, reach, context
        self._run: Callable[[np.ndarray], np.ndarray] | None = None
        self._lock = threading.Lock()

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layers to frames (N, C, h, w) or clips (B, C, T, h, w)."""
        if min(x.shape[-2:]) < SMALLEST:
            return self.layers(x)
        if self._run is None:
            with self._lock:
                if self._run is None:
                    self._run = self._opened(x)
        return torch.from_numpy(self._run(x.contiguous().numpy()))

    def _opened(self, x: Tensor) -> Callable[[np.ndarray], np.ndarray]:
        """Open the layers in the runtime. Raises UserError if that fails, or if the runtime gives other values."""
        side = 2 * self.reach + SMALLEST
        frames = (2 * self.context + 2,) if x.ndim == 5 else ()
        noise = torch.rand(2, x.shape[1], *frames, side, side + 3, generator=torch.Generator().manual_seed(0)) - 0.5
        with torch.inference_mode():
            expected = self.layers(noise).numpy()
        path = cache_path(None, "layers", {"layers": self._digest(), "vsr": __version__, "torch": torch.__version__})
        path = path.with_suffix(".onnx")
        with suppress(OSError):
            content = path.read_bytes()
            with suppress(Exception):  # damaged, or of layers that have changed since: each runtime has its own errors
                if self._agrees(content, noise.numpy(), expected):
                    return _opened_file(self.runtime, self.precision, torch.get_num_threads(), content)
        content = self._exported(noise)
        if not self._agrees(content, noise.numpy(), expected):
            raise UserError(f"engine={self.runtime}: gives other values than torch for this network; type engine=torch")
        try:
            with replacing_file(path) as temporary:
                temporary.write_bytes(content)
        except OSError as error:
            log.debug("%s: not kept (%s)", path, error)
        return _opened_file(self.runtime, self.precision, torch.get_num_threads(), content)

    def _digest(self) -> str:
        """Return a checksum of what the layers are."""
        digest = hashlib.sha256(f"{self.layers!r} {self.scale} {OPSET}".encode())
        for name, tensor in self.layers.state_dict().items():
            digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def _exported(self, example: Tensor) -> bytes:
        """Return the layers as an ONNX file. Raises UserError for layers that ONNX cannot hold."""
        from torch.export import Dim

        axes = {axis: Dim.DYNAMIC for axis in range(example.ndim) if axis != 1}
        try:
            with torch.inference_mode(False), torch.no_grad():
                return onnx_file(ExportableLayers(self.layers, self.scale), example, axes, {"name": "layers"})
        except Exception as error:  # of the layers of a plugin, too
            why = (str(error.__cause__ or error).strip().splitlines() or [type(error).__name__])[0]
            raise UserError(f"engine={self.runtime}: the network cannot be exported ({why}); type engine=torch") from error

    def _agrees(self, content: bytes, noise: np.ndarray, expected: np.ndarray) -> bool:
        """Return True if the runtime gives the values of torch in single precision."""
        given = _opened_file(self.runtime, "fp32", torch.get_num_threads(), content)(noise)
        return given.shape == expected.shape and bool(np.abs(given - expected).max() <= TOLERANCE * (expected.std() + 1e-6))


@lru_cache(maxsize=8)  # upscalers of one network for movies of different ranges share its layers, and the memory of the runtime
def _opened_file(runtime: str, precision: str, threads: int, content: bytes) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function of an ONNX file, computed by a number of threads."""
    return _open_onnxruntime(content, threads) if runtime == "onnxruntime" else _open_openvino(content, precision, threads)


def _open_onnxruntime(content: bytes, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    # Threads that wait for work in a loop would take the cores from reading, writing and the sums in torch.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda x: session.run([OUTPUT], {INPUT: x})[0]


def _open_openvino(content: bytes, precision: str, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    import openvino

    core = openvino.Core()
    settings: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],  # without it, the CPU decides
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
    }
    compiled = core.compile_model(core.read_model(content), "CPU", settings)
    requests = threading.local()  # a request serves one thread at a time

    def run(x: np.ndarray) -> np.ndarray:
        if not hasattr(requests, "own"):
            requests.own = compiled.create_infer_request()
        return np.array(requests.own.infer([x], share_inputs=True, share_outputs=True)[0], np.float32)

    return run
