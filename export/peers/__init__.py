"""Other engines of the edge, each converted and run in an environment of its own, from the same weights.

A module is an engine, as its makers document it: `convert` makes its file, `opened` runs one. Nothing here is imported
anywhere but in those environments (lc2fer/environments.py).
"""
