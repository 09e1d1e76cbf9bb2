"""What is installed is what pyproject.toml asks for, and that is safe: older versions ran code from files, or were malicious."""

from __future__ import annotations

import tomllib
from importlib.metadata import PackageNotFoundError, version

import h5py
import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.fakes import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = [line for lines in PROJECT["optional-dependencies"].values() for line in lines]
REQUIRED = {one.name: one for one in map(Requirement, [*PROJECT["dependencies"], *EXTRAS]) if one.name != PROJECT["name"]}
PINS = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if "==" in line)
# The newest version that must not be had, and why.
UNSAFE = {
    "torch": ("2.9.1", "CVE-2026-24747: a checkpoint read with weights_only corrupts memory"),
    "lightning": ("2.6.5", "CVE-2026-58659: a checkpoint names what is called; 2.6.2 and 2.6.3 were malicious"),
    "pytorch-lightning": ("2.6.5", "the same, under the name that lightning asks for"),
    "hydra-core": ("1.3.6", "GHSA-mwj6-rfh8-7qf4: a config names what is called"),
    "h5py": ("3.15.1", "comes with an HDF5 before 2.0, which files can crash"),
}


@pytest.mark.parametrize("name", REQUIRED)
def test_what_is_installed_is_what_is_asked_for(name: str) -> None:
    try:
        installed = version(name)
    except PackageNotFoundError:
        pytest.skip("an extra that is not installed")
    assert REQUIRED[name].specifier.contains(installed, prereleases=True), f"{name} {installed}: pip install -c constraints.txt"


@pytest.mark.parametrize("name", UNSAFE)
def test_unsafe_versions_are_neither_allowed_nor_pinned_nor_installed(name: str) -> None:
    newest, why = UNSAFE[name]
    assert not REQUIRED[name].specifier.contains(newest), f"{name} {newest}: {why}"
    assert Version(PINS[name]) > Version(newest), why
    assert Version(version(name)) > Version(newest), why


def test_hdf5_itself_is_a_safe_one() -> None:
    assert Version(h5py.version.hdf5_version) >= Version("2.0.0")


def test_every_requirement_has_a_floor_and_an_end() -> None:
    in_years = ("xarray", "dask", "distributed", "furo", "s3fs", "gcsfs")
    for name, one in REQUIRED.items():
        operators = {each.operator for each in one.specifier}
        assert ">=" in operators, name
        assert operators & {"<", "!="} or name in in_years, name
