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
    "sphinx_gallery.gen_gallery",
    "sphinx-mathjax-offline",  # formulas without a network; its MathJax becomes part of the site
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build", "figures", "auto_examples/GALLERY_HEADER.rst"]
default_role = "code"

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3

autodoc_typehints = "none"  # docstrings say more
toc_object_entries_show_parents = "hide"
autosummary_generate = True
autosummary_generate_overwrite = True
templates_path = ["_templates"]
numpydoc_show_class_members = False
autodoc_default_options = {"members": True, "inherited-members": True}

html_theme = "pydata_sphinx_theme"
html_title = "skmoe"
html_theme_options = {
    "show_prev_next": False,
    "navigation_with_keys": False,
    "header_links_before_dropdown": 5,
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
}
# Pages without pages below them.
SINGLE = "index install guide theory performance features gotchas conventions changelog releasing"
html_sidebars = {page: [] for page in SINGLE.split()}
html_static_path = ["_static"]
html_css_files = ["skmoe.css"]
html_show_sourcelink = False

# Every script of the gallery runs, in full; with SKMOE_QUICK=1 on few rows.
sphinx_gallery_conf = {
    "examples_dirs": str(HERE.parent / "examples" / "gallery"),
    "gallery_dirs": "auto_examples",
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("skmoe",),
    "within_subsection_order": "ExampleTitleSortKey",
    "capture_repr": (),
    "download_all_examples": False,
    "show_signature": False,
    "abort_on_example_error": False,
    "remove_config_comments": True,
    "min_reported_time": 5,
}

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
