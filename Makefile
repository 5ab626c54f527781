# `make` lists the targets. Everything they need is installed by `make setup`, which they run first.

CARGO ?= cargo
heading = @printf '\n== %s\n'

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup demo test lint fmt clippy yang-lint rust-test counterparts interop soak deb bench

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12

setup: ## what a build needs: packages (apt-get), .venv, published YANG modules, patched crates
	@.ci/setup

# With an example in it, cargo chooses the same features as for the tests, so neither compiles the crates anew.
demo: setup ## an orchestrator's commit drives the tunnel, on loopback; STAY=1 stays up
	$(heading) "building"
	$(CARGO) build --locked --bin tether --example cloud
	$(heading) "the demo"
	@.venv/bin/python examples/demo.py $(if $(STAY),--stay)

test: setup fmt clippy yang-lint rust-test interop ## the whole test suite, as .ci/run runs it

lint: setup fmt clippy yang-lint ## formatting, clippy, pyang and yanglint

SESSIONS ?= 50000
soak: setup ## 50,000 sessions through every way to end, on a release build: minutes; SESSIONS=n for another number
	$(heading) "building"
	$(CARGO) build --release --locked --bin tether --example crowd
	$(heading) "$(SESSIONS) sessions"
	@PROFILE=release SOAK=$(SESSIONS) .venv/bin/pytest --quiet tests/interop/test_soak.py

deb: setup ## the Debian package, in target/debian
	@.ci/counterparts install_cargo_deb
	$(heading) "the package"
	$(CARGO) build --release --locked --bin tether --example package
	target/release/examples/package target/package
	.cargo/counterparts/bin/cargo-deb --no-build --output=target/debian/

bench: setup ## benchmarks
	$(CARGO) bench --locked

fmt:
	$(heading) "formatting"
	$(CARGO) fmt --check

clippy:
	$(heading) "clippy"
	$(CARGO) clippy --locked --all-targets --quiet -- -D warnings

yang-lint:
	$(heading) "YANG modules: pyang and yanglint"
	@.ci/yang-lint

# Also builds the binary and the examples, which the next step runs.
rust-test:
	$(heading) "unit and integration tests"
	$(CARGO) test --locked --quiet

counterparts:
	$(heading) "the real counterparts"
	@.ci/counterparts

interop: counterparts
	$(heading) "interoperability: the real counterparts"
	@.venv/bin/pytest --quiet -rs tests/interop
