"""Sphinx configuration. Nothing is fetched: the build works offline."""

import re
from pathlib import Path

HERE = Path(__file__).parent

project = "skmoe"
author = "skmoe developers"
copyright = "skmoe developers"
source = (HERE.parent / "skmoe" / "__init__.py").read_text(encoding="utf-8")
release = version = re.search(r'__version__ = "([^"]+)"', source).group(1)

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx_design",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build", "figures"]
default_role = "code"

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3

autosummary_generate = True
autosummary_generate_overwrite = True
templates_path = ["_templates"]
numpydoc_show_class_members = False
autodoc_default_options = {"members": True, "inherited-members": True}

html_theme = "pydata_sphinx_theme"
html_title = "skmoe"
html_theme_options = {"show_prev_next": False, "navigation_with_keys": False}
html_show_sourcelink = False

# Docstrings inherited from scikit-learn refer to its own pages.
SKLEARN_TARGETS = {"accuracy_score", "r2_score", "metadata_routing", "meta-estimator"}


def skip_member(app, what, name, obj, skip, options):
    """Leave out methods that scikit-learn adds for metadata routing."""
    return skip or name == "get_metadata_routing" or bool(re.fullmatch(r"set_\w+_request", name))


def resolve_missing(app, env, node, contnode):
    """Leave references to scikit-learn's pages as plain text."""
    known = node.get("reftarget") in SKLEARN_TARGETS
    return contnode if known and node.get("reftype") in {"ref", "term"} else None


def setup(app):
    """Connect the two functions above."""
    app.connect("autodoc-skip-member", skip_member)
    app.connect("missing-reference", resolve_missing)
