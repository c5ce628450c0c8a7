"""From trained weights to proven artifacts: pipeline, recipes, proof, and INT8's budget."""

if __name__ != "lc2fer.export":
    raise ImportError("This folder is the package lc2fer.export: pip install -e . and import it under that name.")
