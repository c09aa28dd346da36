# One word per task. Targets install what they need; a second call skips what is done.
#
#   make repro   the whole pipeline: pairs → trained, evaluated, exported, registered generator
#   make test    the fast tests
#   make help    the rest

PYTHON ?= python3
# auto: the builds in the lock (CUDA); cpu: CPU builds of torch and torchvision
TORCH ?= auto

VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
SETUP := $(VENV)/.setup-$(TORCH)
RUN := PATH="$(CURDIR)/$(BIN):$$PATH"

# as pipeline_steps/base/operating_system.py says it, but before anything is installed
ifneq ($(shell uname -s),Linux)
ifneq ($(filter-out help,$(MAKECMDGOALS)),)
$(error Image-Colorizer's pipeline needs Linux: it uses Linux's signals, process groups and memory limits (on Windows: WSL 2); colorizer itself runs here: pip install '.[serve]', then colorize --help)
endif
endif

# What is given on the command line reaches commands by the environment, unexpanded: a path may hold
# any character.
export ARG_PAIRS := $(value PAIRS)
export ARG_PARAMS := $(value PARAMS)
export ARG_SET := $(value SET)
export ARG_MODEL := $(value MODEL)
export ARG_VERSION := $(value VERSION)
export ARG_PORT := $(value PORT)
export ARG_FROM := $(value FROM)
export ARG_TO := $(value TO)

.DEFAULT_GOAL := help
.PHONY: help setup repro summary test test-slow check format lock mlflow plots kaggle archive experiment \
	register bundle serve deploy passwords stack retrain promote rollback history faults audit studio

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

setup: $(SETUP) ## install everything into .venv, at the versions in requirements.lock

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11, 3.12 or 3.13 is needed, this is " + sys.version.split()[0] + "; set PYTHON=python3.12" if not (3, 11) <= sys.version_info < (3, 14) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

# relocatable: the commands in it find Python next to themselves, and the project four folders up, so
# that the folder can be renamed, moved or copied; what an earlier release installed is installed anew
ifneq ($(shell grep -Ls '^relocatable' $(VENV)/pyvenv.cfg),)
.PHONY: $(SETUP)
endif

# bytecode is compiled once here: where Python may not write it, each process would compile anew
$(SETUP): requirements.lock pyproject.toml | $(UV)
	@grep -qs '^relocatable' $(VENV)/pyvenv.cfg || { rm -f $(VENV)/.setup-*; \
		find $(VENV)/lib/python3*/site-packages -mindepth 1 -maxdepth 1 \
			! -name pip ! -name 'pip-*' ! -name uv ! -name 'uv-*' -exec rm -rf {} + ; \
		$(UV) venv --quiet --relocatable --allow-existing --python $(PYTHON) $(VENV); \
		sed -i '/^uv = /d' $(VENV)/pyvenv.cfg; }  # which would let `uv pip sync` remove uv
ifeq ($(TORCH),cpu)
	grep -vE '^(nvidia-|cuda-|triton)' requirements.lock > $(VENV)/requirements-cpu.lock
	$(UV) pip sync --quiet --compile-bytecode --python $(BIN)/python --torch-backend cpu $(VENV)/requirements-cpu.lock
else
	$(UV) pip sync --quiet --compile-bytecode --python $(BIN)/python requirements.lock
endif
	$(UV) pip install --quiet --python $(BIN)/python --no-deps \
		--config-settings editable_mode=compat --editable .
	@for file in $(VENV)/lib/python3*/site-packages/__editable__.*.pth; do echo ../../../.. > "$$file"; done
	@test -d .git || $(BIN)/dvc config --local core.no_scm true
	@rm -f $(VENV)/.setup-*
	@touch $@

repro: setup ## run every stage that isn't up to date, register the model, print a summary
	@$(RUN) python -m pipeline_steps params
	@$(RUN) python -m pipeline_steps dvc_lock
	@$(RUN) dvc repro
	@$(RUN) python -m pipeline_steps register
	@$(RUN) python -m pipeline_steps summary

summary: setup ## print the results of the last run
	@$(RUN) python -m pipeline_steps summary

test: setup ## the fast tests
	$(RUN) python -m pytest -n 2 --dist loadfile

test-slow: setup ## the slow tests: the whole pipeline, faults, a real Prefect server
	$(RUN) python -m pytest -m slow -n 3 --dist loadfile --no-loadscope-reorder

faults: setup ## all fault tests in full: kills, full disks, dead servers, hostile files (47 minutes)
	@mkdir -p reports && rm -f reports/faults.txt
	$(RUN) FAULTS=full FAULTS_REPORT=$(CURDIR)/reports/faults.txt python -m pytest -m slow -n 2 --dist loadfile tests/faults
	@sort reports/faults.txt

check: setup ## ruff, ruff format, mypy and import-linter, as CI runs them
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy
	$(RUN) lint-imports

format: setup ## fix and format the code with ruff
	$(RUN) ruff check --fix .
	$(RUN) ruff format .

lock: $(UV) ## update requirements.lock to the newest allowed versions
	$(UV) pip compile --quiet --upgrade --universal --no-annotate --no-header \
		--no-emit-index-url --extra dev pyproject.toml -o requirements.lock

mlflow: setup ## open the MLflow UI on the embedded database, loopback only: make mlflow [PORT=5000]
	@$(RUN) python -m pipeline_steps mlflow_ui $${ARG_PORT:+--port "$$ARG_PORT"}

studio: setup ## the web studio on loopback: make studio [MODEL=models:/sketch-colorizer@champion] [PORT=8000]
	@$(RUN) colorize studio $${ARG_MODEL:+--model "$$ARG_MODEL"} $${ARG_PORT:+--port "$$ARG_PORT"}

audit: $(UV) ## check the locked versions for known vulnerabilities (needs the internet)
	$(UV) tool run pip-audit --strict --no-deps --disable-pip --requirement requirements.lock

plots: setup ## write curves, strips and grids to dvc_plots/index.html
	@$(RUN) dvc plots show

kaggle: setup ## train on the Kaggle set, with params/kaggle.yaml [SET="train.epochs=40"]
	@$(RUN) python -m pipeline_steps experiment params/kaggle.yaml --set "$$ARG_SET"
	@$(RUN) python -m pipeline_steps summary

archive: setup ## train on your own pairs: make archive PAIRS=pairs.zip [PARAMS=params/archive.yaml] [SET=…]
	@test -n "$$ARG_PAIRS" || { echo "PAIRS is missing: make archive PAIRS=pairs.zip" >&2; exit 2; }
	@$(RUN) python -m pipeline_steps experiment "$${ARG_PARAMS:-params/archive.yaml}" \
		--pairs "$$ARG_PAIRS" --set "$$ARG_SET"
	@$(RUN) python -m pipeline_steps summary

register: setup ## make the current model, or one trained elsewhere, the candidate: make register [FROM=colorizer.zip]
	@$(RUN) python -m pipeline_steps register $${ARG_FROM:+--from "$$ARG_FROM"}

bundle: setup ## zip the current model and its training's record, to register it elsewhere: make bundle [TO=colorizer.zip]
	@$(RUN) python -m pipeline_steps bundle $${ARG_TO:+"$$ARG_TO"}

serve: setup ## Prefect on this machine: its UI, and retraining on a schedule: make serve [PORT=4200]
	@$(RUN) python -m flows.serve $${ARG_PORT:+--port "$$ARG_PORT"}

deploy: setup ## send prefect.yaml to the Prefect server in use, removing nothing unasked: make deploy [REPLACE=1]
	@$(RUN) python -m flows.deploy $(if $(REPLACE),--replace)

passwords: setup ## make deploy/.env, the stack's passwords, unless it is there
	@$(RUN) python -m deploy.passwords

stack: setup ## a team's servers and worker on this machine, without containers: docs/scale.md
	@exec env $(RUN) python -m deploy.stack

retrain: setup ## retrain once, now: make retrain [SET="train.epochs=30"]
	@$(RUN) python -m flows.retrain --set "$$ARG_SET"

promote: setup ## make a version champion if it is better: make promote [VERSION=7]
	@$(RUN) python -m flows.promote $${ARG_VERSION:+"$$ARG_VERSION"}

rollback: setup ## return to the previous champion: make rollback [VERSION=5]
	@$(RUN) python -m flows.rollback $${ARG_VERSION:+--to "$$ARG_VERSION"}

history: setup ## list every decision about the champion
	@$(RUN) python -m flows.history

experiment: setup ## train with other params: make experiment PARAMS=params/archive.yaml [SET=…]
	@test -n "$$ARG_PARAMS" || { echo "PARAMS is missing: make experiment PARAMS=my.yaml" >&2; exit 2; }
	@$(RUN) python -m pipeline_steps experiment "$$ARG_PARAMS" --set "$$ARG_SET"
	@$(RUN) python -m pipeline_steps summary
