# make run: the page on http://127.0.0.1:7860. make test: the tests. Both set everything up first, from nothing.
PYTHON ?= python3
VENV ?= .venv
# Plain `torch` brings several GB of CUDA on Linux. Where a CPU wheel of this exact version is at hand, pip prefers it
# (2.13.0+cpu is newer than 2.13.0 to pip). TORCH_INDEX, if set, is the address of an index of CPU wheels.
TORCH ?= torch==2.13.0
TORCH_INDEX ?=
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: run test test-slow test-all check wheel-test format soundfonts clips reference results peers growth fuzz soak \
    mutations load patience clean

run: $(VENV)/.run
	$(BIN)/melformer serve

# Two files of tests at a time: each process computes in one thread.
test: $(VENV)/.dev
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile

# What takes longer: a browser, several processes, every signal on every command; two files at a time here too.
# test-all: the other tests as well.
test-slow: $(VENV)/.dev
	$(BIN)/python -m pytest -m slow -n 2 --dist loadfile

test-all: test test-slow

# Types, lint, the examples in docstrings and documents, and links that lead nowhere.
check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q --doctest-modules --doctest-glob='*.md' melformer docs README.md \
	    tests/test_documents.py

# The wheel, installed where nothing of this repository is: it continues a loop and serves the page.
wheel-test: $(VENV)/.run
	$(BIN)/python tools/check_wheel.py --torch "$(TORCH)"

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Sounds for `melformer corpus`, from soundfonts that are installed. Without its dependencies, since one of them
# (PyAudio) needs a compiler and plays to a sound card, which nothing here does.
soundfonts: $(VENV)/.run
	$(INSTALL) --no-deps tinysoundfont

# Tables and pictures of the documents from the measurements in docs/results.
results: $(VENV)/.run
	$(BIN)/python tools/make_results.py

# Commands and configuration in docs/reference, from the code.
reference: $(VENV)/.run
	$(BIN)/python tools/make_reference.py

# What the README lets people hear and see, again from the embedded checkpoint.
clips: $(VENV)/.run
	$(BIN)/python tools/make_clips.py

# docs/explanation/speed.md: speed and memory beside peers (in a virtual environment of its own), and as the work grows.
peers:
	TORCH="$(TORCH)" bash benchmarks/run

growth: $(VENV)/.run
	$(BIN)/python -m benchmarks.growth
	$(BIN)/python -m benchmarks.report

# Damaged and invented input for every reader, in child processes with caps (docs/explanation/reliability.md).
CASES ?= 100000
fuzz: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python tools/fuzz/fuzz.py --cases $(CASES)

# The page for an hour with scripted users: memory, latency and errors, in docs/soak.png.
MINUTES ?= 60
soak: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python tools/soak.py --minutes $(MINUTES)

# One guard after another taken away: which test notices (SECURITY.md). And a crowd at the page, in docs/load.png.
mutations: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python tools/mutations.py

load: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python tools/load.py

# Slow readers, half heads, events that nobody fetches and endless uploads, ten minutes of each, in docs/patience.png.
patience: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python tools/patience.py

clean:
	rm -rf $(VENV) benchmarks/.venv build *.egg-info .pytest_cache .ruff_cache .mypy_cache

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# A stamp is newer than what it was made from, so a second `make` installs nothing. If no TORCH of that version can
# be had (an older Python, another platform), the requirement's own range decides.
$(VENV)/.run: requirements.txt pyproject.toml setup.py | $(BIN)/python
	@echo "melformer: setting up $(VENV) (some minutes the first time)"
	$(INSTALL) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) "$(TORCH)" || echo "melformer: no $(TORCH) here; taking another"
	$(INSTALL) -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	$(INSTALL) -e ".[dev]"
	@touch $@
