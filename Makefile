# The commands of the course; `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help environment book pdf html.zip links lint test check test-hosts notebooks assignment lab bench lock clean

# Without compiled modules, which a variable can forbid, each import of MXNet takes twice as long.
RUN := PYTHONDONTWRITEBYTECODE= PYTHONPATH=. .venv/bin/python -m
# A thread for each process of the tests: together they take all cores.
PYTEST = OMP_NUM_THREADS=1 $(RUN) pytest --numprocesses=logical --dist=loadfile --no-loadscope-reorder
UV = $(or $(shell command -v uv),.uv/bin/uv)

help:  ## this list
	@grep -E '^[a-z.-]+:.*##' Makefile | sed -E 's/^([a-z.-]+):.*## /make \1\t/' | expand -t 17

environment:
	@python3 tools/environment.py

book: environment  ## render the book from the committed notebooks: _build/html/index.html
	@$(RUN) tools.render

pdf: book  ## the book as one PDF, for which Chromium has to be there: _build/densenet.pdf
	@$(RUN) tools.pdf

html.zip: book  ## the book as one archive, to read without a network: _build/html.zip
	@$(RUN) tools.archive

links: environment  ## try every external link of the book
	@.venv/bin/jupyter-book build . --quiet --builder linkcheck --path-output _build/links

test:  ## replay every notebook, test everything; ONLY=chapters/09 or ONLY=tests/unit runs a part
ifdef ONLY
	@$(MAKE) --no-print-directory environment
	@$(RUN) tools.dataset
	@$(PYTEST) $(or $(wildcard $(ONLY)*.ipynb),$(ONLY))
else
	@echo "Replaying every chapter and testing everything, in 10 to 20 minutes on two cores"
	@python3 tools/system_packages.py
	@$(MAKE) --no-print-directory environment
	@$(RUN) tools.browser
	@$(RUN) tools.dataset
	@$(MAKE) --no-print-directory --jobs=2 --output-sync lint book
	@$(PYTEST)
endif

lint: environment
	@$(RUN) ruff check . && $(RUN) ruff format --check . && .venv/bin/biome ci --colors=off --error-on-warnings && $(RUN) mypy

check: lint  ## lint, types and unit tests, without the book
	@$(RUN) tools.dataset
	@$(PYTEST) tests/unit

test-hosts: environment  ## run chapters in replicas of hosts and as on other processors, print the whole book, load the GPU build (4 GB, over two hours)
	@$(RUN) pytest tests -m all_hosts

notebooks: environment  ## execute the chapters whose source changed; NAME=03 executes one
	@$(RUN) tools.make_notebooks $(NAME)

ASSIGNMENTS ?= assignments
assignment: environment  ## make an assignment's notebooks and key; NAME=01_blocks, ASSIGNMENTS=folder of masters
	@$(RUN) grader build $(NAME) --masters $(ASSIGNMENTS)

lab: environment  ## open the chapters in JupyterLab
	@$(RUN) jupyterlab chapters $(if $(filter 0,$(shell id -u)),--allow-root)

bench: environment  ## measure side by side, under six hours; the status page shows the tables
	@for question in loader training accuracy memory seeds density family neighbours variants mnist distributed grading book; do \
	  $(RUN) benchmarks.$$question > _table && mv _table benchmarks/$$question.txt && cat benchmarks/$$question.txt || exit 1; \
	done

LOCK_WHEELS = $(UV) pip compile --quiet --no-deps --no-annotate --generate-hashes -
lock: environment  ## pin again all that requirements.txt and requirements-dev.txt need
	@$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	  requirements.txt requirements-dev.txt -o requirements.lock
	@grep -E '^(mxnet|d2l)==' requirements.txt | $(LOCK_WHEELS) -o utils/mxnet_cpu.lock
	@(grep '^d2l==' requirements.txt; cat utils/mxnet_gpu.txt) | $(LOCK_WHEELS) -o utils/mxnet_gpu.lock
	@$(LOCK_WHEELS) -o utils/onnx.lock < utils/onnx.txt
	@$(UV) pip compile --quiet --no-annotate --python-version 3.11 --python-platform x86_64-manylinux_2_28 --generate-hashes \
	  --find-links $(or $(PIP_FIND_LINKS),https://download.pytorch.org/whl/cpu/torch/) tools/frameworks.txt -o tools/frameworks.lock

clean:  ## remove what the other commands made
	rm -rf .venv .venv.lock .frameworks .frameworks.lock .uv .uv.part _build _table .pytest_cache .ruff_cache .mypy_cache
