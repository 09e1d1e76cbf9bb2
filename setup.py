"""The packages of the wheel; all other metadata is in pyproject.toml. conf/ at the top level is the package vsr.conf."""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["vsr", "vsr.*"]), "vsr.conf"], package_dir={"vsr.conf": "conf"})
