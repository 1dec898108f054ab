# The front door. Each target installs what it needs first, and says so.

PREFIX ?= /usr/local
LIBDIR ?= lib
DESTDIR ?=
TIME ?= 60
export PREFIX LIBDIR DESTDIR

.PHONY: help demo claims check check-matrix crash races fuzz bench header man install uninstall clean

help:
	@echo 'make demo      which path direct I/O takes on a real kernel, as a table'
	@echo 'make claims    asks each kernel what became of the source documents'"'"' claims, and writes docs/claims.md'
	@echo 'make check     format, lints, and every test (some boot a VM)'
	@echo 'make check-matrix every kernel, filesystem and disk against tests/matrix'
	@echo 'make crash     cuts the power over every mode, engine, situation and filesystem; writes docs/durability.md'
	@echo 'make races     the threads under ThreadSanitizer; builds a standard library for it first'
	@echo 'make fuzz      every reader and the queue on made-up input, TIME=60 seconds each'
	@echo 'make bench     instructions per request beside its peers, memory, cost of tracing; fails over a limit'
	@echo 'make header    include/odio.h made anew from the sources'
	@echo 'make man       the manual pages, in target/man'
	@echo 'make install   library, header, manual pages and odio-trace; PREFIX=/usr/local LIBDIR=lib DESTDIR='
	@echo 'make uninstall the same, away'
	@echo 'make clean     what was built; downloads in .cache and the kernels stay'

demo:
	@scripts/setup build ebpf vm demo
	@scripts/demo

claims:
	@scripts/setup build ebpf vm demo kernel
	@scripts/claims

check:
	@scripts/setup build ebpf vm demo kernel check fuzz
	@scripts/check

check-matrix:
	@scripts/setup build ebpf vm check
	cargo build -p odio-trace
	ODIO_MATRIX=all cargo test -p odio-tests --test matrix -- --nocapture

crash:
	@scripts/setup build ebpf vm
	@scripts/crash

races:
	@scripts/setup build races
	@scripts/races

fuzz:
	@scripts/setup build ebpf fuzz
	@TIME=$(TIME) scripts/fuzz

bench:
	@scripts/setup build ebpf vm bench
	@scripts/bench

header:
	@scripts/setup build
	ODIO_UPDATE_HEADER=1 cargo test -p odio-ffi --test header

man:
	@scripts/setup build
	@scripts/man

install:
	@scripts/setup build ebpf
	@scripts/install

uninstall:
	@scripts/install --remove

clean:
	cargo clean
