"""Measuring models and judging what was measured; the command and its run."""

if __name__ != "lc2fer.benchmarks":
    raise ImportError("This folder is the package lc2fer.benchmarks: pip install -e . and import it under that name.")
