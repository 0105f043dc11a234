# Every command sets up what it needs first: a virtual environment in the checkout (versions locked, hashes checked),
# and, as root, system tools through apt. LAB_APT=no leaves the system alone.

SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python -m
ARGS ?=
S ?=
N ?= 50
LESSON_LANG ?= en
HTML ?=
FILE ?=
BEFORE ?= host
export PATH := $(PATH):/usr/sbin:/sbin
unexport PYTHONDONTWRITEBYTECODE # without cached bytecode every worker would compile every library anew

WHICH = test -n "$(S)" || { echo "Which? Hint: make $@ S=close_with_unread_data (make list shows all)" >&2; exit 2; }

.PHONY: scenarios named lesson quiz step list explain whatif diagnose large test check stress ablate bench screenshot readme ladders \
	setup tools help clean

scenarios: named setup ## play all scenarios, or one: S=close_with_unread_data
	$(RUN) pytest $(if $(S),$(wildcard scenarios/*/$(S).py),scenarios/ -n auto) $(ARGS)

lesson: named setup ## play one scenario as a lesson: S=close_with_unread_data; LESSON_LANG=zh: in Chinese, HTML=out.html: write a page
	@$(WHICH)
	@$(RUN) harness lesson $(S) --lang $(LESSON_LANG) $(if $(HTML),--html "$(HTML)") $(ARGS)

quiz: named setup ## ask what will happen, play it, and show the verdict and the diagram
	@$(WHICH)
	@$(RUN) harness quiz $(S) --lang $(LESSON_LANG) $(ARGS) || test $$? = 6 # a wrong answer is not an error

step: named setup ## play one scenario, wait for Enter before each step, and show how to look inside
	@$(WHICH)
	@$(RUN) harness step $(S) --lang $(LESSON_LANG) $(ARGS)

list: setup ## list all scenarios: symptom, claim, rows of the articles, sysctls that govern them
	@$(RUN) harness list --lang $(LESSON_LANG) $(ARGS)

explain: setup ## report what each sysctl in FILE would do here; BEFORE=host, kernel, reference or a file
	@test -n "$(FILE)" || { echo "Which file? Hint: make explain FILE=/etc/sysctl.d" >&2; exit 2; }
	@$(RUN) harness explain --before "$(BEFORE)" $(ARGS) $(FILE)

whatif: setup ## report what the sysctls in FILE would change here; BEFORE=host, kernel, reference or a file
	@test -n "$(FILE)" || { echo "Which file? Hint: make whatif FILE=99-tuning.conf" >&2; exit 2; }
	@$(RUN) harness whatif --before "$(BEFORE)" $(ARGS) $(FILE) || { s=$$?; test $$s = 1 || exit $$s; } # 1: something changed, which is not an error of make

diagnose: setup ## report which of the lessons' faults this machine has now; ARGS="--pid PID", "--netns NAME", "--from DIR"
	@$(RUN) harness diagnose $(ARGS) || { s=$$?; test $$s = 1 -o $$s = 3 || exit $$s; } # 1: found, 3: possible; no errors of make

named:
	@test -z "$(S)" || test -n "$(wildcard scenarios/*/$(S).py)" || { \
		echo "There is no scenario $(S). Hint: set S to one of $(notdir $(basename $(wildcard scenarios/*/*.py)))" >&2; \
		exit 2; }

large: setup ## play the scenario at full size, which uses up 28,232 ports
	$(RUN) pytest scenarios/ -m large $(ARGS)

# Two workers for each processor: some of these tests start many processes themselves.
test: setup ## run the project's own tests
	PYTEST_XDIST_AUTO_NUM_WORKERS=$$((2 * $$(nproc))) $(RUN) pytest tests/ -n auto $(ARGS)

check: setup ## check format, lint, types and import rules
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	$(RUN) mypy
	$(VENV)/bin/lint-imports --no-logo 2>&1 | sed -n '/^Contracts$$/,$$p'; exit $${PIPESTATUS[0]}

stress: setup ## play all scenarios N times next to busy loops; ARGS="--tests --loops 4": the tests, "--side-by-side 2": two at once
	$(RUN) tests.stress $(N) $(ARGS)

ablate: named setup ## remove each input of each scenario in turn, and report what no test misses; S= for one scenario
	$(RUN) tests.ablation $(S)

bench: setup ## measure the cost of a scenario, of explain, of test collection and of the capture; an exceeded limit exits with 1
	$(RUN) tests.bench

screenshot: setup ## make the picture in the README again
	$(RUN) tests.screenshot

readme: setup ## generate again the parts of the README and of docs/ that show real runs
	$(RUN) tests.readme

ladders: named setup ## record again, in tests/ladders/, what is the same in every run of each lesson; S= for one scenario
	$(RUN) tests.ladders $(S)

setup: tools $(VENV)/ready

$(VENV)/ready: requirements.lock
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or later is needed, this is " + \
		sys.version.split()[0] + ". Hint: make PYTHON=python3.12")'
	$(PYTHON) -m venv --clear $(VENV)
	$(RUN) pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	@touch $@

tools:
	@PYTHON="$(PYTHON)" harness/tools.sh

help: ## print this list
	@sed -n 's/^\([a-z]*\):.*## /make \1: /p' Makefile

clean:
	rm -rf $(VENV) .tools
