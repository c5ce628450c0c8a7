"""This checkout, should Python take it for the package: where its folder is called lc2fer and lies in the current one.

The package is the folder lc2fer in it, and its spokes lie beside that. Without this file an import would silently give
an empty namespace, for Python looks at the current folder before it asks an editable installation.
"""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

if __name__ == "lc2fer":
    _root = Path(__file__).resolve().parent
    _places = [str(_root / "lc2fer"), str(_root)]
    _spec = spec_from_file_location(__name__, _root / "lc2fer" / "__init__.py", submodule_search_locations=_places)
    assert _spec is not None
    assert _spec.loader is not None
    sys.modules[__name__] = module_from_spec(_spec)  # which is what `import` then gives
    _spec.loader.exec_module(sys.modules[__name__])
