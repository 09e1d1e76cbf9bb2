"""Construction of networks from a checked config, without Lightning; the only module that instantiates what configs name."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import get_class, instantiate
from omegaconf import DictConfig, OmegaConf

from vsr.config.plugins import is_plugin_target
from vsr.config.signatures import signature_parameters
from vsr.degradations import Degradation
from vsr.degradations.border import Border, with_border
from vsr.degradations.consistency import build_consistency
from vsr.errors import UserError
from vsr.io.readers.printable import printable_name
from vsr.models.base import LRLayout, Network
from vsr.models.cascade import Cascade
from vsr.models.ensemble import Ensemble
from vsr.models.linear import Linear
from vsr.models.normalize import Normalizer, frame_bounds
from vsr.models.residual import StandardizedResidual
from vsr.models.super_resolver import SuperResolver
from vsr.models.transform import Transformed, transforms_from_facts
from vsr.recipe import Recipe
from vsr.version import __version__

# The base class of the classes of plugins by config key, as a name: Lightning's are imported only for a plugin.
KINDS = {
    "model": "vsr.models.base.Network",
    "data": "vsr.data.base.SRDataModule",
    "degradation": "vsr.degradations.Degradation",
    "callbacks": "lightning.pytorch.callbacks.Callback",
    "logger": "lightning.pytorch.loggers.Logger",
    "recipe.loss": "torch.nn.Module",
    "metrics": "vsr.metrics.definitions.Definition",
}


def build_from_node(key: str, node: DictConfig, **arguments: Any) -> Any:
    """Instantiate the class that a checked node of the config names.

    Args:
        key: The node's key, for error messages.
        node: The node, with its `_target_`.
        arguments: Further arguments of the constructor.

    Raises:
        UserError: If the constructor refuses the arguments; the message names the key.
    """
    for path, target in _plugin_targets(node, key):
        _check_plugin_class(path, target)
    try:
        # "object": lists stay lists and the Recipe that is handed on stays one, instead of turning into config nodes.
        return instantiate(node, **arguments, _convert_="object")
    except InstantiationException as error:
        # Hydra wraps what a constructor raises; the constructor's own first line says what does not fit.
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from None
        raise UserError(f"{key}: {str(error.__cause__ or error).splitlines()[0]}") from error


def _plugin_targets(node: Any, path: str) -> Iterator[tuple[str, str]]:
    """Yield the key and the name of every class of a plugin in a node."""
    if isinstance(node, DictConfig):
        target = node.get("_target_")
        if isinstance(target, str) and is_plugin_target(target):
            yield path, target
        for key, value in node.items():
            yield from _plugin_targets(value, f"{path}.{key!s}")
    elif OmegaConf.is_list(node):
        for value in node:
            yield from _plugin_targets(value, path)


def _check_plugin_class(path: str, target: str) -> None:
    """Import a class of a plugin. Raises UserError if that fails or the class does not fit its key."""
    module, _, name = target.rpartition(".")
    try:
        found = getattr(import_module(module), name, None)
    except Exception as error:  # whatever the code of a plugin raises
        raise UserError(f"{path}._target_={target}: {module} cannot be imported ({type(error).__name__}: {error})") from error
    base = KINDS.get("recipe.loss" if path == "recipe.loss" else path.split(".")[0])
    kind: Any = get_class(base) if base else None
    # `Degradation` is a protocol: a class of any base with its methods is one.
    fits = isinstance(found, type) and ((kind is Degradation and "__call__" in dir(found)) or (kind and issubclass(found, kind)))
    if not fits:
        needed = f"a subclass of {base}" if base else "a class of vsr, no plugin"
        raise UserError(f"{path}._target_={target}: must be {needed}")


def build_super_resolver(cfg: DictConfig, facts: dict[str, Any], recipe: Recipe | None = None) -> SuperResolver:
    """Build the network of a config with all that upscaling needs; statistics are not measured yet.

    Args:
        cfg: The resolved config.
        facts: The description (`card`) of the data module, which is saved in checkpoints together with the config.
        recipe: The recipe of the config; None to build it.

    Raises:
        UserError: If the network and data do not go together.
    """
    channels, layout = facts["channels"], LRLayout.from_facts(facts)
    recipe = recipe or build_from_node("recipe", cfg.recipe)
    network = build_network(
        "model", cfg.model, recipe, scale=cfg.scale, channels=channels, layout=layout, members=cfg.get("members")
    )
    if any(transforms := transforms_from_facts(facts)) and any(p.requires_grad for p in network.parameters()):
        if isinstance(network, Cascade):
            raise UserError(
                "data.transform: is for single networks, not for pipelines of two; type model=resnet, or model=stacked for movies"
            )
        network = Transformed(network, transforms, facts["bounds"])
    return SuperResolver(
        network,
        normalizer=Normalizer(*frame_bounds(facts["bounds"], facts.get("offset", 0.0))),
        reference=Linear(scale=cfg.scale, channels=channels, alignment=layout.alignment),
        card={"version": __version__, "config": OmegaConf.to_container(cfg, resolve=True), "data": facts},
        consistency=build_consistency(
            cfg.consistency,
            with_border(build_from_node("degradation", cfg.degradation), Border.in_unit_interval(facts)),
            cfg.scale,
            cfg.consistency_steps,
            facts["bounds"],
            facts.get("variables", ()),
            layout.alignment,
        ),
        layout=layout,
    )


def build_network(
    key: str,
    node: DictConfig,
    recipe: Recipe,
    *,
    scale: int,
    channels: int,
    layout: LRLayout | None = None,
    members: int | None = None,
) -> Network:
    """Build a network from its config; for a Cascade, first build its two networks.

    The second network of a Cascade has scale 1, because it works on the HR frames of the first network.

    Args:
        key: The node's key, for error messages.
        node: The config of the network.
        recipe: The recipe, which decides whether the network predicts a standardised residual.
        scale: HR pixels per LR pixel.
        channels: Channels of each frame.
        layout: Channels of the LR frames; None if they are those of HR frames.
        members: Number of members that an ensemble is trained with; None for a network without noise.

    Raises:
        UserError: If the network does not take LR frames with these channels, or cannot be an ensemble.
    """
    parts = {str(name): child for name, child in node.items() if isinstance(child, DictConfig) and "_target_" in child}
    own = OmegaConf.create({name: value for name, value in node.items() if name not in parts})
    built = {
        name: build_network(f"{key}.{name}", child, recipe, scale=1 if name == "second" else scale, channels=channels)
        for name, child in parts.items()
    }
    layout = layout or LRLayout(channels)
    network: Network = build_from_node(key, own, **built, scale=scale, channels=channels, **_layout_arguments(key, node, layout))
    if missing := [name for name in ("kind", "geometry", "reach") if not hasattr(network, name)]:
        raise UserError(f"{key}: {node._target_} has no attribute '{missing[0]}'; see docs/guides/adding-a-model.md")
    if not parts and any(p.requires_grad for p in network.parameters()):
        if recipe.over != "none" and not network.equivariant:
            network = StandardizedResidual(network, layout)
        elif not layout.plain:
            advice = "type model=resnet" if network.equivariant else "type recipe.residual=bicubic"
            raise UserError(f"{key}: LR frames of these data have more channels than HR frames; {advice}")
    if members is None:
        return network
    if not isinstance(network, StandardizedResidual) or any(network.geometry.margin[1:]):
        raise UserError(
            f"members={members}: is for single networks over bicubic that lose no border, not for {node._target_.split('.')[-1]} "
            f"here; type model=stacked, or model=resnet for single frames"
        )
    return Ensemble(network, channels=channels, inputs=layout.seen, total=layout.total(scale))


def _layout_arguments(key: str, node: DictConfig, layout: LRLayout) -> dict[str, Any]:
    """Return the arguments that tell a network of LR frames with more channels than HR frames. Raises UserError."""
    if layout.plain:
        return {}
    known, name = signature_parameters(str(node._target_)) or {}, str(node._target_).rpartition(".")[2]
    if "first" in node or (layout.seen > layout.channels and not {"inputs", "alignment"} & set(known)):
        why = f"data.inputs=[{','.join(layout.inputs)}]" if layout.inputs else "pairs that share end points or are staggered"
        why = f"data.lr_variable=[{','.join(map(printable_name, layout.further))}]" if layout.further else why
        why = f"data.static=[{','.join(map(printable_name, layout.static))}]" if layout.static else why
        raise UserError(f"{key}: {name} does not take {why}; type model=unet, or model=resnet for single frames")
    arguments = {"inputs": layout.seen, "alignment": layout.alignment}
    return {word: value for word, value in arguments.items() if word in known}
