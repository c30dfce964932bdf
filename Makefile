# What people do with this project. `make` alone lists it.

.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
export PATH := $(HOME)/.cargo/bin:$(PATH)

# make dev RELEASE=1 builds with optimisation: slower to build, several times faster to run.
RELEASE ?=
# Further words for the command: make dev ARGS="--shards 4".
ARGS ?=
# make k8s-render OVERLAY=…: a folder with a kustomization.
OVERLAY ?= k8s/overlays/example
# make bench SHORT=1, make chaos SHORT=1: a run of a minute instead of a full one.
SHORT ?=

# Tests also wait, for servers that start, are killed or come back: two for each core keep the cores busy.
test_threads = $${RUST_TEST_THREADS:-$$(($$(getconf _NPROCESSORS_ONLN) * 2))}

# A word before a build that takes minutes.
tell_build = [ -x "$(program)" ] || echo "the first build compiles every library that the service uses, about 400, and takes some minutes; later builds take seconds" >&2

profile := $(if $(RELEASE),--release)
program := $${CARGO_TARGET_DIR:-target}/$(if $(RELEASE),release,debug)/shardrive

##@ Run

.PHONY: dev
dev: ## Run the service with local shards of its own; does all the set-up
	@scripts/setup dev
	@$(tell_build)
	cargo build --locked $(profile)
	exec $(program) dev $(ARGS)

.PHONY: demo
demo: ## Show what sharding does, with servers of its own; ARGS="--url http://…" on a service that runs
	@scripts/setup dev
	@$(tell_build)
	cargo build --locked $(profile)
	exec $(program) demo $(ARGS)

.PHONY: run
run: ## Run the service on the shards named in the environment or .env
	@scripts/setup build
	@$(tell_build)
	cargo build --locked $(profile)
	exec $(program) serve $(ARGS)

.PHONY: build
build: ## Build the optimised program, target/release/shardrive
	@scripts/setup build
	cargo build --locked --release

.PHONY: clean-data
clean-data: ## Delete the local shards of `make dev` with all their data
	@if compgen -G '.shardrive/*/postmaster.pid' >/dev/null || compgen -G '.shardrive/*/*/postmaster.pid' >/dev/null; then \
		echo "a local shard is running, or was not stopped: end 'make dev' with Ctrl-C first (a left-over postmaster.pid may be deleted)" >&2; exit 1; \
	fi
	rm -rf .shardrive

##@ Run in containers

.PHONY: up
up: ## Build and start the service and two shards in containers
	scripts/compose up -d --build

.PHONY: down
down: ## Stop the containers; the data stays (scripts/compose down -v deletes it)
	scripts/compose down

##@ Check

.PHONY: test
test: ## Run all tests; does all the set-up
	@scripts/setup test
	RUST_TEST_THREADS=$(test_threads) cargo test --locked $(ARGS)

.PHONY: test-postgres
test-postgres: ## Run the tests on PostgreSQL 16, 17 or 18: make test-postgres VERSION=18 (needs npm)
	@scripts/setup test
	RUST_TEST_THREADS=$(test_threads) tests/postgres/run $(VERSION) $(ARGS)

.PHONY: test-fresh
test-fresh: ## Run both commands of README in a container that has git, make, curl and Rust alone; skips where there is no engine
	tests/fresh/run $(ARGS)

.PHONY: test-compose
test-compose: ## Try the containers from build to clean-up; skips where there is no engine
	tests/compose/run

.PHONY: lint
lint: ## Check format, code, documentation, the API's description and the crates; needs Node and Python
	@scripts/setup lint
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps
	tests/lint/run

.PHONY: fuzz-api
fuzz-api: ## Send requests made of the API's description to a real process
	@scripts/setup fuzz
	tests/schemathesis/run $(if $(SHORT),--short) $(ARGS)

.PHONY: lint-k8s
lint-k8s: ## Check k8s/, the Helm chart and the workflows by their own validators and the project's rules
	@scripts/setup k8s
	tests/k8s/run

.PHONY: bench
bench: ## Measure against pgbench and \copy on the same shards
	tests/bench/run $(if $(SHORT),--short) $(ARGS)

.PHONY: chaos
chaos: ## Kill shards and services under load, let callers ask for too much, and count what is lost
	@scripts/setup bench
	tests/chaos/run $(if $(SHORT),--short) $(ARGS)

##@ Release

.PHONY: release
release: ## Make all files of a release in target/dist, and publish nothing; ARGS="program deb" makes these alone
	packaging/release $(ARGS)

.PHONY: docs
docs: ## Build the documentation's site, target/docs; installs mdBook at first, which takes some minutes
	packaging/docs

.PHONY: test-package
test-package: ## Install the package and the archive of target/dist in empty containers, as docs/install.md says; skips where there is no engine
	tests/package/run

##@ Run in Kubernetes (docs/kubernetes.md)

.PHONY: k8s-dry-run
k8s-dry-run: ## Apply all manifests to the API server of kubectl's context, by its dry run; skips where none answers
	@scripts/setup k8s
	tests/k8s/run
	tools="$${CARGO_TARGET_DIR:-$$PWD/target}/k8s-tools"; PATH="$$tools/bin:$$PATH" "$$tools/python/bin/python" -B tests/k8s/dry_run.py

.PHONY: k8s-render
k8s-render: ## Print what an overlay makes: make k8s-render OVERLAY=k8s/overlays/example
	@PATH="$${CARGO_TARGET_DIR:-target}/k8s-tools/bin:$$PATH" kubectl kustomize $(OVERLAY)

.PHONY: k8s-rules
k8s-rules: ## Copy alerts and dashboard of observability/ to where Kubernetes takes them from
	python3 -B tests/k8s/rules.py

.PHONY: chart
chart: ## Pack the Helm chart, target/shardrive-<version>.tgz
	@scripts/setup k8s
	tests/k8s/run
	PATH="$${CARGO_TARGET_DIR:-target}/k8s-tools/bin:$$PATH" helm package charts/shardrive -d $${CARGO_TARGET_DIR:-target}

.PHONY: help
help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
