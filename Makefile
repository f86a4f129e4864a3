# The first line of each target's comment is its help.
.DEFAULT_GOAL := help
SHELL := /bin/sh

# How many packages are tested at once. Tests start real servers and tools, so more than the processors only makes them wait.
P ?= $(shell n=$$(nproc 2>/dev/null || echo 2); if [ "$$n" -gt 4 ]; then echo 4; else echo "$$n"; fi)
# The longest a single package may take; the end-to-end suite is the slowest.
TIMEOUT ?= 30m
# SQLite is C that was turned into Go: it has no goroutines and locks as C does. Watching its every access made the tests of the store take thrice as
# long and cannot find anything of ours; the race detector watches the rest.
RACE = -race '-gcflags=modernc.org/sqlite/lib=-race=false -d=checkptr=0'
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo development)
LINT = $$(sh tools/build.sh golangci-lint | cut -d' ' -f2)

.PHONY: help
help: ## show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' Makefile

.PHONY: demo
demo: ## watch a pull request become a reviewed, applied change on this machine: no account, no network but for building tofu once
	@sh tools/demo.sh

.PHONY: build
build: ## build bin/planlatch and its helper
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X github.com/planlatch/planlatch/app.Version=$(VERSION)' -o bin/ ./cmd/...

.PHONY: release
release: ## archives, bills of materials (CycloneDX) and checksums of this commit in dist/; KEY=… signs them with gpg
	sh tools/release.sh

.PHONY: tools
tools: ## install missing system packages and build the pinned test programs, once
	sh tools/system.sh
	sh tools/build.sh tofu terraform provider-time gitea versitygw git-lfs

.PHONY: test
test: tools ## run every test: needs Go, git and make, and installs or builds the rest
	go test $(RACE) -shuffle=on -timeout $(TIMEOUT) -p $(P) ./...

.PHONY: chaos
chaos: tools ## kill servers, workers and machines at random, 250 times, on SQLite and on three replicas with PostgreSQL
	PLANLATCH_CHAOS=125 go test -count=1 -v -timeout 60m ./chaos

.PHONY: redteam
redteam: tools ## attack real servers as a hostile pull request would, with every wall and without each: as root and as an ordinary user
	sh tools/redteam.sh

.PHONY: inits
inits: tools ## twenty rounds of fifty cold inits at once that share a provider, with OpenTofu and with Terraform
	PLANLATCH_INITS=20x50 go test -count=1 -run TestColdInitsAtOnce -timeout 60m -v ./provider

.PHONY: bench
bench: tools ## measure, as ratios against the bare tool on the same machine in the same run
	go test -run '^$$' -bench . -benchtime 2s -timeout 60m -p 1 ./...

.PHONY: check
check: check-format check-vet check-tidy check-lint check-vulnerable ## format, vet, lint, tidy modules, known vulnerabilities

.PHONY: check-format
check-format:
	@bad=$$(gofmt -l $$(git ls-files --cached --others --exclude-standard '*.go')); \
	[ -z "$$bad" ] || { echo "not formatted:"; echo "$$bad"; echo "fix: gofmt -w $$(echo $$bad)"; exit 1; }

.PHONY: check-vet
check-vet:
	go vet ./...

.PHONY: check-tidy
check-tidy:
	@go mod tidy -diff || { echo "fix: go mod tidy"; exit 1; }

.PHONY: check-lint
check-lint:
	@$(LINT) run ./... || { echo "fix what is named above; some of it by itself: $(LINT) run --fix"; exit 1; }

# govulncheck exits with 3 when it found something. Anything else that fails is missing data, which is no reason to stop working offline.
.PHONY: check-vulnerable
check-vulnerable:
	@program=$$(sh tools/build.sh govulncheck | cut -d' ' -f2); code=0; "$$program" ./... || code=$$?; \
	case $$code in 0) ;; 3) echo "fix: go get the version named above, then go mod tidy"; exit 1 ;; \
	*) echo "known vulnerabilities were NOT checked: the data could not be had (exit $$code)" ;; esac
