.PHONY: demo test check lab docs lint format bench full lock setup
export OMP_NUM_THREADS ?= $(shell nproc 2>/dev/null || sysctl -n hw.ncpu)

demo: .venv/ready        ## the main job on real images: cross-entropy against SMP on mislabelled digits
	.venv/bin/python tools/demo.py $(if $(PARAMETERS),--parameters $(PARAMETERS))

test: .venv/ready        ## style, types, every test, and the notebooks
	.venv/bin/ruff check && .venv/bin/ruff format --check && .venv/bin/mypy && OMP_NUM_THREADS=1 .venv/bin/python -m pytest -n auto --dist loadfile --nbval-lax --nbval-current-env --nbval-cell-timeout 600 tests notebooks

check: .venv/ready       ## style, types, and the tests that take less than ten seconds each
	.venv/bin/ruff check && .venv/bin/ruff format --check && .venv/bin/mypy && OMP_NUM_THREADS=1 .venv/bin/python -m pytest -n auto --dist loadfile -m "not slow" tests

lab: .venv/ready         ## JupyterLab on this machine only, with its token, on copies: the lessons stay as they are
	mkdir -p runs/lessons && for lesson in notebooks/*.ipynb; do [ -e "runs/lessons/$${lesson##*/}" ] || cp "$$lesson" runs/lessons/; done; cp -R notebooks/solutions runs/lessons/
	@echo "Your copies lie in runs/lessons; delete one to get it anew."
	.venv/bin/jupyter lab --ip 127.0.0.1 runs/lessons

docs: .venv/ready        ## the site, in docs/_build/html; needs no network, and a warning is an error
	.venv/bin/python -m sphinx -q -W --keep-going -d docs/_build/doctrees -c docs . docs/_build/html

lint: .venv/ready        ## style and types alone
	.venv/bin/ruff check && .venv/bin/ruff format --check && .venv/bin/mypy

format: .venv/ready      ## put style right
	.venv/bin/ruff check --fix && .venv/bin/ruff format

bench: .venv/ready       ## each figure against its limit; fails if one is over
	.venv/bin/python -m benchmarks.run

full: .venv/ready        ## the paper's table on real data: make full CLOTHING1M=FOLDER FOOD101N=FOLDER FOOD101=FOLDER
	$(if $(CLOTHING1M)$(FOOD101N),,$(error name the data: make full CLOTHING1M=FOLDER, or FOOD101N=FOLDER FOOD101=FOLDER))
	$(if $(CLOTHING1M),.venv/bin/dsl-teach sweep notebooks/configs/sweeps/clothing1m_full.yaml --set data_root=$(abspath $(CLOTHING1M)) $(SWEEP))
	$(if $(FOOD101N),.venv/bin/dsl-teach sweep notebooks/configs/sweeps/food101n_full.yaml --set data_root=$(abspath $(FOOD101N)) --set test_root=$(abspath $(FOOD101)) $(SWEEP))

lock:                    ## exact versions with hashes, for all platforms
	uv pip compile --universal --generate-hashes --extra dev --python-version 3.11 pyproject.toml -o requirements.lock

setup: .venv/ready       ## only make .venv
.venv/ready: requirements.lock pyproject.toml tools/setup.sh
	sh tools/setup.sh
