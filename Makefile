# `make train` and `make test` are all there is to do on a fresh machine; both install first.
PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin/python

.PHONY: help train test test-all movies tables leaderboard pretrained device-check lint clean

help:
	@echo "make train     install, then python train.py model=fsrcnn data=climate"
	@echo "make test      install, then lint and the tests (minutes)"
	@echo "make test-all  the same, with tests marked long (an hour)"
	@echo "make movies    fetch the two movies of the report (needs a network)"
	@echo "make tables    the tables of the report, with all runs for them (40 minutes); TABLES=\"seeds=1\" and the like"
	@echo "make leaderboard  all networks at equal training budgets (a day); LEADERBOARD=\"only=1min data=[tide]\" for a part of it"
	@echo "make pretrained  train the weights that come with the package (half an hour)"
	@echo "make device-check  train, score and upscale on the accelerator, against the CPU (two minutes)"
	@echo "make clean     remove the virtual environment and caches"

# Torch first and alone, at the exact version: a range would let pip choose a build of several gigabytes. Exact versions are for
# the Python that they were made with; another one takes what the ranges of pyproject.toml allow.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	@if $(RUN) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; then \
	  $(RUN) -m pip install --quiet --disable-pip-version-check $$(grep '^torch==' constraints.txt) && \
	  $(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'; \
	else \
	  $(RUN) -m pip install --quiet --disable-pip-version-check -e '.[test]'; \
	fi
	@touch $@

train: $(VENV)/.installed
	$(RUN) train.py model=fsrcnn data=climate

test: $(VENV)/.installed lint
	$(RUN) -m pytest -m "not long"

test-all: $(VENV)/.installed lint
	$(RUN) -m pytest

movies: $(VENV)/.installed
	$(RUN) -m vsr fetch movies

tables: $(VENV)/.installed
	$(RUN) -m benchmarks.reproduction $(TABLES)

leaderboard: $(VENV)/.installed
	$(RUN) -m benchmarks.leaderboard $(LEADERBOARD)

pretrained: $(VENV)/.installed
	$(RUN) benchmarks/pretrain.py

device-check: $(VENV)/.installed
	$(RUN) benchmarks/device_check.py

lint: $(VENV)/.installed
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	$(VENV)/bin/lint-imports

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache .hypothesis
