# Everything a person types, by name. `make` alone lists the targets.
# A target that checks ends with one line, `NAME: ok key=value …` or `NAME: FAILED reason`.

PYTHON ?= python3

export PATH := $(CURDIR)/.local/tools/bin:$(PATH)
# Queries are checked against the committed .sqlx, whatever database the caller's environment names.
export SQLX_OFFLINE := true

# rustup fetches the pinned release where it is missing. A machine that cannot fetch may have it by another name (stable).
PINNED := $(shell sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
ifeq ($(filter $(PINNED)-%,$(shell rustup toolchain list 2>/dev/null)),)
ifeq ($(word 2,$(shell cd / && rustc --version 2>/dev/null)),$(PINNED))
export RUSTUP_TOOLCHAIN := $(firstword $(shell cd / && rustup show active-toolchain 2>/dev/null))
endif
endif

CHECK := $(PYTHON) scripts/check.py
WITH_POSTGRES := $(PYTHON) scripts/with_postgres.py
MIGRATE := cargo sqlx migrate run --source migrations

.DEFAULT_GOAL := help
.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

## Set-up and build

.PHONY: setup setup-lint setup-deploy build demo demo-killed-worker clean
setup: ## Fetch libtorch, PostgreSQL, weights and images into the cache
	@$(PYTHON) scripts/setup

setup-lint:
	@$(PYTHON) scripts/setup --lint

setup-deploy:
	@$(PYTHON) scripts/setup --deploy

build: setup ## Build every program (dev profile)
	cargo build --locked --workspace --bins

demo: setup ## Run a real sweep, end to end, and draw its curves
	cargo build --locked --bin temper --bin temper-worker
	@$(PYTHON) scripts/demo.py

demo-killed-worker: setup ## The demo with a worker killed in the middle of a training
	cargo build --locked --bin temper --bin temper-worker
	@$(PYTHON) scripts/demo.py --kill-worker

clean: ## Remove what was built here; the cache folder stays
	cargo clean
	rm -rf demo .local

## Experiment

.PHONY: experiment experiment-short
experiment: setup ## Run the paper's comparison in small (about an hour) and write docs/experiment.md
	cargo build --locked --bin temper --bin temper-worker
	@$(PYTHON) scripts/experiment.py

experiment-short: setup ## The same with a few images, into demo/
	cargo build --locked --bin temper --bin temper-worker
	@$(PYTHON) scripts/experiment.py --short

## Tests

.PHONY: test test-rust test-docs test-report test-scripts
test: setup ## Run every test
	@$(CHECK) test scripts rust docs report

test-scripts:
	$(PYTHON) -m unittest discover --start-directory scripts/setup/tests --top-level-directory scripts/setup

# The end-to-end tests start the built programs.
test-rust:
	cargo build --locked --workspace --bins
	@if cargo nextest --version >/dev/null 2>&1; \
	then cargo nextest run --locked --workspace --no-fail-fast; \
	else cargo test --locked --workspace --no-fail-fast --lib --bins --tests; fi

test-docs:
	cargo test --locked --workspace --doc

# Installs Debian's chromium where it is missing and who runs this is root.
test-report: ## Look at made-up reports in a headless Chromium
	@$(PYTHON) scripts/test_report.py $(if $(SCREENSHOT),--screenshot $(SCREENSHOT))

## Parity with the Python peers

.PHONY: parity parity-models parity-fixtures verify-weights
# What the user names, before the small files that `make setup` fetched.
MIRROR = $(if $(TEMPER_MIRROR),$(TEMPER_MIRROR):)$(CURDIR)/.local/mirror

parity-models: setup ## Compare every architecture at full size with timm and open_clip
	@$(PYTHON) parity/run.py parity-models check_models.py

parity: setup ## Compare attacks and trainings step by step with torchattacks, pyautoattack and PyTorch
	@TEMPER_MIRROR="$(MIRROR)" $(PYTHON) parity/run.py parity check_parity.py

verify-weights: setup ## Fetch the catalog's weights from the hub and try them on photos
	@cargo run --locked --quiet --package temper-torch --example verify_weights -- \
		--mirror "$(MIRROR)" $(MODELS)

parity-fixtures: setup ## Make the small networks anew that the tests compare with
	@$(PYTHON) parity/run.py parity-fixtures make_model_fixtures.py

## Benchmarks

# In the dev profile, as `make demo` runs: libtorch is the same in any, and the loader is not faster in it.
# Threads that wait do not spin, as in the workers that `temper up` starts.
.PHONY: bench-loader
bench-loader: setup ## Compare the loader's images a second with what a training step takes
	@OMP_WAIT_POLICY=passive cargo bench --locked --profile dev --package temper-torch --bench loader

# In the dev profile too, in which decoder, resizer and temper-data are optimised.
.PHONY: bench-pixels
bench-pixels: setup ## Time the pixel cache against Pillow, torchvision and torch's DataLoader
	cargo build --locked --package temper-data --example bench_pixels
	@$(PYTHON) parity/run.py bench-pixels bench_images.py \
		cargo run --locked --quiet --package temper-data --example bench_pixels --

.PHONY: bench-train
bench-train: setup ## Time training steps, schedules and curves against PyTorch and pyautoattack (half an hour)
	@TEMPER_MIRROR="$(MIRROR)" $(PYTHON) parity/run.py bench-train bench_train.py

# The paper's six networks at full size, with random weights.
CACHE := $(or $(TEMPER_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/temper)
PAPER_MIRROR ?= $(CACHE)/paper-mirror

.PHONY: bench-cold-start
bench-cold-start: setup ## Measure how soon an idle worker has its first batch, and what loading takes
	cargo build --locked --bin temper --bin temper-worker
	@$(PYTHON) parity/run.py bench-cold-start export_mirror.py "$(PAPER_MIRROR)" vit-base
	@$(PYTHON) scripts/bench_cold_start.py "$(PAPER_MIRROR)"

# In a release build: an unoptimised one would be most of what is measured. What computes is left out of it, and with it
# libtorch's bindings, which would be compiled anew. One build for both programs: their dependencies are the same then.
.PHONY: bench-queue
bench-queue: setup ## Measure expansion, claims and completions over PostgreSQL beside pgbench (some minutes)
	cargo build --locked --release --no-default-features --package temper-coordinator --package temper-e2e \
		--bin temper-coordinator --bin bench-queue
	@"$${CARGO_TARGET_DIR:-target}/release/bench-queue"

# In a release build, for the same reason; a few gigabytes of made-up epochs go below the temporary folder.
.PHONY: bench-results
bench-results: setup ## Time aggregates and comparisons over 10,000 jobs, and export 5,000,000 epochs (some minutes)
	cargo build --locked --release --package temper-results --example bench_results
	@"$${CARGO_TARGET_DIR:-target}/release/examples/bench_results"

# Half of it is the queue at the store, half what Grafana asks: neither needs a coordinator.
.PHONY: bench-dashboards
bench-dashboards: setup ## Time the dashboards on 1,000,000 epochs, and the queue beside four who read them (some minutes)
	cargo build --locked --release --package temper-store --example bench_dashboards
	@"$${CARGO_TARGET_DIR:-target}/release/examples/bench_dashboards"

## A machine's device, and long runs

DEVICE ?= cuda:0

.PHONY: gpu-check soak
gpu-check: setup ## Check attacks, exact resume, speed and memory on DEVICE (cuda:0 unless named), into gpu-check.json
	cargo build --locked --bin temper-worker
	@if TEMPER_MIRROR="$(MIRROR)" cargo run --quiet --locked --bin temper-worker -- check --device $(DEVICE) > gpu-check.json; \
	then cat gpu-check.json; echo "gpu-check: ok device=$(DEVICE) report=gpu-check.json"; \
	else cat gpu-check.json; echo "gpu-check: FAILED on $(DEVICE)"; exit 1; fi

soak: setup ## Train for 2,000 steps and look whether resident memory grows
	@TEMPER_TEST_STEPS=2000 cargo test --locked --package temper-torch --test it -- --exact --nocapture \
		memory::resident_memory_does_not_grow_with_steps

## End to end, at full size

.PHONY: e2e-paper
e2e-paper: setup ## Run one job of each of the paper's models and one on each of its datasets
	cargo build --locked --bin temper --bin temper-worker
	@$(PYTHON) parity/run.py e2e-paper export_mirror.py "$(PAPER_MIRROR)"
	@cargo run --locked --quiet --package temper-e2e --example paper -- "$(PAPER_MIRROR)"

# Needs Debian's packages munge, slurmctld, slurmd and slurm-client, and root; starts daemons of its own.
.PHONY: e2e-slurm
e2e-slurm: setup ## Run workers in a real Slurm of one node: one requeue by signal, one cancelled (some minutes)
	cargo build --locked --workspace --bins
	@cargo run --locked --quiet --package temper-e2e --example slurm

## Chaos

SEED ?= 1

# The harness and what it starts: the real worker as well as the one that only waits.
.PHONY: chaos
chaos: setup ## Hurt a cluster while it works (kills, stops, cuts, restarts; some minutes), by SEED
	cargo build --locked --workspace --bins
	@cargo run --locked --quiet --bin chaos -- --seed $(SEED)

# Root's to run: it makes network namespaces. Its short form is one of `make test`.
.PHONY: e2e-hosts
e2e-hosts: setup ## Cut off and lose hosts of a laboratory, each in a network namespace (some minutes; root)
	cargo build --locked --workspace --bins
	@cargo run --locked --quiet --bin e2e-hosts

# OLD: a commit. The first time its dependencies are built, too.
.PHONY: e2e-upgrade
e2e-upgrade: setup ## Run sweeps by the programs of commit OLD and today's, over one database
	@$(PYTHON) scripts/e2e_upgrade.py $(OLD)

## Fuzz

FUZZ_SECONDS ?= 600

# The short forms are tests of `make test`.
.PHONY: fuzz
fuzz: setup ## Send bytes of every kind to the services, and hostile specs, for FUZZ_SECONDS, by SEED
	@$(PYTHON) scripts/fuzz.py $(FUZZ_SECONDS) $(SEED)

## Lints

.PHONY: lint lint-fmt lint-clippy lint-deny lint-proto lint-sql lint-typos lint-docs audit
lint: setup-lint ## Check format, lints, dependencies, protocol, queries, spelling and docs
	@$(CHECK) lint fmt typos proto deny clippy docs sql

lint-fmt:
	cargo fmt --all --check

lint-clippy:
	cargo clippy --locked --workspace --all-targets -- -D warnings

# deny.toml lists every arrow that is allowed; not all of them have to be used.
lint-deny:
	cargo deny --locked check --allow unused-wrapper bans licenses sources

lint-proto:
	buf lint
	buf breaking --against proto/baseline.binpb

lint-sql:
	$(WITH_POSTGRES) sh -ec '$(MIGRATE); cargo sqlx prepare --workspace --check -- --locked --all-targets'

lint-typos:
	typos

lint-docs:
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps

audit: setup-lint ## Look the dependencies up among known vulnerabilities (needs the network)
	@$(CHECK) audit advisories

# Each subject is a script of scripts/lint_deploy. No container engine, no cluster.
.PHONY: lint-deploy lint-deploy-images lint-deploy-compose lint-deploy-chart lint-deploy-slurm \
	lint-deploy-generated lint-deploy-grafana lint-deploy-prometheus
lint-deploy: setup-deploy ## Check images, compose files, the chart, batch scripts, rules and dashboards by the real tools (needs npm)
	@$(CHECK) lint-deploy images compose chart slurm generated grafana prometheus

lint-deploy-images:
	@sh scripts/lint_deploy/images.sh

lint-deploy-compose:
	@$(PYTHON) -B scripts/lint_deploy/compose.py

lint-deploy-chart:
	@$(PYTHON) -B scripts/lint_deploy/chart.py

lint-deploy-slurm:
	@sh scripts/lint_deploy/slurm.sh

lint-deploy-prometheus:
	@sh scripts/lint_deploy/prometheus.sh

lint-deploy-generated:
	$(PYTHON) -B deploy/grafana/generate --check

lint-deploy-grafana:
	cd deploy/grafana/check && npm ci --silent --no-audit --no-fund && node check.mjs

.PHONY: audit-advisories
audit-advisories:
	cargo deny --locked check advisories

## What is generated and committed

.PHONY: fmt sqlx-prepare proto-baseline dashboards
fmt: ## Format the Rust code
	cargo fmt --all

dashboards: ## Write Grafana's dashboards and alerts anew, after deploy/grafana/generate changed
	$(PYTHON) -B deploy/grafana/generate

sqlx-prepare: setup-lint ## Write .sqlx anew, after a query or a migration changed
	$(WITH_POSTGRES) sh -ec '$(MIGRATE); cargo sqlx prepare --workspace -- --locked --all-targets'

proto-baseline: setup-lint ## Make today's protocol the one that later ones must not break (at a release)
	buf build --exclude-source-info --output proto/baseline.binpb
