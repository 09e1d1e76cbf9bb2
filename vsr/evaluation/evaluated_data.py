"""Data of an evaluation: built for the networks that are scored, and refused if they do not suit one of them."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf

from vsr.config.resolved import resolved_window
from vsr.data.base import SRDataModule
from vsr.errors import UserError
from vsr.evaluation.checkpoints import Checkpoint
from vsr.inference.trained import Trained
from vsr.io.readers.printable import printable_name
from vsr.io.static_fields import StaticField, open_fields_of_network
from vsr.models.base import input_facts
from vsr.models.transform import transform_kinds, transforms_from_facts
from vsr.training.build import build_data

SPLIT = ("learn", "val", "test", "gap", "by")  # keys of data that divide movies

log = logging.getLogger(__name__)


def evaluated_static_fields(given: Any, config: DictConfig, trained: Trained) -> tuple[StaticField, ...]:
    """Return the static fields of the evaluated data: those that are typed, or those in the checkpoint; empty for data.static.

    Args:
        given: The key `static`.
        config: Config of the evaluation, whose data.static is removed if `given` takes its place.
        trained: The first network.

    Raises:
        UserError: If the network sees no such fields, or if the checkpoint holds none for data without data.static.
    """
    if given:
        fields = [str(each) for each in ([given] if isinstance(given, str) else given)]
        if "static" in config.data:
            config.data.static = None
        return open_fields_of_network(fields, trained.layout.static, trained.path)
    if not trained.layout.static or config.data.get("static") or config.data.get("path") is None:
        return ()
    if not trained.static or any(field.values is None for field in trained.static):
        names = ", ".join(map(printable_name, trained.layout.static))
        raise UserError(
            f"{trained.path}: was trained with data.static ({names}), which it does not hold; type "
            f"{_typed_static(trained)} on the grid of HR"
        )
    return trained.static


def _typed_static(trained: Trained) -> str:
    """Return what is typed to give the static fields of a network."""
    return f"static=[{','.join(f'FILE:{printable_name(name)}' for name in trained.layout.static)}]"


def build_evaluated_data(
    config: DictConfig, checkpoints: list[Checkpoint], fields: tuple[StaticField, ...], typed: bool
) -> SRDataModule:
    """Build the data module and check that its channels fit every network and its frames fit the evaluation window.

    Args:
        config: Config of the evaluation.
        checkpoints: The networks that are scored.
        fields: Static fields in place of data.static; empty for those of data.static.
        typed: True if `data` was typed. Data that are not must be those of the training: older versions of vsr generated others.

    Raises:
        UserError: If the data do not suit a network or the window.
    """
    several = [each.trained for each in checkpoints if each.trained.variables]
    variables, pairs = several[0].variables if several else (), [input_facts(each.trained.facts) for each in checkpoints]
    length = pairs[0].get("time", {}).get("length")
    known = (pairs[0].get("lr_variables") or {}).get("bounds")
    bounds = [each.trained.bounds for each in checkpoints if not each.trained.any_values]
    transforms = [transform_kinds(transforms_from_facts(each.trained.facts)) for each in checkpoints]
    positive = any(each.config.consistency == "ratio" for each in checkpoints)
    scales = [(field["mean"], field["std"]) for field in pairs[0].get("static", ())] or None
    shared: dict[str, Any] = {"transforms": transforms, "lead_length": length, "lr_bounds": known, "static_scales": scales}
    shared |= {"static_fields": fields, "positive": positive, "for_training": False}
    try:
        data = build_data(config, *bounds, variables=variables, **shared)
    except UserError as error:
        first = checkpoints[0].trained
        if fields is not first.static or not fields or not str(error).startswith(f"{first.path}: "):
            raise
        raise UserError(f"the static fields in {error}; type {_typed_static(first)} on the grid of HR") from error
    for checkpoint, known in zip(checkpoints, pairs, strict=True):
        _check_inputs(data, checkpoint.trained, known)
    for checkpoint in checkpoints:
        _check_channels(data, checkpoint.trained, None if typed else config)
    data.check_window(resolved_window(config))
    return data


def _check_inputs(data: SRDataModule, trained: Trained, known: Mapping[str, Any]) -> None:
    """Raise UserError if a network was trained with other variables, static fields or inputs; `known` has its inputs."""
    if trained.variables and data.variables != trained.variables:
        wanted = ",".join(trained.variables)
        raise UserError(
            f"{data.name}: has the variables {', '.join(data.variables)}, {trained.path} was trained on {wanted}; type "
            f"data.variable=[{wanted}]"
        )
    own, own_names, asked = input_facts(data.card), data.static_names, trained.layout.static
    if own_names != asked:
        typed_names = [f"data.static=[{','.join(map(printable_name, each))}]" for each in (own_names, asked)]
        raise UserError(f"{data.name}: has {typed_names[0]}, {trained.path} was trained with {typed_names[1]}; give the same")
    words = {"inputs": "data.inputs", "lr_variables": "data.lr_variable", "alignment": "data.align"}
    for key, word in {**words, "time": "the unit or the span of time"}.items():
        if (known.get(key) or None) != (own.get(key) or None) and (key != "time" or "time" in known.get("inputs", ())):
            advice = "give data like those of its training"
            if key == "inputs":
                advice = f"type 'data.inputs=[{','.join(known.get(key) or ())}]'"
            told = f"{data.name}: has {word}={own.get(key)}, {trained.path} was trained with {known.get(key)}"
            raise UserError(f"{told}; {advice}")
    trained.check_static_fields(data.static_fields, data.name)


def _check_channels(data: SRDataModule, trained: Trained, config: DictConfig | None) -> None:
    """Raise UserError if data have other channels than a network, or, with a config that names them, are of another version."""
    if config is not None and not trained.shipped and (name := trained.facts.get("name", data.name)) != data.name:
        raise UserError(
            f"{trained.path}: was trained on {name}, which this version of vsr does not generate; type "
            f"data={config.data._target_.split('.')[-2]} to score it on {data.name}"
        )
    if data.channels != trained.channels and not trained.any_values:
        advice = f"; type data.variable={data.variables[0]}, or another one" if data.variables and trained.channels == 1 else ""
        raise UserError(f"{data.name}: has {data.channels} channels, {trained.path} was trained on {trained.channels}{advice}")


def check_split(trained: Trained, data: SRDataModule, config: DictConfig, calibrated: bool) -> None:
    """Check that frames which a network was trained on do not stand in another split, if they are of the same movies.

    Splits take frames in one order, first those to train on. So a split with fewer of them gives some away.

    Args:
        trained: The network.
        data: The evaluated data.
        config: Config of the evaluation.
        calibrated: True if intervals are made from the validation split.

    Raises:
        UserError: If intervals would be made from frames of the training.
    """
    own, known = config.data, trained.config.get("data") or OmegaConf.create({})
    learned, frames = trained.facts.get("frames", {}).get("train", 0), data.card["frames"]
    if not _same_movies(own, known) or (frames["train"] >= learned and own.get("by") == known.get("by")):
        return
    told = f"{trained.path}: was trained on {learned} frames of {data.name}, and this split leaves {frames['train']} to train on"
    if calibrated:
        typed = " ".join(f"data.{key}={own[key]}" for key in ("val", "learn") if own.get(key) != known.get(key))
        raise UserError(
            f"calibrate=true: {told}, so that validation frames are among them and their errors too small; train again "
            f"with {typed or 'this split'}"
        )
    if own.get("path") is not None and frames["train"] + frames.get("val", 0) < learned:
        log.warning("%s, so that test frames are among them; their scores say nothing of other movies", told)


def _same_movies(one: DictConfig, other: DictConfig) -> bool:
    """Return True if two data configs take the same files, or generate movies in the same way."""
    files, others = _files(one), _files(other)
    if files or others:
        return files == others and one.get("frames") == other.get("frames")
    return all(one[key] == other[key] for key in (one.keys() & other.keys()) - {*SPLIT, "cache"})


def _files(data: DictConfig) -> list[str]:
    """Return the full paths of the files that a data config names."""
    given = [data.get(key) or [] for key in ("path", "lr", "hr")]
    return [os.path.realpath(str(path)) for each in given for path in ([each] if isinstance(each, str) else each)]


def fit_to_data(checkpoint: Checkpoint, data: SRDataModule) -> Checkpoint:
    """Return a checkpoint whose network, if it takes values of any range, takes those of the data."""
    if not checkpoint.trained.any_values:
        return checkpoint
    assert data.bounds is not None
    ranges: Any = data.bounds if data.channels == 1 or np.ndim(data.bounds) == 2 else [data.bounds] * data.channels
    return replace(checkpoint, trained=checkpoint.trained.for_values(ranges, data.offset, data.variables))
