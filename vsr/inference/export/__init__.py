"""Export of trained networks to files for other programs: `vsr export checkpoint=FILE format=onnx`."""

from typing import Literal, get_args

Format = Literal["onnx", "safetensors", "torchscript"]
FORMATS: tuple[Format, ...] = get_args(Format)
