# make demo     a cluster on this machine: load, scale, crash, shrink, power off, verify (about a minute once built)
# make test     all tests but torture and known bugs; random ones from seed 1, so that what fails once fails again, or SEED=7
# make torture SEED=7 MINUTES=5  real processes under many faults at once (Linux, root): target/torture/report.json
# make powercuts SEED=7 CUTS=300  nodes on disks that lose power, fail, fill up and lie (Linux, root): target/powercuts/report.json
# make worlds SEED=1 SEEDS=10000  simulated clusters, one for each seed from that one on (two a second)
# make fuzz CASES=100000  every decoder with so many damaged and hostile inputs
# make plans CASES=100000  the planner in so many random worlds of each kind (some 700 a second)
# make known-bugs  puts bugs back in, one after another, and demands that the suites find them (about 20 minutes)
# make bench    Granary beside etcd, in turn, for about 40 minutes: target/bench/report.json, docs/performance.md (needs Go)
# make bench-short  one minute of it
# make test-kubernetes  the scenarios on a real Kubernetes alone (Linux, root): target/kubernetes/report.json
# make verify   what CI checks besides: formatting, known-bug patches, lints, dependency rules
# make fix      what can be mended by itself
# make build    the programs, in target/release
# make kubernetes-up    a real Kubernetes on this machine, with Granary's image in it (Linux, root; see tests/kubernetes/testbed)
# make kubernetes-down  takes it down again
# make clean-demo   stops the demo's cluster if it was left running, and removes its data

CARGO_FLAGS := --release --locked --workspace

.PHONY: demo demo-short test powercuts torture worlds fuzz plans known-bugs bench bench-build bench-short test-kubernetes build setup verify fix clean-demo kubernetes-up kubernetes-down
.DEFAULT_GOAL := build

setup:
	@scripts/setup

build: setup
	cargo build $(CARGO_FLAGS) --bins

demo: build
	@target/release/granary-demo

demo-short: build
	@target/release/granary-demo --short

test: export PROPTEST_RNG_SEED = $(or $(SEED),1)
test: build
	cargo test $(CARGO_FLAGS) --no-fail-fast

# Without SEED a random one, which is printed.
CUTS ?= 300
powercuts: build
	$(if $(SEED),GRANARY_SEED=$(SEED)) GRANARY_CUTS=$(CUTS) cargo test $(CARGO_FLAGS) --test powercuts -- --nocapture

MINUTES ?= 60
torture: build
	@scripts/setup torture
	@target/release/granary-torture --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

SEEDS ?= 10000
worlds: build
	@target/release/granary-simulate --seed $(or $(SEED),1) --seeds $(SEEDS)

CASES ?= 100000
fuzz:
	GRANARY_FUZZ_CASES=$(CASES) cargo test $(CARGO_FLAGS) --test fuzz
	GRANARY_FUZZ_CASES=$(CASES) cargo test $(CARGO_FLAGS) --lib fuzz_tests
	GRANARY_FUZZ_CASES=$(CASES) cargo test $(CARGO_FLAGS) --test all damaged

plans:
	PROPTEST_CASES=$(CASES) cargo test $(CARGO_FLAGS) --test converges

known-bugs:
	@scripts/known-bugs

# In the product's target folder: most of what it needs is built there already.
bench-build: build
	@bench/build-etcd
	cd bench && CARGO_TARGET_DIR=../target cargo build --release --locked

# Measured as shipped: optimized as a whole.
bench: bench-build
	cargo build --profile dist --locked --package granary-cli --package granary-node --bins
	@target/release/granary-bench --granary target/dist/granary --page docs/performance.md $(BENCH)

bench-short: bench-build
	@target/release/granary-bench --short

test-kubernetes: build
	@scripts/setup kubernetes
	GRANARY_REQUIRE_KUBERNETES=1 cargo test $(CARGO_FLAGS) --test kubernetes

verify: setup
	cargo fmt --all --check
	cargo fmt --manifest-path bench/Cargo.toml --check
	@scripts/known-bugs --check
	cargo clippy $(CARGO_FLAGS) --all-targets -- --deny warnings
	cd bench && CARGO_TARGET_DIR=../target cargo clippy --release --locked --all-targets -- --deny warnings
	@if command -v cargo-deny >/dev/null; then cargo deny --all-features check bans licenses sources; else echo "cargo-deny is not installed: dependency rules not checked"; fi

fix:
	cargo fmt --all
	cargo fmt --manifest-path bench/Cargo.toml
	GRANARY_BLESS=1 cargo test $(CARGO_FLAGS) --package granary-planner --package granary-crds
	GRANARY_BLESS=1 cargo test $(CARGO_FLAGS) --test charts

clean-demo:
	-target/release/granary --dir target/demo/cluster local destroy --yes

kubernetes-up: build
	@scripts/setup kubernetes
	@tests/kubernetes/testbed/up
	@tests/kubernetes/testbed/images load

kubernetes-down:
	@tests/kubernetes/testbed/down
