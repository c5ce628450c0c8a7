if __name__ != "lc2fer.export":
    raise ImportError("This folder is the package lc2fer.export: pip install -e . and import it under that name.")
