"""Every config composes and passes the check; every kind of mistake gets its line."""

from __future__ import annotations

import itertools
import os
from importlib.util import find_spec
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from tests.fakes import CONF, choices, compose_config
from vsr.config.check import check_config, find_checkpoint
from vsr.config.signatures import signature_parameters
from vsr.errors import UserError

GROUPS = sorted(path.name for path in CONF.iterdir() if path.is_dir() and path.name != "hydra")
NEEDS = {
    "movies": ["data.path={movie}"],
    "checkpoint": ["init.path={movie}"],
    "authors": ["weights={movie}"],
    "data=pairs": ["data.lr={movie}", "data.hr={movie}"],
    "table7": ["init.first.path={movie}", "init.second.path={movie}"],
    "two_in_one": ["init.path={movie}"],
}


def needed(choice: str, movie: Path) -> list[str]:
    return [text.format(movie=movie) for text in NEEDS.get(choice, [])]


@pytest.mark.parametrize(("group", "choice"), [(g, c) for g in GROUPS for c in choices(g)], ids="=".join)
@pytest.mark.sampled(10)
def test_every_choice_of_every_group(group: str, choice: str, movie: Path) -> None:
    cfg = compose_config("train", [f"{group}={choice}", *needed(choice, movie), *needed(f"{group}={choice}", movie)])
    if choice in ("wandb", "mlflow") and find_spec(choice) is None:
        pytest.skip(f"{choice} is not installed")
    check_config(cfg)


@pytest.mark.parametrize(("model", "recipe"), list(itertools.product(choices("model"), choices("recipe"))), ids=" ".join)
@pytest.mark.sampled(8)
def test_models_and_recipes_go_together(model: str, recipe: str) -> None:
    check_config(compose_config("train", [f"model={model}", f"recipe={recipe}"]))


@pytest.mark.parametrize("path", sorted(CONF.rglob("*.yaml")), ids=lambda p: str(p.relative_to(CONF)))
def test_configs_are_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= (39 if path.parent == CONF else 32)


def test_the_report_recipe_is_the_reports() -> None:
    cfg = compose_config("train", ["recipe=report"])
    assert (cfg.epochs, cfg.patience, cfg.recipe.rate, cfg.recipe.loss) == (150, 5, 1e-3, "mse")
    assert (cfg.model.slope, cfg.model.output_act, cfg.recipe.residual, cfg.recipe.patch) == (0.0, True, "none", None)
    assert compose_config("train", ["recipe=report", "patience=2", "epochs=3"]).patience == 2


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["scale=5"], "scale=5: networks here enlarge by 2, 3, 4, 6 or 8; type scale=4"),
        (["scale=16"], "scale=16: networks here enlarge by 2, 3, 4, 6 or 8; type scale=8"),
        (["model=fsrcnn_s", "scale=6"], "scale=6: FSRCNNOriginal is for scales up to 4; type model=fsrcnn, or scale=4"),
        (
            ["model=joint", "model@model.first=fsrcnn_56", "scale=8"],
            "scale=8: FSRCNNOriginal is for scales up to 4; type model=fsrcnn, or scale=4",
        ),
        (["epochs=-1"], "epochs=-1: must be 0 or more"),
        (["patience=-1"], "patience=-1: must be 0 or more"),
        (["seed=-3"], "seed=-3: must be 0 or more"),
        (["window=[4,4]"], "type window=[0,4,4]"),
        (["window=[0,-1,4]"], "type window=[0,4,4]"),
        (["monitor=val/snr"], "monitor=val/snr; did you mean 'val/psnr'?"),
        (
            ["recipe.residual=linear"],
            "recipe.residual=linear is gone, as it gained nothing (docs/design/decisions/019); type recipe.residual=",
        ),
        (["recipe.residual=cubic"], "recipe.residual=cubic: must be one of none, bicubic, True, False, not str 'cubic'"),
        (["recipe.loss=l3"], "recipe.loss=l3: must be one of mse, l1, charbonnier, not str 'l3'"),
        (["recipe.batch=0"], "recipe.batch=0: must be positive"),
        (["recipe.rate=fast"], "recipe.rate=fast: must be float, not str 'fast'"),
        (["recipe.patch=1.5"], "recipe.patch=1.5: must be int or null, not float 1.5"),
        (["recipe.ema=1.5"], "recipe.ema=1.5: must lie between 0 and 1, or be null"),
        (["recipe.augment=1"], "recipe.augment=1: must be bool, not int 1"),
        (["recipe.mix=1.5"], "recipe.mix=1.5: is a share of the clips above 0, and 1 at most; type recipe.mix=1"),
        (["model=srcnn", "model.kernels=[9,a]"], "model.kernels=[9, 'a']: must be tuple[int, ...]"),
        (["model=srcnn", "model.act=gelu"], "model.act=gelu: must be one of prelu, relu"),
        (["data.family=storm"], "data.family=storm: must be one of tide, bores, turbulence"),
        (["+model.widht=3"], "model.widht: unknown"),
        (["+model.scale=3"], "model.scale: follows from scale and is not set here"),
        (["+data.scale=3"], "data.scale: follows from scale"),
        (["model._target_=os.system"], "model._target_=os.system: not a class that a config may name"),
        (["model._target_=vsr.models.srcnn.Nothing"], "no such class"),
        (["model._target_=vsr.models.cost.count_parameters"], "no such class"),
        (["trainer._target_=torch.utils.collect_env.run"], "not a class that a config may name"),
        (["+model._args_=[1]"], "model._args_: only _target_ is understood here"),
        (["callbacks.panels.every={_target_:shutil.rmtree}"], "not a class that a config may name"),
        (["init=checkpoint"], "init.path: needed; type init.path=FILE, or weights=FILE"),
        (["init=authors", "init.path=nowhere/x2.mat"], "init.path=nowhere/x2.mat: no such file (there is no folder nowhere"),
        (["init=authors", "init.path=."], "init.path=.: is a folder; type init.path=checkpoints/best.ckpt"),
        (["model=joint", "init=two_stage", "init@init.first=authors"], "init.first.path: needed; type init.first.path=FILE"),
        (["init=checkpoint", "weights=pyproject.toml", "init.mismatch=yes"], "must be one of refuse, fresh, overlap, not"),
        (["init=checkpoint", "weights=pyproject.toml", "init.modules=[1]"], "must be list[str] or dict[str, str] or null"),
        (["tune.freeze=features"], "tune.freeze=features: must be list[str], not str"),
        (["tune.freeze_epochs=0", "tune.freeze=[out]"], "tune.freeze_epochs=0: must be 1 or more, or null for all epochs"),
        (["tune.freeze_epochs=3"], "tune.freeze_epochs=3: of no effect without tune.freeze=[MODULE]"),
        (["tune.l2sp=-1"], "tune.l2sp=-1: must be 0 or more"),
        (["tune.rates={out:0}"], "tune.rates.out=0: must be positive; type tune.freeze=[out]"),
        (["tune.rates={out:slow}"], "tune.rates={'out': 'slow'}: must be dict[str, float] or null"),
        (["data=movies", "data.path=nowhere/a.mp4"], "data.path=nowhere/a.mp4: no such file (there is no folder nowhere"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        check_config(compose_config("train", overrides))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_misspelt_file_gets_the_near_one(movie: Path) -> None:
    with pytest.raises(UserError, match="no such file; did you mean 'movie.y4m'"):
        check_config(compose_config("train", ["data=movies", f"data.path={movie.parent}/movi.y4m"]))
    with pytest.raises(UserError, match="a folder without a trained run; give a checkpoint"):
        check_config(compose_config("evaluate", [f"checkpoint={movie.parent}"]))


def test_a_folder_means_its_newest_run(tmp_path: Path) -> None:
    times = {"fsrcnn-climate/2026-01-02": 200, "fsrcnn-climate/2026-01-01": 300, "srcnn-climate/2026-01-03": 100}
    for name, seconds in times.items():
        best = tmp_path / name / "checkpoints" / "best.ckpt"
        best.parent.mkdir(parents=True)
        best.touch()
        os.utime(best, (seconds, seconds))
    newest = tmp_path / "fsrcnn-climate/2026-01-01/checkpoints/best.ckpt"
    for given in (newest, newest.parent.parent, tmp_path / "fsrcnn-climate", tmp_path):
        assert find_checkpoint(given) == newest
    with pytest.raises(UserError, match="a folder without a trained run"):
        find_checkpoint(newest.parent)


def test_a_config_from_elsewhere_is_checked_like_ours() -> None:
    """As evaluate.py does with the config inside a checkpoint."""
    cfg = OmegaConf.create(OmegaConf.to_container(compose_config("train", []), resolve=True))
    check_config(cfg)
    cfg.degradation = {"_target_": "subprocess.run", "args": "true"}
    with pytest.raises(UserError, match="degradation._target_=subprocess.run"):
        check_config(cfg)


def test_signatures_are_those_of_the_classes() -> None:
    import inspect

    from vsr.models.fsrcnn import FSRCNN
    from vsr.recipe import Recipe

    for target, cls in (("vsr.models.fsrcnn.FSRCNN", FSRCNN), ("vsr.recipe.Recipe", Recipe)):
        real = inspect.signature(cls).parameters
        read = signature_parameters(target)
        assert read is not None
        assert list(read) == list(real)
        assert [p.required for p in read.values()] == [p.default is inspect.Parameter.empty for p in real.values()]
    assert signature_parameters("vsr.models.fsrcnn.Nothing") is None
    assert signature_parameters("vsr...etc.passwd") is None


def test_shared_keywords_of_the_data_modules_come_from_their_base_class() -> None:
    import inspect

    from vsr.data.base import SRDataModule
    from vsr.data.datamodules.images import ImageDataModule

    read = signature_parameters("vsr.data.datamodules.images.ImageDataModule")
    assert read is not None
    real = {**inspect.signature(SRDataModule).parameters, **inspect.signature(ImageDataModule).parameters}
    assert set(read) == set(real) - {"shared"}
    assert {name for name, parameter in read.items() if parameter.required} == {"scale", "degradation", "recipe"}
    assert read["memory"].accepts(0.5)
    assert not read["memory"].accepts("much")
