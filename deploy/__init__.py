"""Running artifacts: engines, devices, cameras."""

if __name__ != "lc2fer.deploy":
    raise ImportError("This folder is the package lc2fer.deploy: pip install -e . and import it under that name.")
