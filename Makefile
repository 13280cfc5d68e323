# make demo    the whole story in a few minutes on two cores: see demo/report.html
# make test    every test
# make fast    those that take a minute together
# Both make .venv from pinned constraints first; nothing else is needed than Python 3.11 or newer with venv.

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: soak demo test fast slow-tests lint types docs bench-pairwise bench-reward bench-check bench-games bench-families bench-generate bench-two-stage bench-optimizers bench-robust-mdp clean

demo: $(STAMP)
	$(BIN)/holdfast demo --out demo

test: $(STAMP)
	$(BIN)/python -m pytest -n auto

fast: $(STAMP)
	$(BIN)/python -m pytest -n auto -m "not slow"

slow-tests: $(STAMP)
	$(BIN)/python -m pytest -n auto --junitxml=.durations.xml
	$(BIN)/python -m tests.slow .durations.xml

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

docs: $(STAMP)
	$(BIN)/python -m holdfast.pages docs/methods
	$(BIN)/python -m holdfast.data.formats_page docs/reference/data-formats.md

bench-reward: $(STAMP)
	$(BIN)/python benchmarks/reward.py

bench-pairwise: $(STAMP)
	$(BIN)/python benchmarks/pairwise.py

bench-check: $(STAMP)
	$(BIN)/python benchmarks/check.py

bench-games: $(STAMP)
	$(BIN)/python benchmarks/games.py

soak: $(STAMP)
	$(BIN)/python benchmarks/soak.py --seed 0 --minutes 10

bench-families: $(STAMP)
	$(BIN)/python benchmarks/families.py --docs docs/families.md

bench-generate: $(STAMP)
	$(BIN)/python benchmarks/generate.py

# INSTANCES: a folder of published knapsacks as JSON lines; without it nothing is measured
bench-two-stage: $(STAMP)
	$(BIN)/python benchmarks/two_stage.py $(INSTANCES)

bench-optimizers: $(STAMP)
	$(BIN)/python benchmarks/optimizers.py

bench-robust-mdp: $(STAMP)
	$(BIN)/python benchmarks/robust_mdp.py

$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) not found; hint: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: Holdfast needs Python 3.11 or newer; hint: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

clean:
	rm -rf .venv build dist demo
