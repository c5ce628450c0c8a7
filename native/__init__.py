"""liblc2fer: the networks in C, without Python; lc2fer.h is the one to read first. Holds sources and no modules."""

if __name__ != "lc2fer.native":
    raise ImportError("This folder is the package lc2fer.native: pip install -e . and import it under that name.")
