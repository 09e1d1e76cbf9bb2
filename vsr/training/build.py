"""Construction of a run's objects from a checked config; the only module that instantiates the classes that configs name."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, OmegaConf
from torch import nn

from vsr.config.plugins import is_plugin_target
from vsr.config.resolved import resolved_window
from vsr.config.signatures import signature_parameters
from vsr.data.base import SRDataModule
from vsr.degradations import Degradation
from vsr.degradations.border import Border, with_border
from vsr.degradations.consistency import Consistency, build_consistency, check_ratio_bounds
from vsr.errors import UserError, error_suggestion
from vsr.io.readers.printable import printable_name
from vsr.metrics.definitions import Definition
from vsr.models.base import LRLayout, Network, RepeatedFrame
from vsr.models.cascade import Cascade, Repacked
from vsr.models.ensemble import Ensemble
from vsr.models.interpolation import Interpolation
from vsr.models.linear import Linear
from vsr.models.normalize import Normalizer, frame_bounds
from vsr.models.residual import StandardizedResidual
from vsr.models.transform import Transformed, transforms_from_facts
from vsr.recipe import Recipe
from vsr.training.finetune import Tune
from vsr.training.modules.base import SRModule
from vsr.training.modules.cascade import CascadeSR
from vsr.training.modules.frame import FrameSR
from vsr.training.modules.movie import MovieSR
from vsr.types import TransformName, ValueBounds
from vsr.version import __version__

MODULES: dict[str, type[SRModule]] = {"frame": FrameSR, "movie": MovieSR}
# The base class of the classes of plugins by config key.
KINDS: dict[str, type] = {
    "model": Network,
    "data": SRDataModule,
    "degradation": Degradation,
    "callbacks": Callback,
    "logger": Logger,
    "recipe.loss": nn.Module,
    "metrics": Definition,
}
BASELINES = ("nearest", "bilinear", "bicubic")


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
    kind = KINDS.get("recipe.loss" if path == "recipe.loss" else path.split(".")[0])
    # `Degradation` is a protocol: a class of any base with its methods is one.
    fits = isinstance(found, type) and ((kind is Degradation and "__call__" in dir(found)) or (kind and issubclass(found, kind)))
    if not fits:
        needed = f"a subclass of {kind.__module__}.{kind.__qualname__}" if kind else "a class of vsr, no plugin"
        raise UserError(f"{path}._target_={target}: must be {needed}")


def build_data(
    cfg: DictConfig,
    *bounds: ValueBounds,
    variables: tuple[str, ...] = (),
    transforms: Sequence[Sequence[TransformName | None]] = (),
    lead_length: float | None = None,
    lr_bounds: Sequence[Sequence[float]] | None = None,
    static_scales: Sequence[Sequence[float]] | None = None,
    positive: bool = False,
    for_training: bool | None = None,
) -> SRDataModule:
    """Build the data module of a config, read its frames and degrade them.

    Args:
        cfg: The checked config.
        bounds: Physical range (low, high) of each network to be scored, for data that declare no bounds. Empty in training.
        variables: The variables that the networks to be scored were trained on, for channels without names.
        transforms: The transforms of each network to be scored, one per channel, whose domains the data must keep to.
        lead_length: `lead_length` of the data that the networks to be scored were trained on; None in training.
        lr_bounds: `lr_bounds` of these data; None in training.
        static_scales: `static_scales` of these data; None in training.
        positive: True to refuse negative values, as consistency=ratio does.
        for_training: True if patches are drawn from the frames; None for True if there are no `bounds`.

    Raises:
        UserError: If the data cannot be used, or if they declare no bounds and the networks' ranges differ.
    """
    degradation, recipe = build_from_node("degradation", cfg.degradation), build_from_node("recipe", cfg.recipe)
    build_consistency(cfg.consistency, degradation, cfg.scale, cfg.consistency_steps)  # refused before data are read
    data = _data_module("data", cfg.data, scale=cfg.scale, degradation=degradation, recipe=recipe, draw_seed=cfg.seed)
    if data.bounds is None and len(set(bounds)) > 1:
        several = " and ".join(map(str, dict.fromkeys(bounds)))
        typed = f"{{{', '.join(f'{name}: [LOW,HIGH]' for name in data.variables)}}}" if data.variables else "[LOW,HIGH]"
        raise UserError(
            f"{data.name}: declares no bounds, and the networks work in {several}: PSNR would have several ranges; "
            f"type data.bounds={typed}"
        )
    data.variables = data.variables or variables
    if bounds:
        data.complete_bounds(bounds[0])
    data.positive = positive or cfg.consistency == "ratio"
    if data.positive and data.bounds is not None:  # before data are generated
        check_ratio_bounds(data.bounds, data.variables)
    for each in filter(None, transforms):
        data.require_transforms(each)
    data.lead_length, data.lr_bounds, data.static_scales = lead_length, lr_bounds, static_scales
    data.protocol, data.ends, data.for_training = cfg.protocol, cfg.ends, not bounds if for_training is None else for_training
    data.setup()
    return data


def _data_module(key: str, node: DictConfig, **shared: Any) -> SRDataModule:
    """Build a data module and first the data modules that it combines; all share scale, degradation and recipe."""
    parts = {name: child for name, child in node.items() if isinstance(child, DictConfig) and "_target_" in child}
    built = {str(name): _data_module(f"{key}.{name!s}", child, **shared) for name, child in parts.items()}
    own = OmegaConf.create({name: value for name, value in node.items() if name not in parts})
    return build_from_node(key, own, **built, **shared)


def build_module(cfg: DictConfig, facts: dict[str, Any], test_splits: tuple[str, ...]) -> SRModule:
    """Build the LightningModule of a config, with its network and the linear filter; statistics are not measured yet.

    Args:
        cfg: The resolved config.
        facts: The description (`card`) of the data module, which is saved in checkpoints together with the config.
        test_splits: Names of the splits to score.

    Raises:
        UserError: If the network, recipe and data do not go together.
    """
    recipe: Recipe = build_from_node("recipe", cfg.recipe)
    _check_weights(recipe, facts.get("variables", []))
    channels, layout = facts["channels"], LRLayout.from_facts(facts)
    network = build_network(
        "model", cfg.model, recipe, scale=cfg.scale, channels=channels, layout=layout, members=cfg.get("members")
    )
    if any(transforms := transforms_from_facts(facts)) and any(p.requires_grad for p in network.parameters()):
        if isinstance(network, Cascade):
            raise UserError(
                "data.transform: is for single networks, not for pipelines of two; type model=resnet, or model=stacked for movies"
            )
        network = Transformed(network, transforms, facts["bounds"])
    if recipe.temporal > 0 and any(p.requires_grad for p in network.parameters()):
        _check_temporal(network, recipe)
    return _module_of(network)(
        network,
        normalizer=Normalizer(*frame_bounds(facts["bounds"], facts.get("offset", 0.0))),
        recipe=recipe,
        window=resolved_window(cfg),
        quantize=cfg.protocol == "classical",
        test_splits=test_splits,
        tune=build_from_node("tune", cfg.tune) if cfg.get("tune") else Tune(),
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


def _check_weights(recipe: Recipe, variables: list[str]) -> None:
    """Raise UserError for loss weights of variables that the data do not have, or beside a loss that takes none."""
    for name in recipe.weights or ():
        if name not in variables:
            known = error_suggestion(name, variables) if variables else ", as the data have one variable; leave it out"
            raise UserError(f"recipe.weights={{{printable_name(name)}: ...}}: no such variable{known}")
    if recipe.weights and callable(recipe.loss):
        raise UserError("recipe.weights: are for the losses of vsr, not for that of a plugin; leave them out")


def _check_temporal(network: Network, recipe: Recipe) -> None:
    """Raise UserError if the network's training clips have fewer than two frames, which the temporal loss compares."""
    if network.kind == "frame":
        raise UserError(
            f"recipe.temporal={recipe.temporal:g}: a frame network is trained on single frames, which have no change in time; "
            "type model=stacked recipe.frames=7 (or another movie network), or recipe.temporal=0"
        )
    lost = 2 * network.geometry.margin[0]
    if recipe.frames < lost + 2:
        raise UserError(
            f"recipe.temporal={recipe.temporal:g}: clips of recipe.frames={recipe.frames} leave this network fewer than two "
            f"frames; type recipe.frames={lost + 2} or more"
        )


def _module_of(network: Network) -> type[SRModule]:
    return CascadeSR if isinstance(network, Cascade) else MODULES[network.kind]


def build_stage(module: SRModule, name: str) -> SRModule:
    """Build the LightningModule that trains one stage of a Cascade, with the settings of the whole Cascade.

    Args:
        module: The LightningModule of the Cascade.
        name: "first" for the first network alone; "second" for the second network behind a fixed first network.
    """
    network = module.network
    assert isinstance(network, Cascade)
    # The config that goes into the stage's checkpoints is its own, so that evaluate.py scores them by themselves.
    config = copy.deepcopy(module.card["config"])
    if name == "first":
        stage: Network = network.first.requires_grad_(True)
        config |= {"model": config["model"]["first"], "name": f"{config['name']}, first stage"}
    else:
        stage = Cascade(first=network.first, second=network.second, trains="second", scale=network.scale)
        config["model"]["trains"] = "second"
        config["name"] = f"{config['name']}, second stage"
    tune = module.tune.of_stage(name)
    card = {**module.card, "config": config}
    return _like(module, stage, tune=tune, reference=module.reference, card=card, consistency=module.consistency)


def build_interim_modules(module: SRModule) -> dict[str, SRModule]:
    """Build the modules that score a Cascade's intermediate frames, by name of the table row; empty for other networks."""
    network = module.network
    if not isinstance(network, Cascade):
        return {}
    if network.first.kind == "movie":
        return {"3D network": _like(module, network.first)}
    return {"2D network": _like(module, network.first), "after repacking": _like(module, Repacked(network))}


def build_repeated_frame_module(module: SRModule) -> SRModule | None:
    """Build a module whose movie network sees each frame repeated in place of its neighbours; None for a single-frame network."""
    network = module.network
    if network.kind != "movie" or network.geometry.margin[0] == 0:
        return None
    return _like(module, RepeatedFrame(network), consistency=module.consistency)


def _like(module: SRModule, network: Network, **more: Any) -> SRModule:
    """Build a module for another network with the settings of `module`."""
    return _module_of(network)(
        network,
        normalizer=module.normalizer,
        recipe=module.recipe,
        window=module.window,
        quantize=module.quantize,
        test_splits=module.test_splits,
        layout=module.layout,
        **more,
    )


def build_baseline_modules(module: SRModule, channels: int) -> dict[str, SRModule]:
    """Build the baseline modules of every table of scores, by name: nearest, bilinear, bicubic and the linear filter."""
    scale = module.network.geometry.scale[1]
    networks: dict[str, Network] = {
        name: Interpolation(method=name, scale=scale, channels=channels, alignment=module.alignment)  # type: ignore[arg-type]
        for name in BASELINES
    }
    assert module.reference is not None
    networks["linear"] = module.reference
    return {name: _like(module, network) for name, network in networks.items()}


def build_consistent_module(bicubic: SRModule, degradation: Degradation, scale: int) -> SRModule | None:
    """Build the module that makes bicubic frames agree with their LR frames; None if the degradation has no exact projection."""
    try:
        found: Consistency | None = build_consistency("projection", degradation, scale, steps=1)
    except UserError:
        return None
    return _like(bicubic, bicubic.network, consistency=found)
