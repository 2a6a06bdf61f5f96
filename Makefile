# The commands of the course; `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help book pdf html.zip links test test-hosts notebooks assignment lab bench lock clean

UV ?= $(or $(shell command -v uv),.uv/bin/uv)
RUN := PYTHONPATH=. .venv/bin/python -m
LOCK_WHEELS = $(UV) pip compile --quiet --no-deps --no-annotate --generate-hashes -

help:  ## this list
	@grep -E '^[a-z.-]+:.*##' Makefile | sed -E 's/^([a-z.-]+):.*## /make \1\t/' | expand -t 17

book: .venv/installed  ## render the book from the committed notebooks: _build/html/index.html
	@.venv/bin/jupyter-book build . --quiet -W -n --keep-going

pdf: .venv/installed book  ## the book as one PDF, for which Chromium has to be there: _build/densenet.pdf
	@$(RUN) tools.pdf

html.zip: .venv/installed book  ## the book as one archive, to read without a network: _build/html.zip
	@$(RUN) tools.archive

links: .venv/installed book  ## try every external link of the book, and date those that work in tools/links.txt
	@$(RUN) tools.links

# A thread for each process of the tests: together they take all cores.
test: .venv/installed book  ## replay every notebook, test utils and the rendered book
	@$(RUN) tools.dataset
	@$(RUN) ruff check . && $(RUN) ruff format --check .
	@OMP_NUM_THREADS=1 $(RUN) pytest --numprocesses=logical --dist=loadfile --no-loadscope-reorder

test-hosts: .venv/installed  ## run chapters in replicas of Colab, Kaggle and a clone, and load the GPU build (4 GB, half an hour)
	@$(RUN) pytest tests/hosts -m ''

notebooks: .venv/installed  ## execute the chapters whose source changed; NAME=03 executes one
	@$(RUN) tools.make_notebooks $(NAME)

ASSIGNMENTS ?= assignments
assignment: .venv/installed  ## make an assignment's notebooks and key; NAME=01_blocks, ASSIGNMENTS=folder of masters
	@$(RUN) assignments.build $(ASSIGNMENTS) $(NAME)

lab: .venv/installed  ## open the chapters in JupyterLab
	@$(RUN) jupyterlab chapters

bench: .venv/installed  ## measure side by side, under two hours; the status page shows the tables
	@for question in loader training memory seeds family variants grading book; do \
	  $(RUN) benchmarks.$$question > _table && mv _table benchmarks/$$question.txt && cat benchmarks/$$question.txt || exit 1; \
	done

lock: $(UV)  ## pin again all that requirements.txt needs
	@$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes requirements.txt -o requirements.lock
	@grep -E '^(mxnet|d2l)==' requirements.txt | $(LOCK_WHEELS) -o utils/mxnet_cpu.lock
	@(grep '^d2l==' requirements.txt; cat utils/mxnet_gpu.txt) | $(LOCK_WHEELS) -o utils/mxnet_gpu.lock

clean:  ## remove what the other commands made
	rm -rf .venv .uv _build _table .pytest_cache .ruff_cache

.venv/installed: requirements.lock | $(UV)
	@echo "Making .venv with Python 3.11 and the packages of requirements.lock (about 800 MB, once)"
	@$(UV) venv --quiet --clear --python 3.11 .venv
	@$(UV) pip sync --quiet --python .venv/bin/python --require-hashes requirements.lock
	@touch $@

.uv/bin/uv:
	@python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --target .uv uv==0.13.9
