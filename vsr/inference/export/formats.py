"""Exporters of networks, one per file format: each returns the bytes of a file and a function that runs the file."""

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
from torch import Tensor, nn

from vsr.errors import UserError
from vsr.inference.export import Format
from vsr.inference.export.function import INPUT, OUTPUT, ExportableNetwork, InputAxes
from vsr.inference.trained import Trained
from vsr.models.normalize import Normalizer, frame_bounds
from vsr.models.super_resolver import SuperResolver
from vsr.models.weights.shipped import BESIDE, SHA256, TRAINED, tensors_sha256

OPSET = 18  # of ONNX, 2022: the first with all operations of the networks here; every runtime knows it


@dataclass(frozen=True, eq=False)
class ExportedFile:
    """An exported file: its bytes, a function LR -> SR that was read back from these bytes, and a description to print."""

    content: bytes
    run: Callable[[Tensor], Tensor]
    note: str


@dataclass(frozen=True, eq=False)
class ExportTask:
    """An export to do: the checkpoint, its network with the normalizer, the input sizes, and the metadata for the file."""

    trained: Trained
    module: SuperResolver
    axes: InputAxes
    facts: Mapping[str, str]


def export_onnx(task: ExportTask) -> ExportedFile:
    """Export to ONNX with torch.export; ONNX Runtime runs the file. Raises UserError for operations that ONNX lacks."""
    require_packages("onnx", "onnxscript", "onnxruntime")
    import onnxruntime
    from torch.export import Dim

    axes = {axis: Dim(name, min=least) for axis, (name, least) in task.axes.dynamic.items()}
    try:
        content = onnx_file(ExportableNetwork(task.module), torch.zeros(task.axes.example), axes, task.facts)
    except torch.onnx.OnnxExporterError as error:
        raise _not_exportable("onnx", task, error) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = torch.get_num_threads(), 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def run(lr: Tensor) -> Tensor:
        return torch.from_numpy(session.run([OUTPUT], {INPUT: lr.numpy()})[0])

    return ExportedFile(content, run, f"ONNX, opset {OPSET}")


def onnx_file(module: nn.Module, example: Tensor, axes: Mapping[int, Any], facts: Mapping[str, str]) -> bytes:
    """Export a module of operations that exporters know to an ONNX file.

    Args:
        module: Maps INPUT to OUTPUT.
        example: An input, whose values do not matter. Its batch must not be one, because that would be fixed in the file.
        axes: The free axes of the input, as `torch.export.Dim`.
        facts: Metadata of the file; "name" is the name of its graph.

    Raises:
        torch.onnx.OnnxExporterError: If ONNX lacks an operation of the module.
    """
    with _silence_exporters():
        program = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            dynamic_shapes=(dict(axes),),
            input_names=[INPUT],
            output_names=[OUTPUT],
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None
    return _serialize(program.model_proto, facts)


def _serialize(model: Any, facts: Mapping[str, str]) -> bytes:
    """Serialize an ONNX model with `facts` as metadata, without the exporter's metadata, which hold paths of source files."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    for key, value in facts.items():
        model.metadata_props.add(key=key, value=value)
    graph.name = facts["name"]
    return model.SerializeToString()


def export_torchscript(task: ExportTask) -> ExportedFile:
    """Export to TorchScript by tracing; torch.jit runs the file. Raises UserError if the network cannot be traced."""
    metadata, buffer = {"vsr.json": json.dumps(dict(task.facts))}, io.BytesIO()
    with _silence_exporters():
        try:
            traced = torch.jit.trace(ExportableNetwork(task.module), torch.zeros(task.axes.example), check_trace=False)
        except (RuntimeError, TypeError, ValueError) as error:
            raise _not_exportable("torchscript", task, error) from error
        torch.jit.save(traced, buffer, _extra_files=metadata)
        content = _remove_source_paths(buffer.getvalue())
        run = torch.jit.load(io.BytesIO(content))
    return ExportedFile(content, run, "TorchScript")


def _remove_source_paths(archive: bytes) -> bytes:
    """Remove the debug tables of a TorchScript archive, which hold the source path of every line of code."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(buffer, "w") as new:
        for entry in old.infolist():
            if not entry.filename.endswith(".debug_pkl"):
                new.writestr(zipfile.ZipInfo(entry.filename), old.read(entry))
    return buffer.getvalue()


def export_safetensors(task: ExportTask) -> ExportedFile:
    """Export the tensors of the network, with the description of the checkpoint, so that the file is a checkpoint, too.

    Raises UserError if there are no weights.
    """
    require_packages("safetensors")
    from safetensors.torch import load, save

    tensors = {name: tensor.contiguous() for name, tensor in task.module.network.state_dict().items()}
    if not tensors:
        raise UserError(f"format=safetensors: {task.facts['name']} has no weights to write; type format=onnx")
    beside = {name: tensor.contiguous() for name, tensor in task.trained.state.items() if name.startswith(BESIDE)}
    facts = {**task.facts, TRAINED: json.dumps(task.trained.description)}
    checksum = tensors_sha256(save(tensors | beside, metadata=facts))
    content = sort_header(save(tensors | beside, metadata={**facts, SHA256: checksum}))
    network = task.trained.module().network
    for parameter in network.parameters():
        parameter.detach().zero_()
    network.load_state_dict({name: tensor for name, tensor in load(content).items() if not name.startswith(BESIDE)})
    normalizer = Normalizer(*frame_bounds(json.loads(task.facts["bounds"]), json.loads(task.facts["offset"])))

    def run(lr: Tensor) -> Tensor:
        return normalizer.inverse(network(normalizer(lr)))

    count = sum(tensor.numel() for tensor in tensors.values())
    return ExportedFile(content, run, f"safetensors, {len(tensors)} tensors with {count:,} numbers")


def sort_header(content: bytes) -> bytes:
    """Sort the header of a safetensors file, because its writer changes the order. Offsets count from the end of the header."""
    size = int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8 : 8 + size]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content[8 + size :]


EXPORTERS: dict[Format, Callable[[ExportTask], ExportedFile]] = {
    "onnx": export_onnx,
    "safetensors": export_safetensors,
    "torchscript": export_torchscript,
}


def require_packages(*packages: str) -> None:
    """Raise UserError if one of the packages cannot be imported."""
    for package in packages:
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise UserError(f"this format needs the package {package}; type: pip install 'vsr-movies[export]'") from error


def _not_exportable(format_: str, task: ExportTask, error: Exception) -> UserError:
    network = type(getattr(task.module.network, "network", task.module.network)).__name__
    lines = [line.strip() for line in str(error.__cause__ or error).splitlines() if line.strip()]
    return UserError(f"format={format_}: {network} cannot be exported ({(lines or [type(error).__name__])[0]})")


@contextmanager
def _silence_exporters() -> Iterator[None]:
    """Hide what the exporters say of their steps, of missing torchvision and of the deprecation of torch.jit."""
    exporters = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [exporter.level for exporter in exporters]
    for exporter in exporters:
        exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"`torch\.jit\.\w+` is deprecated", DeprecationWarning)
            warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)
            yield
    finally:
        for exporter, level in zip(exporters, levels, strict=True):
            exporter.setLevel(level)
