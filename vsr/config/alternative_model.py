"""The network that competes with `model` in a trial: whether there is one, and the config that its run would have.

Nothing here imports torch: a name that does not exist is refused at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from vsr.config import CONF
from vsr.errors import UserError, suggestion
from vsr.training.budget.plan import typed

NOT_ITS = ("model", "alternative", "resume", "hparams_search")  # of what was typed, what is not of the alternative's run

_ABSENT = object()


def rival(cfg: Mapping[Any, Any] | DictConfig) -> str | None:
    """The network that `model` has to compete with; None where a preset names it but did not choose the model."""
    name = cfg.get("alternative")
    if name is None:
        return None
    given = typed()
    return str(name) if "alternative" in given or not ("model" in given or _not_of_preset()) else None


def _not_of_preset() -> bool:
    """Whether there is a preset, and an experiment, which comes behind it, chose another model."""
    preset = HydraConfig.get().runtime.choices.get("preset")
    if not preset:
        return False
    defaults = OmegaConf.select(OmegaConf.load(CONF / "preset" / f"{preset}.yaml"), "defaults", default=[])
    return any(each.get("override /model", model_name()) != model_name() for each in defaults if isinstance(each, DictConfig))


def model_name() -> str:
    """What `model` is called in conf/model."""
    return str(HydraConfig.get().runtime.choices["model"])


def check_rival(cfg: Mapping[Any, Any]) -> str | None:
    """The same as `rival`. Raises UserError for a name that is none, for the model itself, and without a budget."""
    name = rival(cfg)
    if name is None:
        return None
    known = [path.stem for path in (CONF / "model").glob("*.yaml")]
    if name not in known:
        raise UserError(f"alternative={name}: there is none{suggestion(name, known)}")
    if cfg.get("budget") is None:
        raise UserError(f"alternative={name}: is tried for a part of a budget; type budget=5min, or alternative=null")
    if name == model_name():
        raise UserError(f"alternative={name}: is the model itself; name another network, or type alternative=null")
    return name


def config_of(name: str) -> dict[str, Any]:
    """The config of this run with that network, as if it had been typed as `model`, without `resume`, as a mapping for OmegaConf.

    What was typed for the model's arguments counts where the network has them. Raises UserError for what cannot be composed.
    """
    overrides = HydraConfig.get().overrides.task
    keys = {line: line.lstrip("+~").partition("=")[0] for line in overrides}
    own = [line for line in overrides if keys[line] not in NOT_ITS and not keys[line].startswith("model.")]
    own += [f"model={name}", "alternative=null"]
    arguments = [line for line in overrides if keys[line].startswith("model.")]
    try:
        with _composing():
            if arguments:
                there = compose("train", own)
                own += [line for line in arguments if OmegaConf.select(there, keys[line], default=_ABSENT) is not _ABSENT]
            return _plain(compose("train", own, return_hydra_config=True))
    except (HydraException, OmegaConfBaseException) as error:
        from vsr.commands.app import one_line

        raise UserError(f"alternative={name}: {one_line(error, CONF, 'train')}") from error


@contextmanager
def _composing() -> Iterator[None]:
    """Hydra's own state is of the run that is at work: it is put back."""
    hydra, config = GlobalHydra.instance(), HydraConfig.instance()
    before = hydra.hydra, config.cfg
    hydra.hydra = None
    try:
        with initialize_config_dir(str(CONF), job_name="train", version_base="1.3"):
            yield
    finally:
        hydra.hydra, config.cfg = before


def _plain(cfg: DictConfig) -> dict[str, Any]:
    """With keys that follow from others left so, as these may change yet; the row's name follows from what Hydra chose here."""
    HydraConfig.instance().set_config(cfg)
    with read_write(cfg), open_dict(cfg):
        cfg.name = cfg.name
        del cfg["hydra"], cfg["resume"]
    found = OmegaConf.to_container(cfg)
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items()}
