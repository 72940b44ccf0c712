"""The pages of the documentation: found from the front, and true to the tests they name."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted(page.stem for page in (ROOT / "docs").glob("*.md"))


def in_toctrees(page):
    """Names in the toctrees of a page."""
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```{toctree}\n(.*?)```", text, re.DOTALL)
    lines = "\n".join(blocks).splitlines()
    return {line.strip() for line in lines if line.strip() and not line.startswith(":")}


@pytest.mark.skipif(not PAGES, reason="the pages are not here")
def test_every_page_is_reached_from_the_front_once():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    front = in_toctrees("index")
    nested = [in_toctrees(page) for page in sorted(front & set(PAGES))]
    reached = [*front, *(page for pages in nested for page in pages)]
    assert len(reached) == len(set(reached))
    assert set(PAGES) - {"index"} <= set(reached)
    for page in set(PAGES) - {"index", "changelog", "user_guide", "extend"}:
        assert f"(docs/{page}.md)" in readme, page


@pytest.mark.skipif("features" not in PAGES, reason="the pages are not here")
def test_features_name_tests_and_pages_that_are_there():
    text = (ROOT / "docs" / "features.md").read_text(encoding="utf-8")
    assert len(re.findall(r"\btest_\w+", text)) > 40
    for name in re.findall(r"\btest_\w+", text):
        assert (ROOT / "tests" / f"{name}.py").exists(), name
