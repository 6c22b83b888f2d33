# Two commands do it all: `make demo` shows it, `make test` proves it.
