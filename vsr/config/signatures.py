"""Read the constructor parameters of classes from source, so that configs are checked before torch is imported.

The annotations int, float, str, bool, None, Literal, unions, tuple, list and dict are understood; any other annotation accepts
every value.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from vsr.config import PACKAGE
from vsr.config.plugins import find_plugin_source, is_open_module
from vsr.errors import UserError


@dataclass(frozen=True)
class Parameter:
    """Constructor parameter of a class, as its source declares it."""

    name: str
    annotation: ast.expr | None
    required: bool
    module: str

    def accepts(self, value: Any) -> bool:
        """Return True if a plain value, as read from YAML, fits the annotation."""
        return self.annotation is None or _accepts(self.annotation, value, self.module)

    @property
    def text(self) -> str:
        """Text of the annotation, with aliases of Literals written out."""
        return "anything" if self.annotation is None else _text(self.annotation, self.module)


@cache
def signature_parameters(target: str) -> dict[str, Parameter] | None:
    """Return the constructor parameters of the class `target` (package.module.Class) by name; None if the class does not exist.

    A constructor that ends in `**shared` hands further arguments to its base class, so the base class's parameters count too.
    """
    module, _, name = target.rpartition(".")
    for node in _source(module):
        if isinstance(node, ast.ClassDef) and node.name == name:
            for item in node.body:
                if isinstance(item, ast.FunctionDef) and item.name == "__init__":
                    own = _of_function(item, module)
                    return _of_base(node, module) | own if item.args.kwarg else own
            fields = [item for item in node.body if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)]
            if any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
                return {f.target.id: Parameter(f.target.id, f.annotation, f.value is None, module) for f in fields}  # type: ignore[union-attr]
            return _of_base(node, module) if node.bases else {}
    # A plugin may import its classes into its package; vsr's own are named where they are defined.
    return None if module.split(".")[0] == PACKAGE.name else _of_import(name, module)


def _of_import(name: str, module: str) -> dict[str, Parameter] | None:
    """Return the constructor parameters of a class that `module` imports as `name`; None if it does not."""
    for node in _source(module):
        if isinstance(node, ast.ImportFrom) and (original := _imported(node, name)) is not None:
            return signature_parameters(f"{_absolute(node, module)}.{original}")
    return None


def _imported(node: ast.ImportFrom, name: str) -> str | None:
    """Return the original name of what a statement imports as `name`; None for another statement."""
    return next((alias.name for alias in node.names if (alias.asname or alias.name) == name), None)


def _absolute(node: ast.ImportFrom, module: str) -> str:
    """Return the full name of the module that a statement in `module` imports from."""
    if not node.level:
        return node.module or ""
    path = find_plugin_source(module)
    up = node.level - (path is not None and path.name == "__init__.py")
    package = module.split(".")[: len(module.split(".")) - up]
    return ".".join([*package, *([node.module] if node.module else [])])


def _of_base(node: ast.ClassDef, module: str) -> dict[str, Parameter]:
    """Return the constructor parameters of the first base class of a class; `module` defines or imports that base class."""
    base = ast.unparse(node.bases[0])
    found = None if base == node.name else signature_parameters(f"{module}.{base}")
    return found or _of_import(base, module) or {}


def _of_function(function: ast.FunctionDef, module: str) -> dict[str, Parameter]:
    arguments = function.args
    positional = arguments.args[1:]
    required = len(positional) - len(arguments.defaults)
    found = {a.arg: Parameter(a.arg, a.annotation, i < required, module) for i, a in enumerate(positional)}
    for a, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        found[a.arg] = Parameter(a.arg, a.annotation, default is None, module)
    return found


def _source(module: str) -> list[ast.stmt]:
    """Return the top-level statements of a module of vsr or of an open plugin; empty for any other module."""
    path = find_plugin_source(module) if is_open_module(module) else None
    return [] if path is None else _parsed(path)


@cache
def _parsed(path: Path) -> list[ast.stmt]:
    try:
        return ast.parse(path.read_text(encoding="utf-8")).body
    except (SyntaxError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: is no Python file ({error}); mend it") from error


def _alias(name: str, module: str) -> tuple[ast.expr, str] | None:
    """Return the expression behind a module-level name and its module, found through imports within vsr."""
    for node in _source(module):
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
            return node.value, module
        if isinstance(node, ast.ImportFrom) and (original := _imported(node, name)) is not None:
            return _alias(original, _absolute(node, module))
    return None


def _resolved(annotation: ast.expr, module: str) -> ast.expr:
    if isinstance(annotation, ast.Name) and (alias := _alias(annotation.id, module)) is not None:
        return _resolved(*alias)
    return annotation


def _text(annotation: ast.expr, module: str) -> str:
    annotation = _resolved(annotation, module)
    if isinstance(annotation, ast.BinOp):
        return f"{_text(annotation.left, module)} or {_text(annotation.right, module)}"
    if isinstance(annotation, ast.Constant) and annotation.value is None:
        return "null"
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) == "Literal":
        choices = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
        return "one of " + ", ".join(str(c.value) for c in choices if isinstance(c, ast.Constant))
    return ast.unparse(annotation)


def _accepts(annotation: ast.expr, value: Any, module: str) -> bool:
    annotation = _resolved(annotation, module)
    if isinstance(annotation, ast.Constant) and annotation.value is None:
        return value is None
    if isinstance(annotation, ast.BinOp):
        return _accepts(annotation.left, value, module) or _accepts(annotation.right, value, module)
    if isinstance(annotation, ast.Name):
        is_bool = isinstance(value, bool)
        plain = {
            "int": isinstance(value, int) and not is_bool,
            "float": isinstance(value, (int, float)) and not is_bool,
            "str": isinstance(value, str),
            "bool": is_bool,
        }
        return plain.get(annotation.id, True)
    if isinstance(annotation, ast.Subscript) and isinstance(annotation.value, ast.Name):
        inner = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
        if annotation.value.id == "Literal":
            return any(isinstance(i, ast.Constant) and i.value == value and type(i.value) is type(value) for i in inner)
        if annotation.value.id in ("tuple", "list"):
            if not isinstance(value, (list, tuple)):
                return False
            repeated = annotation.value.id == "list" or (len(inner) == 2 and ast.unparse(inner[1]) == "...")
            if repeated:
                return all(_accepts(inner[0], item, module) for item in value)
            return len(value) == len(inner) and all(_accepts(a, v, module) for a, v in zip(inner, value, strict=True))
        if annotation.value.id == "dict":
            return isinstance(value, dict) and all(
                _accepts(inner[0], key, module) and _accepts(inner[1], item, module) for key, item in value.items()
            )
    return True
