# Every target sets itself up: needs Python 3.11 or 3.12, git, make and pip.
SHELL := /bin/bash
ARGS ?=
JOBS ?= 3
UV := $(shell command -v uv 2>/dev/null || echo .nextclick/uv/bin/uv)
BIN := .venv/bin
# what is installed there is replaced, so it must be an environment that make made
OURS = test -e .venv/installed -o -e .venv/made-by-make || { \
	  echo "expected .venv to be made by make, found one that was not: move it away" >&2; exit 1; }
INSTALL = $(OURS) && $(UV) pip sync -q --python .venv --require-hashes requirements/$(1).txt \
	&& $(UV) pip install -q --python .venv --no-deps -e . && cp requirements/$(1).txt .venv/installed

.PHONY: demo test redis-servers fuzz lint audit lock serving training docs profile bench-serving bench-start bench-freshness bench-globo bench-pipeline bench-trends bench-week bench-scenarios bench-profiles bench-assignment bench-attribution bench-capsule bench-cold-start bench-context bench-day-one bench-feedback bench-placements bench-arrivals bench-clicks bench-door bench-erasure bench-rescale bench-index bench-pair bench-replay bench-replay-globo bench-retrain client-types bench-collect bench-feed tag bench-campaign chaos chart image training-image image-check bench-rebuild bench-cluster bench-plan bench-shards bench-table-shards bench-snapshot-store bench-restore bench-relay

demo: serving
	@$(BIN)/nextclick demo $(ARGS)

# JOBS test files at a time, more than there are cores, as many tests wait; a file's tests stay together, with what they share
test: training
	@$(BIN)/pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

# state and log, and what needs a cluster, on servers that the lock files lack: Valkey and Redis 8
CLUSTER_TESTS = $(shell git grep -ln redis_cluster -- 'tests/**/test_*.py')
redis-servers: training
	@for folder in $$(UV=$(UV) .ci/redis-servers); do echo "== $$folder"; \
	  PATH="$$folder:$$PATH" TEST_REDIS_SERVERS="$$folder/redis-server" $(BIN)/pytest --numprocesses $(JOBS) --dist loadfile \
	    tests/state tests/eventlog $(CLUSTER_TESTS) -k "not redis-6 and not redis-7" $(ARGS) || exit 1; done

# inputs that nobody would send, to every decoder and to the API: docs/fuzzing.md
fuzz: training
	@$(BIN)/python -m tests.fuzz $(ARGS)

lint: training
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	cd clients/python && ../../$(BIN)/mypy --config-file pyproject.toml src
	$(BIN)/lint-imports

# the locked dependencies among known vulnerabilities; says so where no database can be reached
AUDIT = pip-audit==2.10.1
audit: training
	@$(BIN)/python .ci/audit.py $(UV) tool run --quiet $(AUDIT) --disable-pip --no-deps --progress-spinner off \
	  --timeout 10 --format json -r requirements/serving.txt -r requirements/training.txt

# figures of docs/benchmarks.md; each prints a table and writes build/bench/NAME.json
bench-freshness: serving
	@$(BIN)/nextclick bench freshness $(ARGS)

bench-globo: training
	@$(BIN)/nextclick bench globo $(ARGS)

bench-pipeline: serving
	@$(BIN)/python -m nextclick.bench.pipeline $(ARGS)

bench-scenarios: serving
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m nextclick.bench.scenarios $(ARGS)

bench-assignment: serving
	@$(BIN)/python -m nextclick.bench.assignment $(ARGS)

bench-attribution: serving
	@$(BIN)/python -m nextclick.bench.attribution $(ARGS)

bench-week: training
	@$(BIN)/python -m nextclick.bench.week $(ARGS)

bench-pair: serving
	@$(BIN)/python -m nextclick.bench.pair $(ARGS)

# what `nextclick plan` needs that no other benchmark tells, and what its predictions are compared with (docs/plan.md)
bench-plan: serving
	@$(BIN)/python -m nextclick.bench.plan $(ARGS)

bench-capsule: serving
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m nextclick.bench.capsule $(ARGS)
bench-rebuild: serving
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m nextclick.bench.rebuild $(ARGS)

bench-campaign: serving
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m nextclick.bench.campaign $(ARGS)

bench-cluster: serving
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m nextclick.bench.cluster $(ARGS)

bench-profiles: serving
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m nextclick.bench.profiles $(ARGS)

bench-table-shards: serving
	@$(BIN)/python -m nextclick.bench.table_shards $(ARGS)

bench-erasure: serving
	@$(BIN)/python -m nextclick.bench.erasure $(ARGS)
bench-rescale: serving
	@$(BIN)/python -m nextclick.bench.rescale $(ARGS)

bench-feed: serving
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m nextclick.bench.feed $(ARGS)

bench-feedback: serving
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m nextclick.bench.feedback $(ARGS)

bench-placements: serving
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m nextclick.bench.placements $(ARGS)

bench-arrivals: serving
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m nextclick.bench.arrivals $(ARGS)

bench-cold-start: serving
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m nextclick.bench.cold_start $(ARGS)

bench-retrain: training
	@$(BIN)/python -m nextclick.bench.retrain $(ARGS)

bench-context: training
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m nextclick.bench.context $(ARGS)

bench-day-one: serving
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m nextclick.bench.day_one $(ARGS)

bench-collect: serving
	@$(BIN)/python -m nextclick.bench.collect $(ARGS)

bench-clicks: serving
	@$(BIN)/python -m nextclick.bench.clicks $(ARGS)

bench-trends: serving
	@$(BIN)/python -m nextclick.bench.trends $(ARGS)

bench-index: serving
	@$(BIN)/nextclick bench index $(ARGS)

# --items 3M builds for hours of a core; --one-of builds one shard of each
bench-shards: serving
	@$(BIN)/python -m nextclick.bench.shards $(ARGS)

bench-replay: serving
	@$(BIN)/nextclick bench replay $(ARGS)

# 37 days of clicks at 1,000 times: 55 minutes
bench-replay-globo: serving
	@$(BIN)/nextclick bench replay-globo $(ARGS)

# where processor time goes, by process and stage, and flame graphs in build/profile (docs/performance.md)
profile: training
	@$(BIN)/nextclick bench profile $(ARGS)

bench-serving: serving
	@$(BIN)/nextclick bench serving $(ARGS)

bench-door: serving
	@$(BIN)/python -m nextclick.bench.door

bench-snapshot-store: serving
	@$(BIN)/python -m nextclick.bench.snapshot_store $(ARGS)

bench-restore: serving
	@$(BIN)/python -m nextclick.bench.restore $(ARGS)

# what trends cost Redis, a relay and the gateway processes of a machine, with a relay and without: docs/running.md
bench-relay: serving
	@$(BIN)/python -m nextclick.bench.relay $(ARGS)

bench-start: serving
	@$(BIN)/python -m nextclick.bench.start $(ARGS)

# faults at random moments under a real stack on both logs, compared with a plain reading of the log (docs/faults.md)
chaos: training
	@$(BIN)/python -m tests.chaos $(ARGS)

# what is generated in docs/
# what the gateway serves of the browser tag, from its source (docs/tag.md)
tag: training
	@$(BIN)/python -m tests.tag_made

docs: serving
	@$(BIN)/nextclick settings > docs/.settings.part && mv docs/.settings.part docs/settings.md
	@$(BIN)/nextclick features > docs/.features.part && mv docs/.features.part docs/features.md

# the document and the types of clients/js, from what the gateway says today; needs npm
# PYTHON=python:3.12-slim@sha256:... names the base; two builds of a commit then hold the same files
IMAGE = docker buildx build -f deploy/Dockerfile --build-arg PYTHON=$(or $(PYTHON),python:3.12-slim) \
	--build-arg SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) --output type=docker,rewrite-timestamp=true
image:
	$(IMAGE) -t nextclick .

training-image:
	$(IMAGE) --build-arg LIST=training -t nextclick-training .

# what the image's first stage does, twice, without Docker: are the files the same?
image-check: | $(UV)
	@UV=$(UV) python3 deploy/same_twice.py

chart: training
	@PYTHONPATH=. UV=$(UV) $(BIN)/python deploy/chart.py

client-types: serving
	@PYTHONPATH=. $(BIN)/python clients/js/make_document.py > clients/js/.openapi.part && mv clients/js/.openapi.part clients/js/openapi.json
	@cd clients/js && npm ci --no-fund --no-audit --ignore-scripts --silent && npm run -s types

# --target works where pip refuses to touch the system's Python, and needs no venv module
$(UV):
	@echo "uv is not on the path: installing it into .nextclick/uv"
	@python3 -m pip install -q --disable-pip-version-check --target .nextclick/uv uv

.venv/bin/python: | $(UV)
	@test ! -e .venv || { $(OURS); }
	@$(UV) venv -q --python '>=3.11,<3.13' .venv && touch .venv/made-by-make

# what serving needs, and nothing more
serving: .venv/bin/python
	@cmp -s requirements/serving.txt .venv/installed || cmp -s requirements/training.txt .venv/installed || { \
	  echo "installing what serving needs into .venv (about 600 MB, once)"; $(call INSTALL,serving); }

# serving, torch, and the test tools
training: .venv/bin/python
	@cmp -s requirements/training.txt .venv/installed || { \
	  echo "installing serving, torch and the test tools into .venv (about 6 GB, once)"; $(call INSTALL,training); }

lock: | $(UV)
	$(UV) pip compile -q pyproject.toml --universal --generate-hashes --no-emit-index-url --custom-compile-command 'make lock' -o requirements/serving.txt
	$(UV) pip compile -q pyproject.toml --universal --extra train --extra text --extra image --extra experiments --extra store --extra mlflow --extra otel --group dev --generate-hashes --no-emit-index-url --custom-compile-command 'make lock' -o requirements/training.txt
	echo 'hatchling>=1.27' | $(UV) pip compile -q - --universal --generate-hashes --no-emit-index-url --custom-compile-command 'make lock' -o requirements/build.txt
