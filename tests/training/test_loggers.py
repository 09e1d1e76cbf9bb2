"""Loggers: several at once, resumed runs, and services in their offline modes."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.metadata import (
    SESSION_END_INFO_TAG,
    SESSION_START_INFO_TAG,
    parse_session_start_info_plugin_data,
)

from tests.fakes import ROOT, TINY_CLIMATE, compose_config, train_here
from tests.processes import run_process
from vsr.config.check import check_config
from vsr.errors import UserError
from vsr.training.loggers import CSV

QUICK = [*TINY_CLIMATE, "recipe.patch=8", "recipe.steps=2", "model=fsrcnn_s", "epochs=2", "patience=null"]


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_several_loggers_get_the_history_and_the_test_scores(tmp_path: Path) -> None:
    results = train_here(tmp_path, [*QUICK, "logger=[tensorboard,csv]"])
    rows = _rows(tmp_path / "metrics.csv")
    logged = [float(row["val/psnr"]) for row in rows if row["val/psnr"]]
    assert logged == pytest.approx([epoch["val/psnr"] for epoch in results["history"]], rel=1e-6)
    network = next(row for row in results["rows"] if row["method"] == "fsrcnn_s")
    assert float(rows[-1]["test/psnr"]) == pytest.approx(network["psnr"])
    assert "network: fsrcnn_s" in (tmp_path / "hparams.yaml").read_text()
    assert list(tmp_path.glob("events.out.tfevents.*"))


def _tensorboard(folder: Path) -> EventAccumulator:
    found = EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0})
    found.Reload()
    return found


def test_tensorboard_shows_the_network_beside_bicubic_and_linear(tmp_path: Path) -> None:
    results = train_here(tmp_path, QUICK)
    found = _tensorboard(tmp_path)
    curve = {tag: {point.step: point.value for point in found.Scalars(tag)} for tag in found.Tags()["scalars"]}
    assert list(curve["val/psnr"].values()) == pytest.approx([row["val/psnr"] for row in results["history"]])
    for method in ("bicubic", "linear"):
        for score in ("psnr", "ssim"):
            level = curve[f"val/{score}/{method}"]
            assert level.keys() == curve["val/psnr"].keys()
            assert len(set(level.values())) == 1
    assert curve["val/psnr/bicubic"][0] < curve["val/psnr/linear"][0]
    layout = found.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0]
    assert b"val/psnr/linear$" in layout
    assert all(min(points) > 0 or len(points) > 1 for points in curve.values())  # no point that stands alone at step 0
    assert max(curve["test/psnr"]) == 4
    assert [image.step for image in found.Images("val")] == [1, 2]


def test_tables_of_runs_in_tensorboard_show_what_was_typed(tmp_path: Path) -> None:
    typed = [*(part for part in QUICK if part != "epochs=2"), "epochs=1", "recipe.rate=0.002"]
    command = [sys.executable, "train.py", *typed, f"hydra.run.dir={tmp_path}"]
    assert run_process(command, cwd=ROOT, capture_output=True, text=True).returncode == 0
    tags = _tensorboard(tmp_path).summary_metadata
    contents = {tag: one.plugin_data.content for tag, one in tags.items() if one.plugin_data.plugin_name == "hparams"}
    assert contents.keys() == {SESSION_START_INFO_TAG, SESSION_END_INFO_TAG}  # TensorBoard finds out what differs by itself
    shown = parse_session_start_info_plugin_data(contents[SESSION_START_INFO_TAG]).hparams
    assert shown["rate"].number_value == 0.002
    assert shown["model"].string_value == "fsrcnn_s"
    assert {"data", "steps", "patch", "epochs"} <= set(shown)
    assert not {"seed", "schedule", "ema", "network", "init"} & set(shown)  # not typed


def test_a_resumed_csv_keeps_the_earlier_rows_and_drops_later_ones(tmp_path: Path) -> None:
    first = CSV(save_dir=str(tmp_path))
    for step in range(10):
        first.log_metrics({"loss": 1.0 * step}, step)
    first.save()
    resumed = CSV(save_dir=str(tmp_path), purge_step=6)
    resumed.log_metrics({"loss": -6.0, "rate": 0.5}, 6)
    resumed.save()
    rows = _rows(tmp_path / "metrics.csv")
    assert [(int(row["step"]), float(row["loss"])) for row in rows] == [*((k, float(k)) for k in range(6)), (6, -6.0)]
    assert [row["rate"] for row in rows] == [""] * 6 + ["0.5"]
    new = CSV(save_dir=str(tmp_path))
    new.log_metrics({"loss": 3.0}, 0)
    new.save()
    assert [row["loss"] for row in _rows(tmp_path / "metrics.csv")] == ["3.0"]


def test_a_csv_that_cannot_be_written_costs_the_file_and_not_the_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    logger = CSV(save_dir=str(tmp_path))
    logger.log_metrics({"loss": 1.0}, 0)
    (tmp_path / "metrics.csv").mkdir()
    for _ in range(2):
        logger.save()
    assert [record.message for record in caplog.records if "metrics.csv: cannot be written" in record.message] != []
    assert len(caplog.records) == 1


@pytest.mark.parametrize("service", ["wandb", "mlflow"])
def test_a_service_without_its_package_is_one_line(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vsr.config.check.find_spec", lambda name: None)
    with pytest.raises(UserError, match=rf"{service}: needs the package {service}; type pip install 'vsr-movies\[{service}\]'"):
        check_config(compose_config("train", [f"logger={service}"]))


def test_a_logger_must_have_a_config() -> None:
    with pytest.raises(UserError, match=r"is no config of logger; type logger=tensorboard, logger=\[tensorboard,csv\] or "):
        check_config(compose_config("train", ["logger=tensorboard", "+logger.other=3"]))


def test_wandb_works_offline_and_continues_with_a_resumed_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    typed = [*QUICK, "logger=wandb", "logger.wandb.offline=true"]
    train_here(tmp_path, typed)
    identity = (tmp_path / "wandb_run.txt").read_text()
    (tmp_path / "results.json").unlink()
    train_here(tmp_path, [*typed, "resume=auto"])
    assert (tmp_path / "wandb_run.txt").read_text() == identity
    assert len(list((tmp_path / "wandb").glob(f"offline-run-*-{identity.strip()}"))) >= 1


def test_mlflow_works_without_a_server_and_continues_with_a_resumed_run(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    typed = [*QUICK, "logger=mlflow", f"logger.mlflow.uri='{uri}'"]
    train_here(tmp_path / "run", typed)
    (tmp_path / "run" / "results.json").unlink()
    train_here(tmp_path / "run", [*typed, "resume=auto"])
    client = mlflow.MlflowClient(uri)
    [found] = client.search_runs([client.get_experiment_by_name("vsr").experiment_id])
    assert found.info.run_id == (tmp_path / "run" / "mlflow_run.txt").read_text().strip()
    assert "test/psnr" in found.data.metrics
    assert found.data.params["network"] == "fsrcnn_s"
