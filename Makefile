# The targets, their use beside them. `make help` lists them.
GO      ?= go
FUZZ    ?= 60s
MUTATE  ?= internal/attempt internal/engine internal/event internal/netguard internal/webhook signature
GREMLINS = github.com/go-gremlins/gremlins/cmd/gremlins@v0.6.0
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

.DEFAULT_GOAL := help
.PHONY: help test test-tools prism screenshots race crash chaos fault bench lint fuzz mutate cover build demo

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

test: ## every test, the crash test included; those of the API and the platform on both stores
	$(GO) test ./...
	QHOOK_TEST_STORE=postgres $(GO) test ./internal/api ./internal/advisory

test-tools: ## what pages and the OpenAPI document are judged by: axe-core, html-validate, redocly and others, by npm
	for d in internal/ui/testdata internal/api/testdata/tools; do (cd $$d && npm install --no-package-lock --no-audit --no-fund --silent) || exit 1; done

prism: ## the API's tests with every call through Prism, which holds it against the OpenAPI document
	PRISM=1 $(GO) test -count=1 -run TestPrism ./internal/api

screenshots: ## a picture of every page of the dashboard, to docs/screenshots/all (needs Chromium)
	QHOOK_SCREENSHOTS=$(CURDIR)/docs/screenshots/all $(GO) test -count=1 -run TestScreenshots ./internal/ui

race: ## every test with the race detector, in random order
	$(GO) test -race -shuffle=on ./...

crash: ## the long crash test, on both stores: 200 kills at random moments, and kills and delays at each failpoint
	QHOOK_TEST_KILLS=200 QHOOK_TEST_POINTS=long $(GO) test -count=1 -timeout 60m -v -run 'TestKill|TestPoints|TestDelays|TestMarkBug' ./internal/crashtest

chaos: ## the long chaos test: a node and its file, and nodes and their database, disturbed for two minutes each
	QHOOK_TEST_CHAOS=120s $(GO) test -count=1 -timeout 60m -v -run 'TestChaos' ./internal/crashtest

fault: ## faults at exact places (needs strace): a kill at each of the first 200 writes
	QHOOK_TEST_FAULTS=200 $(GO) test -count=1 -timeout 60m -v -run 'TestFault' ./internal/crashtest

bench: ## the product's speed and size as a table, ratios measured in this run; static, like build
	CGO_ENABLED=0 $(GO) run ./cmd/qhook bench

lint: ## gofmt, vet and staticcheck
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

fuzz: ## every fuzz target for FUZZ (default 60s) each
	@set -e; for p in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz' || true); do \
	    echo "fuzz $$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZ) -fuzzminimizetime 1x $$p; done; done

mutate: ## small changes planted one at a time in each of MUTATE: how many no test finds (docs/mutants.md); no part of CI
	@set -e; for p in $(MUTATE); do [ -d "$$p" ] || p=internal/$$p; echo "$$p"; \
	  $(GO) run $(GREMLINS) unleash --workers 2 --timeout-coefficient 20 -S lt ./$$p | grep -E 'LIVED|TIMED OUT|Killed:|Timed out:'; done

cover: ## test coverage by function
	$(GO) test -coverprofile=coverage.out -coverpkg=./... ./... && $(GO) tool cover -func=coverage.out | tail -n 1

build: ## one static binary: ./qhook
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X github.com/quantfolio/qhook/internal/app.Version=$(VERSION)' -o qhook ./cmd/qhook

demo: ## the main job on real input, in one command
	$(GO) run ./cmd/qhook demo --exit
