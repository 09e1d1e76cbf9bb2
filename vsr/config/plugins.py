"""Packages of users whose classes a config may name, and further folders of configs.

A package is opened by `plugins=[NAME]` on the command line, or by an entry point of the group `vsr.plugins` in an installed
package. No file that is read opens one: the config in a checkpoint may only name classes of packages that are open.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import entry_points
from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf, open_dict

from vsr.config import CONF, PACKAGE
from vsr.errors import UserError

GROUP = "vsr.plugins"
KEY = "plugins"
CONFIG_DIR = ("--config-dir", "-cd")

_opened: dict[str, Path] = {}  # name of a package or module -> its folder or file
_typed: list[str] = []  # those of `_opened` that the command line names
_config_folders: dict[Path, str] = {}  # folder of configs -> what named it, for messages


class ConfigFolders(SearchPathPlugin):
    """Tells Hydra about the configs of the open packages."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append the folders behind vsr's own."""
        for folder, named in _config_folders.items():
            search_path.append(named, f"file://{folder}")


def open_plugins(names: Iterable[str]) -> None:
    """Allow configs to name the classes of packages, and put the `conf/` of each package on Hydra's search path.

    Nothing is imported here. A package may also lie in the working directory.

    Args:
        names: importable names, such as "mypackage" or "mypackage.networks".

    Raises:
        UserError: A package does not exist, is vsr, or has a config with the name of a config of vsr.
    """
    for name in names:
        if name in _opened:
            continue
        if not all(part.isidentifier() for part in str(name).split(".")):
            raise UserError(f"plugins={name}: is no name of a package; type plugins=[mypackage]")
        if name.split(".")[0] == PACKAGE.name:
            raise UserError(f"plugins={name}: is vsr itself, whose classes need no plugin; remove it")
        if str(Path.cwd()) not in sys.path and "" not in sys.path:
            sys.path.append(str(Path.cwd()))  # last, so that no file there takes the place of a library
        path = find_plugin_source(name)
        if path is None:
            raise UserError(
                f"plugins={name}: no package of this name; install it, or type the command in the folder that holds {name}/"
            )
        if path.name == "__init__.py" and (path.parent / "conf").is_dir():
            add_plugin_folder(path.parent / "conf", f"plugins={name}")
        _opened[name] = path


def open_announced_plugins() -> None:
    """Open the packages that installed distributions announce by entry points of the group `vsr.plugins`."""
    for point in entry_points(group=GROUP):
        try:
            open_plugins([point.module])
        except UserError as error:
            print(f"warning: {point.dist.name if point.dist else point.name}: not used as a plugin: {error}", file=sys.stderr)


def apply_plugins(cfg: DictConfig) -> None:
    """Open the packages that a typed config names, and remove the key, so that no checkpoint holds it.

    The name of a class in `recipe.loss` becomes a node with that target.

    Args:
        cfg: The composed config of a command; changed in place.

    Raises:
        UserError: A package cannot be used.
    """
    with open_dict(cfg):
        open_plugins(cfg.pop(KEY, None) or [])
        if isinstance(loss := OmegaConf.select(cfg, "recipe.loss"), str) and "." in loss:
            cfg.recipe.loss = {"_target_": loss}


def add_plugin_folder(folder: Path, named: str) -> None:
    """Add a folder of configs behind vsr's own, for Hydra, help and suggestions.

    Args:
        folder: Holds configs in the layout of conf/.
        named: The argument that named the folder, for messages.

    Raises:
        UserError: A config there has the name of another config, which Hydra would take instead without a word.
    """
    folder = folder.expanduser().resolve()
    if folder in _config_folders or folder == CONF.resolve():
        return
    for config in sorted(folder.rglob("*.yaml")):
        name = config.relative_to(folder)
        for other, owner in {CONF: "vsr", **_config_folders}.items():
            if (other / name).is_file():
                raise UserError(f"{named}: {config} has the name of a config of {owner}, which would be used instead; rename it")
    _config_folders[folder] = named
    if ConfigFolders not in Plugins.instance().discover(SearchPathPlugin):
        Plugins.instance().register(ConfigFolders)


def folders_with_plugins() -> list[Path]:
    """Return the folders of configs: vsr's own, then those of the open packages and of the command line."""
    return [CONF, *_config_folders]


def choices_with_plugins(group: str) -> list[str]:
    """List the names of the configs of a group, such as "model"."""
    return sorted({path.stem for folder in folders_with_plugins() for path in (folder / group).glob("*.yaml")})


def take_plugins(arguments: Sequence[str]) -> list[str]:
    """Open what a command line names before Hydra composes: plugins=..., --config-dir and the announced packages.

    Returns:
        The arguments, with the names of `plugins` as a list, as Hydra's grammar needs it.

    Raises:
        UserError: A package or a folder cannot be used.
    """
    open_announced_plugins()
    found = []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if equals and key.lstrip("+") == KEY:
            names = plugin_names(value)
            open_plugins(names)
            _typed.extend(name for name in names if name not in _typed)
            argument = f"{KEY}=[{','.join(names)}]"
        found.append(argument)
    for value in split_plugin_folder(arguments)[0][1:]:
        if not Path(value).expanduser().is_dir():
            raise UserError(f"--config-dir {value}: no such folder; type --config-dir FOLDER, with configs as in conf/")
        add_plugin_folder(Path(value), f"--config-dir {value}")
    return found


def split_plugin_folder(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Separate the option --config-dir with its folder, if it is given, from the other arguments."""
    options: list[str] = []
    others: list[str] = []
    rest = list(arguments)
    while rest:
        option, equals, value = rest[0].partition("=")
        if rest.pop(0) and option not in CONFIG_DIR:
            others.append(f"{option}{equals}{value}")
        elif equals or rest:
            options = [CONFIG_DIR[0], value if equals else rest.pop(0)]
        else:
            raise UserError("--config-dir: needs a folder; type --config-dir FOLDER")
    return options, others


def plugins_as_typed() -> str:
    """Return the argument that opens the plugins of this command line again, with a space before it; empty without plugins."""
    return f" plugins=[{','.join(_typed)}]" if _typed else ""


def plugin_names(value: str) -> list[str]:
    """Split the text of plugins=a,b or plugins=[a,b] into names."""
    return [name for name in re.split(r"[\s,\[\]'\"]+", value) if name and name != "null"]


def opened_plugins() -> list[str]:
    """Return the names of the open packages, for processes that this one starts."""
    return list(_opened)


def is_plugin_target(target: str) -> bool:
    """Return True if a class belongs to an open package."""
    return any(target.startswith(f"{name}.") for name in _opened)


def is_open_module(module: str) -> bool:
    """Return True if the source of a module may be read: a module of vsr, of Lightning or of an open package."""
    return module.split(".")[0] in {PACKAGE.name, "lightning", *(name.split(".")[0] for name in _opened)}


def find_plugin_source(module: str) -> Path | None:
    """Find the source file of a module without importing it; None for a missing module or one without Python source."""
    first, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(first)
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    path = Path(spec.origin)
    for part in rest:
        if path.name != "__init__.py":
            return None
        package, single = path.parent / part / "__init__.py", path.parent / f"{part}.py"
        path = package if package.is_file() else single
    return path if path.is_file() else None
