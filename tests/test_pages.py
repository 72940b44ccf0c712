"""The pages of the documentation: found from the front, and true to the tests they name."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted(page.stem for page in (ROOT / "docs").glob("*.md"))


@pytest.mark.skipif(not PAGES, reason="the pages are not here")
def test_every_page_is_linked_from_readme_and_index():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8").splitlines()
    for page in set(PAGES) - {"index", "changelog"}:
        assert f"(docs/{page}.md)" in readme, page
        assert page in index, page


@pytest.mark.skipif("features" not in PAGES, reason="the pages are not here")
def test_features_name_tests_and_pages_that_are_there():
    text = (ROOT / "docs" / "features.md").read_text(encoding="utf-8")
    assert len(re.findall(r"\btest_\w+", text)) > 40
    for name in re.findall(r"\btest_\w+", text):
        assert (ROOT / "tests" / f"{name}.py").exists(), name
