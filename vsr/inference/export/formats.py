"""A function as the bytes of a file, and these bytes as a function again, for each format."""

from __future__ import annotations

import importlib
import io
import json
import logging
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vsr.errors import UserError
from vsr.inference.export import Format
from vsr.inference.export.function import INPUT, OUTPUT, Axes, Function
from vsr.inference.trained import Trained
from vsr.models.normalize import Normalizer
from vsr.training.modules.base import SRModule

OPSET = 18  # of ONNX, 2022: the first with all that is needed here, and known to every runtime


@dataclass(frozen=True, eq=False)
class Made:
    """A file's content. run: what it computes, read back from `content`. note: more about it, for people."""

    content: bytes
    run: Callable[[Tensor], Tensor]
    note: str


@dataclass(frozen=True, eq=False)
class Task:
    """What is to be exported: a checkpoint, its network, its input's sizes, and what the file will say of itself."""

    trained: Trained
    module: SRModule
    axes: Axes
    facts: Mapping[str, str]


def onnx(task: Task) -> Made:
    """ONNX, by torch.export; run by ONNX Runtime. Raises UserError for a network with operations that ONNX does not have."""
    needs("onnx", "onnxscript", "onnxruntime")
    import onnxruntime
    from torch.export import Dim

    shapes = {INPUT: {axis: Dim(name, min=least) for axis, (name, least) in task.axes.dynamic.items()}}
    with _silent():
        try:
            program = torch.onnx.export(
                Function(task.module),
                (torch.zeros(task.axes.example),),
                dynamo=True,
                dynamic_shapes=shapes,
                input_names=[INPUT],
                output_names=[OUTPUT],
                opset_version=OPSET,
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            raise _unknown("onnx", task, error) from error
    assert program is not None
    content = _stated(program.model_proto, task.facts)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = torch.get_num_threads(), 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def run(lr: Tensor) -> Tensor:
        return torch.from_numpy(session.run([OUTPUT], {INPUT: lr.numpy()})[0])

    return Made(content, run, f"ONNX, opset {OPSET}")


def _stated(model: Any, facts: Mapping[str, str]) -> bytes:
    """The model with `facts` for its metadata, and without the exporter's, which has the paths of source files in it."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    for key, value in facts.items():
        model.metadata_props.add(key=key, value=value)
    graph.name = facts["name"]
    return model.SerializeToString()


def torchscript(task: Task) -> Made:
    """TorchScript, by tracing; run by torch.jit. Raises UserError for a network that cannot be traced."""
    kept, buffer = {"vsr.json": json.dumps(dict(task.facts))}, io.BytesIO()
    with _silent():
        try:
            traced = torch.jit.trace(Function(task.module), torch.zeros(task.axes.example), check_trace=False)
        except (RuntimeError, TypeError, ValueError) as error:
            raise _unknown("torchscript", task, error) from error
        torch.jit.save(traced, buffer, _extra_files=kept)
        content = _without_sources(buffer.getvalue())
        run = torch.jit.load(io.BytesIO(content))
    return Made(content, run, "TorchScript")


def _without_sources(archive: bytes) -> bytes:
    """The archive without the tables that name the source file of every line of its code, paths of this machine included."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(buffer, "w") as new:
        for entry in old.infolist():
            if not entry.filename.endswith(".debug_pkl"):
                new.writestr(zipfile.ZipInfo(entry.filename), old.read(entry))
    return buffer.getvalue()


def safetensors(task: Task) -> Made:
    """The weights alone, under the names of the network's state dict; put back into a network of the same config to be run.

    Raises UserError for a network that has no weights.
    """
    needs("safetensors")
    from safetensors.torch import load, save

    tensors = {name: tensor.contiguous() for name, tensor in task.module.network.state_dict().items()}
    if not tensors:
        raise UserError(f"format=safetensors: {task.facts['name']} has no weights to write; type format=onnx")
    content = save(tensors, metadata=dict(task.facts))
    network = task.trained.module().network
    for parameter in network.parameters():
        parameter.detach().zero_()
    network.load_state_dict(load(content))
    normalizer = Normalizer(*json.loads(task.facts["bounds"]))

    def run(lr: Tensor) -> Tensor:
        return normalizer.inverse(network(normalizer(lr)))

    return Made(content, run, f"safetensors, {len(tensors)} tensors with {sum(t.numel() for t in tensors.values()):,} numbers")


MAKERS: dict[Format, Callable[[Task], Made]] = {"onnx": onnx, "safetensors": safetensors, "torchscript": torchscript}


def needs(*packages: str) -> None:
    """Raise UserError when one of these cannot be imported."""
    for package in packages:
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise UserError(f"this format needs the package {package}; type: pip install 'vsr[export]'") from error


def _unknown(format_: str, task: Task, error: Exception) -> UserError:
    network = type(getattr(task.module.network, "network", task.module.network)).__name__
    lines = [line.strip() for line in str(error.__cause__ or error).splitlines() if line.strip()]
    return UserError(f"format={format_}: {network} cannot be exported ({(lines or [type(error).__name__])[0]})")


@contextmanager
def _silent() -> Iterator[None]:
    """Without what exporters say of themselves: torchvision that is not there, and that torch.jit will be gone one day."""
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"`torch\.jit\.\w+` is deprecated", DeprecationWarning)
            warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)
            yield
    finally:
        exporter.setLevel(level)
