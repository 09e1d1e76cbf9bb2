# On a fresh machine, type `make train` or `make test`: both first install the package into $(VENV).
PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin/python

.PHONY: help train test test-all movies tables leaderboard pretrained device-check docs lint clean

help:
	@echo "make train         install, then run python train.py model=fsrcnn data=climate"
	@echo "make test          install, lint, and run the tests (minutes)"
	@echo "make test-all      like make test, and run the tests marked long, too (an hour)"
	@echo "make movies        fetch the two movies of the report (needs internet access)"
	@echo "make tables        make the tables of the report, with all runs for them (40 minutes); options: TABLES=\"seeds=1\""
	@echo "make leaderboard   compare all networks at equal training budgets (a day); a part: LEADERBOARD=\"only=1min data=[tide]\""
	@echo "make pretrained    train the weights that are part of the package (half an hour)"
	@echo "make device-check  train, score and upscale on the accelerator and compare with the CPU (two minutes)"
	@echo "make docs          build the site of the documentation; vsr docs opens it"
	@echo "make lint          check style, types and the import rules"
	@echo "make clean         remove the virtual environment and caches"

# Torch is installed first and with an exact version, because with a range pip may choose a build of several gigabytes. The exact
# versions in constraints.txt are for Python 3.11; another Python gets versions within the ranges of pyproject.toml.
$(VENV)/.installed: pyproject.toml setup.py constraints.txt
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

docs: $(VENV)/.installed
	$(RUN) -m sphinx -b html -W --keep-going -q -c docs/site docs build/site
	@echo "build/site/index.html: written"

lint: $(VENV)/.installed
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	$(VENV)/bin/lint-imports

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache .hypothesis
