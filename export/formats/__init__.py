"""The files that a target can be: a module a kind, each with `make` and the `TOOLS` that decide its bytes."""
