# make run: runs the daily flow on the bundled sample. make test: runs the tests. make check: checks style, types and layers.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL = $(BIN)/python -m pip install --disable-pip-version-check --progress-bar on -c constraints.txt
# So many processes run the tests. Of the slow ones, two start servers and workers and fill two cores; one mostly waits.
JOBS ?= 3
export DO_NOT_TRACK := 1
export PREFECT_SERVER_ANALYTICS_ENABLED := false

.PHONY: run test test-slow gpu check audit setup soak week coverage mutants serve screenshots clean

# Installs again when one of its sources changes. The stamps are written last, so a failed install is repeated.
$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else "candlecast needs Python 3.11, 3.12 or 3.13 (TensorFlow has no later one), this is " + sys.version.split()[0] + "; name another one: make run PYTHON=python3.13")'
	@echo "candlecast: installs what it needs into $(VENV): about 2.4 GB, in two to five minutes. Its progress:"
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) -e '.[cpu]'
	touch $@

# What the tests, checks and benchmarks need besides.
$(VENV)/.tested: $(VENV)/.installed
	@echo "candlecast: adds what its tests need: about 0.8 GB, in one to two minutes. Its progress:"
	$(INSTALL) -e '.[cpu,test]'
	touch $@

$(VENV)/.mutation: $(VENV)/.tested
	$(INSTALL) -e '.[cpu,test,mutation]'
	touch $@

setup: $(VENV)/.installed

run: export PREFECT_HOME := $(CURDIR)/.prefect
run: export CANDLECAST_SOURCE ?= sample
run: export CANDLECAST_SERIES ?= Coinbase_BTCUSD_d
run: $(VENV)/.installed
	$(BIN)/candlecast daily

serve: export PREFECT_HOME := $(CURDIR)/.prefect
serve: $(VENV)/.installed
	$(BIN)/candlecast serve

test: $(VENV)/.tested
	$(BIN)/python -m pytest -m "not slow and not gpu and not network" -n $(JOBS) --dist loadfile --no-loadscope-reorder

test-slow: $(VENV)/.tested
	$(BIN)/python -m pytest -m "slow and not gpu and not network" --timeout 1200 -n $(JOBS) --dist loadfile --no-loadscope-reorder

# Trains the networks of forty markets on a GPU, in a test and with the figures for docs/benchmarks.md; minutes.
# GPU_TFLOPS: the card's float32 limit, to show the share that is used.
gpu: $(VENV)/.tested
	$(BIN)/python -m pip uninstall --yes tensorflow-cpu
	$(INSTALL) -e '.[gpu,test]'
	$(BIN)/python -m pytest tests/models/lstm/test_card.py -m gpu
	$(BIN)/python benchmarks/training.py --pool-only $(if $(GPU_TFLOPS),--limit-tflops $(GPU_TFLOPS))

# Simulates a thousand days with faults and checks the database after each; takes more than an hour.
soak: export CANDLECAST_SOAK_DAYS = 1000
soak: $(VENV)/.tested
	$(BIN)/python -m pytest tests/flows/test_soak.py -m slow -s

# Runs seven days of `candlecast serve` and of a deployment under a time of day that jumps; needs cc and chromium.
week: export CANDLECAST_WEEK_DAYS = 7
week: $(VENV)/.tested
	$(BIN)/python -m pytest tests/flows/test_week.py -m slow -s

# Counts the lines and branches that make test runs, also in the processes that it starts (docs/suite.md).
coverage: $(VENV)/.tested
	$(BIN)/python -m pytest -m "not slow and not gpu and not network" --cov --cov-report=
	$(BIN)/python benchmarks/suite.py coverage

# Makes more than three thousand small changes to the code that decides which data a forecast sees, when a candle counts as
# closed, how forecasts are scored and which model serves, and lists those that no test notices (docs/suite.md). Each takes
# about a second.
MUTATED := "models.boosting.x__realised*" "models.lstm.fleet.x_targets_known*" "models.markets.*" "models.frames.x_closed_by*" \
	"models.history.*" "storage.candles.x_read*" "storage.candles.x__superseded*" "storage.candles.x_not_before*" \
	"storage.source.closing.*" "storage.source.file.x*_shows_closed*" "models.arrivals.x_final_after*" \
	"storage.source.times.x*_choose*" "storage.source.times.x*_compare*" "storage.source.times.x*_require_no_rounding*" \
	"tasks.steps.ingest.x__fetch*" "tasks.steps.ingest.x__made_at*" "tasks.steps.ingest.x__learnt*" \
	"tasks.steps.chance.x__row*" "models.evidence.*" "models.paths.*" "tasks.steps.paths.x*_known_closes*" \
	"models.tutorial.windows.*" "models.accuracy.*" "models.metrics.*" "models.gate.*" "tasks.steps.score.*" "tasks.steps.gate.*" \
	"storage.scores.*" "storage.candles.x_latest*" "storage.candles.x_newest*" "storage.candles.x_closed*" \
	"storage.forecasts.x_missing*" "storage.forecasts.x_read*" "storage.forecasts.x__conditions*" "storage.forecasts.x__like*"
mutants: $(VENV)/.mutation
	rm -rf mutants
	$(BIN)/mutmut run --max-children $(JOBS) $(MUTATED)
	$(BIN)/python benchmarks/suite.py mutants

check: $(VENV)/.tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Checks the installed packages and the code for security, as far as this is possible without a network (SECURITY.md).
audit: $(VENV)/.tested
	$(BIN)/python benchmarks/audit.py
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive candlecast flows tasks models storage

clean:
	rm -rf $(VENV) .venv-peers .prefect candlecast.db* reports mutants

# Takes pictures of the page in every state, in a real browser.
screenshots: $(VENV)/.tested
	$(BIN)/python tests/support/screenshots.py
