# Two commands do all the set-up on a fresh machine: `make demo` shows it, `make test` proves it.
# `make` alone lists what there is: the text behind `##` is the help.

.DEFAULT_GOAL := help
.PHONY: help demo test bench check fuzz simulate soak chaos clean-services

TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
# nextest runs each test in a process of its own and stops one that hangs; plain `cargo test` is enough without it.
RUN_TESTS := $(shell command -v cargo-nextest >/dev/null 2>&1 && echo 'cargo nextest run' || echo 'cargo test --lib --bins --tests --no-fail-fast')
# Python writes no caches into the checkout.
export PYTHONDONTWRITEBYTECODE := 1

help: ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

demo: ## one process with the hub, emulated systems and two partners; prints where to look
	cargo build --bin interconnect
	cargo run -q -- demo

test: ## set up what is missing, start private services, run every test, stop everything
	python3 tests/services/setup.py
	python3 -m unittest discover -s tests/services
	cargo test --workspace --no-run
	python3 tests/services/with_services.py -- $(RUN_TESTS) --workspace
	cargo test --workspace --doc

# `--workspace` everywhere: the same features for every command, so nothing is compiled twice for one profile.
check: ## formatting, lints with warnings denied, the house rules
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo test --workspace --test tidy

bench: ## measure throughput, start-up time and memory, or ONLY=agreement of it (prints a table, asserts nothing)
	cargo bench --bench speed -- $(ONLY)

# How long each target is fuzzed. What is found anew is kept beside the build, so that the next run begins there.
SECONDS ?= 60
FUZZ := cargo fuzz
FUZZ_OPTIONS := --fuzz-dir fuzz --target-dir $(TARGET_DIR)/fuzz --sanitizer none
FUZZ_TARGETS := $(basename $(notdir $(wildcard fuzz/targets/*.rs)))

fuzz: ## throw inputs at what reads from outside, SECONDS=60 for each target; installs cargo-fuzz if it is missing
	@command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz
	$(FUZZ) build $(FUZZ_OPTIONS)
	@for target in $(FUZZ_TARGETS); do \
	  echo "fuzz: $$target"; mkdir -p $(TARGET_DIR)/fuzz/found/$$target; \
	  $(FUZZ) run $(FUZZ_OPTIONS) $$target $(TARGET_DIR)/fuzz/found/$$target fuzz/corpus/$$target -- \
	    -max_total_time=$(SECONDS) -timeout=10 -verbosity=0 -print_final_stats=1 || exit 1; \
	done

# SEED=7 runs one seed alone and tells its story; SEEDS=1000 runs many. A profile of its own, for they are many.
simulate: ## systems kept in agreement through everything that goes wrong, SEEDS=100 of it; a seed that fails is told
	SEEDS=$(or $(SEEDS),100) $(if $(SEED),SEED=$(SEED)) cargo test -p interconnect-sync --profile simulate --lib -- --nocapture simulation::systems_agree

# SEED=7 draws other faults and edits. The test runner would end what takes so long, so the story runs without it.
soak: ## a real Tryton and the sandbox with its faults on, STEPS=500 of edits, faults and kills
	python3 tests/services/setup.py
	python3 tests/services/with_services.py -- env STEPS=$(or $(STEPS),500) $(if $(SEED),SEED=$(SEED)) \
	  cargo test -p interconnect --test it -- --nocapture --exact soak::whatever_fails_everybody_agrees_in_the_end

# SEED=7 draws other deaths and faults. The test runner would end what takes so long, so the stories run without it.
chaos: ## webhooks while hubs, stores and receivers die, KILLS=200 on each ledger and queue; prints the tables
	python3 tests/services/setup.py
	python3 tests/services/with_services.py -- env KILLS=$(or $(KILLS),200) $(if $(SEED),SEED=$(SEED)) \
	  cargo test -p interconnect --test it -- --nocapture --test-threads 1 chaos::

clean-services: ## forget the installed Tryton and the client libraries; the next `make test` fetches them again
	rm -rf $(TARGET_DIR)/services tests/clients/node_modules
