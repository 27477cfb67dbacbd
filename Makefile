# make repro   set up and play the whole game
# make test    set up and run all tests; `make quick` leaves out the slow ones
# make check   format, lint, types
# make fuzz    100,000 damaged files for every reader, half an hour
# make hermetic   every stage alone with what it declares; part of make test
# make reproduce  two clones, two runs, the same bytes; part of make test; APO_FULL=1 plays the whole game twice
# make inspect   what is in a file of yours: DATA=file.jsonl; MODEL=folder for tokens, KIND=, SHAPE=, MAP='prompt=question', JSON=1
# make big     time and memory of the stages that read rows, up to a million of them, an hour; SIZES='10000 100000'
# make preset   the parameters of a preset: NAME=demo, hh_1b or paper
# make interop  checkpoints and files in the code of others: transformers, TRL, RewardBench; part of make test
# make bench   time and memory beside other ways; DATA=file.jsonl for your comparisons, QUICK=1 for a look
# make study   small games over many seeds, docs/results.md and docs/when.md from them, and what so many seeds can decide; hours, at low
#              priority; SETS='alignment transfer' for some sets of games, QUICK=1 for a trial
PYTHON ?= python3
# As many files of tests at a time as there are cores, up to four, and one thread for each: more of them would wait for each other.
TESTS := APO_THREADS=1 OMP_NUM_THREADS=1 python -m pytest -n logical --maxprocesses 4 --dist loadfile
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: repro test quick fuzz check format setup hermetic reproduce inspect preset interop bench big study
setup: .venv/installed .dvc/plots/page.html

.venv/installed: requirements.txt constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
	  { echo 'error: $(PYTHON) is not Python 3.11; say which is: make PYTHON=python3.11 ...'; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --quiet -r requirements.txt
	@touch $@

# The page of `dvc plots`, with the scripts of Vega inside.
.dvc/plots/page.html: .venv/installed apo/plots/html_template.py apo/plots/html_template.html
	$(BIN)/python -m apo.plots.html_template $@

repro: setup
	dvc repro

quick: setup
	$(TESTS) -m "not slow and not fuzz"

test: setup .venv/rewardbench
	$(TESTS) -m "not slow and not fuzz"
	$(TESTS) -m slow

fuzz: setup
	python -m pytest -m fuzz

hermetic: setup
	python -m pytest tests/pipeline/test_hermetic.py

reproduce: setup
	python -m pytest tests/pipeline/test_reproduce.py

inspect: setup
	@python -m apo.inspection $(DATA) $(if $(MODEL),--tokenizer $(MODEL)) $(if $(KIND),--as $(KIND)) $(if $(SHAPE),--shape $(SHAPE)) \
	  $(if $(MAP),--columns $(MAP)) $(if $(JSON),--json)

preset: setup
	@python -m apo.preset $(NAME)

interop: setup .venv/rewardbench
	python -m pytest tests/pipeline/test_interop.py

# It asks for an older transformers, so it comes without what it asks for, into a folder of its own.
.venv/rewardbench: tests/rewardbench.requirements.txt
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --quiet --no-deps --upgrade --target $@ -r $<
	@touch $@

bench: setup
	python -m benchmarks $(DATA) $(if $(QUICK),--quick)

big: setup
	python -m benchmarks.big $(or $(SIZES),10000 100000 1000000)

study: setup
	python -m study $(if $(QUICK),--quick) $(if $(SETS),--sets $(SETS))

check: setup
	ruff format --check .
	ruff check .
	mypy

format: setup
	ruff format .
	ruff check --fix .
