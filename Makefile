# Everything a person or a pipeline runs here. The work is in scripts/; `make` only names it.
SHELL := /bin/sh
NODE := ./node_modules/node/bin/node --disable-warning=ExperimentalWarning
RUN := $(NODE) scripts/run-tests.ts $(if $(ONLY),--only "$(ONLY)")
UP_FLAGS := $(if $(DETACH),--detach) $(if $(NODES),--nodes $(NODES)) $(if $(DEVICE_SIZE),--device-size $(DEVICE_SIZE)) \
  $(if $(DIR),--dir $(DIR)) $(if $(POLICY),--policy $(POLICY))

.PHONY: help setup setup-test build up down check test test-unit test-native test-native-asan test-native-tsan \
  test-integration test-sim test-sanity test-kube kube kube-scheduling test-fresh bench clean

help:
	@echo "make up [DETACH=1]   build what is missing and start a cluster on this machine"
	@echo "make down            stop it; data stays"
	@echo "make test            every suite, closing with one line of totals"
	@echo "make check           types, lint, unused code, C++ format"
	@echo "make build|bench|clean|test-unit|test-native|test-native-asan|test-native-tsan"
	@echo "make test-unit ONLY='test/unit/common/**/*.test.ts'   runs some of a suite"
	@echo "make test-integration|test-sim|test-sanity|test-kube|test-fresh"
	@echo "make kube            a Kubernetes of one node here with the device plugin for a recorded H200 node, until Ctrl-C"
	@echo "make kube-scheduling a control plane here with twelve nodes, the scheduler extender and its webhook, until Ctrl-C"

setup:
	@scripts/setup.sh

setup-test:
	@scripts/setup.sh --test

build: setup
	@scripts/native.sh release

up: build
	@exec ./nabu up $(UP_FLAGS)

down:
	@./nabu down

check: setup-test
	@scripts/check.sh

test: setup-test
	@scripts/native.sh release
	@$(RUN) check unit native native-asan native-tsan integration sim sanity kube

test-unit: setup-test
	@scripts/native.sh release
	@$(RUN) unit

test-native: setup-test
	@$(RUN) native

test-native-asan: setup-test
	@$(RUN) native-asan

test-native-tsan: setup-test
	@$(RUN) native-tsan

test-integration: setup-test
	@scripts/native.sh release
	@$(RUN) integration

test-sim: setup-test
	@scripts/native.sh release
	@$(RUN) sim

test-sanity: setup-test
	@scripts/native.sh release
	@$(RUN) sanity

test-kube: setup-test
	@scripts/native.sh release
	@$(RUN) kube

kube: setup-test
	@scripts/native.sh release
	@exec $(NODE) test/kube/try.ts

kube-scheduling: setup-test
	@$(NODE) test/kube/programs/main.ts
	@exec $(NODE) test/kube/scheduler-modes/try.ts

test-fresh:
	@scripts/test-fresh.sh

bench: setup-test
	@scripts/native.sh release
	@$(NODE) test/bench/main.ts

clean:
	rm -rf build proto/gen coverage
