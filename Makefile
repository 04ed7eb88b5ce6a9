# The same commands for people and for CI. Each does all its own set-up.
PYTHON ?= python3
BIN := .venv/bin
export YOLO_OFFLINE := 1
export YOLO_AUTOINSTALL := 0
# Where it is set, as in images of containers, each of hundreds of processes compiles all its libraries anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo test soak bench check screenshots format clean

setup: .venv/ready ## virtual environment and system packages

.venv/ready: pyproject.toml constraints.txt apt.txt tests/node/package.json .ci/setup
	PYTHON=$(PYTHON) .ci/setup

demo: setup ## train, release, and run a shift of 100 simulated parts
	$(BIN)/inspection demo $(DEMO)

ifdef TEST
test: setup ## the whole test suite, or TEST='what pytest should be told'
	$(BIN)/pytest $(TEST)
else
test: setup
	@rm -f .pytest_cache/failed.txt; failed=0; \
	$(BIN)/pytest -n 2 --dist loadfile tests/unit tests/contract tests/web tests/integration || failed=1; \
	$(BIN)/pytest -n 2 --dist loadfile tests/line tests/e2e --ignore tests/line/test_shift.py || failed=1; \
	$(BIN)/pytest tests/line/test_shift.py || failed=1; \
	if [ -s .pytest_cache/failed.txt ]; then echo "What failed:"; cat .pytest_cache/failed.txt; fi; \
	exit $$failed
endif

soak: setup ## the long versions: 1,000 parts at a 150 ms takt, 60 kills, a fault at every system call
	$(BIN)/python tests/soak.py $(SOAK)
	$(BIN)/pytest -m soak

BENCH ?= bench-data
bench: setup ## every benchmark in short form; writes docs/performance.md
	$(BIN)/inspection bench line --work $(BENCH) --json $(BENCH)/short/line.json --plot $(BENCH)/short/line.png
	$(BIN)/inspection bench line --work $(BENCH) --activation hardswish --json $(BENCH)/short/line-hardswish.json
	$(BIN)/inspection bench hold --work $(BENCH) --minutes 2 --json $(BENCH)/short/hold.json
	$(BIN)/inspection bench runtime --work $(BENCH) --json $(BENCH)/short/runtime.json --plot $(BENCH)/short/runtime.png
	$(BIN)/inspection bench runtime --work $(BENCH) --activation hardswish --json $(BENCH)/short/runtime-hardswish.json
	$(BIN)/inspection bench service --work $(BENCH) --json $(BENCH)/short/service.json --plot $(BENCH)/short/service.png
	$(BIN)/inspection bench store --work $(BENCH) --json $(BENCH)/short/store.json
	$(BIN)/inspection bench scale --work $(BENCH) --short --json $(BENCH)/short/scale.json --plot $(BENCH)/short/scale.png
	$(BIN)/inspection bench plc --work $(BENCH) --json $(BENCH)/short/plc.json
	$(BIN)/inspection bench train --work $(BENCH) --json $(BENCH)/short/train.json
	$(BIN)/inspection bench web --work $(BENCH) --results 20000 --short --json $(BENCH)/short/web.json
	$(BIN)/inspection bench report $(BENCH)/short docs/performance.md

check: setup ## style, types, import contracts, docs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/pytest -q tests/unit/test_house.py tests/unit/test_docs.py

screenshots: setup ## every page in both languages and two sizes, as PNG files in screenshots/
	$(BIN)/python tests/web_screenshots.py screenshots

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv demo-data bench-data runs .pytest_cache .ruff_cache .hypothesis
