"""Construction of data modules and LightningModules from a checked config."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from vsr.config.resolved import resolved_window
from vsr.data.base import SRDataModule
from vsr.degradations import Degradation
from vsr.degradations.consistency import Consistency, build_consistency, check_ratio_bounds
from vsr.errors import UserError, error_suggestion
from vsr.io.readers.printable import printable_name
from vsr.io.static_fields import StaticField
from vsr.models.base import Network, RepeatedFrame
from vsr.models.cascade import Cascade, Repacked
from vsr.models.interpolation import Interpolation
from vsr.recipe import Recipe
from vsr.training.build_network import build_from_node, build_super_resolver
from vsr.training.finetune import Tune
from vsr.training.modules.base import SRModule
from vsr.training.modules.cascade import CascadeSR
from vsr.training.modules.frame import FrameSR
from vsr.training.modules.movie import MovieSR
from vsr.types import TransformName, ValueBounds

MODULES: dict[str, type[SRModule]] = {"frame": FrameSR, "movie": MovieSR}
BASELINES = ("nearest", "bilinear", "bicubic")


def build_data(
    cfg: DictConfig,
    *bounds: ValueBounds,
    variables: tuple[str, ...] = (),
    transforms: Sequence[Sequence[TransformName | None]] = (),
    lead_length: float | None = None,
    lr_bounds: Sequence[Sequence[float]] | None = None,
    static_scales: Sequence[Sequence[float]] | None = None,
    static_fields: Sequence[StaticField] = (),
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
        static_fields: Static fields in place of those of the config; empty for those of the config.
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
    if static_fields:
        data.use_static_fields(static_fields)
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


def build_module(cfg: DictConfig, facts: dict[str, Any], test_splits: tuple[str, ...] = ()) -> SRModule:
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
    plain = build_super_resolver(cfg, facts, recipe)
    network = plain.network
    if recipe.temporal > 0 and any(p.requires_grad for p in network.parameters()):
        _check_temporal(network, recipe)
    return _module_of(network)(
        network,
        normalizer=plain.normalizer,
        recipe=recipe,
        window=resolved_window(cfg),
        quantize=cfg.protocol == "classical",
        test_splits=test_splits,
        tune=build_from_node("tune", cfg.tune) if cfg.get("tune") else Tune(),
        reference=plain.reference,
        card=plain.card,
        consistency=plain.consistency,
        layout=plain.layout,
    )


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
