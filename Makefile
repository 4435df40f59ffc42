# The two commands of this project: make run, make test. Both do all set-up.
# make prove: crash, kill and property proofs at full size. make bench: figures
# as ratios to a raw tool. make bench-lists: pages of lists under load in a city
# of 5,000,000 Dokumente (EVB_BENCH_DIR keeps it between runs). make build: bin/evb. make lint: what CI lints.

DATA ?= ./data
ADDR ?= 127.0.0.1:8080
SHELL := bash
# Test packages run one after the other on small machines: each has a Postgres
# and an object store of its own.
TESTFLAGS ?= -timeout 20m

.PHONY: run test prove bench bench-lists build lint

run: build
	@scripts/setup run
	@exec bin/evb up --demo --data $(DATA) --addr $(ADDR)

build:
	@mkdir -p bin
	go build -trimpath -o bin/evb ./cmd/evb

test:
	@scripts/setup test
	go vet ./...
	go test $(TESTFLAGS) ./...

prove:
	@scripts/setup test
	EVB_PROVE=1 go test -count=1 -timeout 120m ./...

bench:
	@scripts/setup test
	go test -run '^$$' -bench . -skip BenchmarkLoad -benchtime 3x -timeout 120m ./internal/intake ./internal/lists ./internal/preservation ./internal/routing ./search ./signature/... ./storage/...

bench-lists:
	@scripts/setup test
	go test -run '^$$' -bench BenchmarkLoad -benchtime 1x -v -timeout 120m ./internal/lists

lint:
	@test -z "$$(gofmt -l cmd internal migrations search signature storage)" || { gofmt -l cmd internal migrations search signature storage; exit 1; }
	go vet ./...
	# ST1005 is off: German nouns, and sentences for people, begin with a capital.
	go run honnef.co/go/tools/cmd/staticcheck@v0.8.2 -checks inherit,-ST1005 ./...
