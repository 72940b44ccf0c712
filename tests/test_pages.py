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


# What must stand in a file that row n of the table of features links to.
WORDS = """
1 MoERegressor; 2 MoEClassifier; 3 classes; 4 gate_per_output; 5 NegativeBinomial; 6 Censored
7 scale_; 8 StudentT; 9 ZeroInflated; 10 GaussianWithNoise; 11 KNeighborsRegressor; 12 Ridge
13 expert_features; 14 prefit|frozen; 15 MLPExpert; 16 unseen_classes; 17 SoftmaxGate
18 GaussianGate; 19 MLPGate; 20 GradientBoosting|DecisionTree; 21 HierarchicalGate
22 ClassifierGate; 23 gate_features; 24 EM; 25 hard; 26 Minibatch; 27 gradient; 28 solver
29 early_stopping; 30 temperature|anneal; 31 history_; 32 alpha; 34 floor; 35 dropout
36 n_init; 37 kmeans; 38 init; 39 top_k; 40 ExpertRouting; 41 BalancePenalty; 42 dead; 43 icl
44 criterion; 45 merge; 46 add_expert; 47 partial_fit; 48 sample_weight; 49 class_weight
51 csr; 52 feature_names_in_; 54 n_jobs; 55 parametrize_with_checks; 56 score; 57 GridSearchCV
58 return_std; 59 quantile; 60 sample; 61 wald; 62 predict_experts; 63 rules; 64 Display
65 verbose; 66 to_onnx; 69 log_pool; 70 model_card
"""


@pytest.mark.skipif("features" not in PAGES, reason="the pages are not here")
def test_each_feature_links_to_a_file_about_it():
    text = (ROOT / "docs" / "features.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \|(.*)\|$", text, re.MULTILINE)
    assert len({number for number, _ in rows}) == len(rows) > 60
    words = dict(entry.split(maxsplit=1) for entry in re.split(r"[;\n]", WORDS.strip()))
    told = {number for number, cells in rows if cells.split("|")[-1].strip().startswith("Y")}
    assert told == set(words)
    for number, cells in rows:
        links = re.findall(r"\]\(([^)]+)\)", cells.split("|")[-1])
        files = [(ROOT / "docs" / link).read_text(encoding="utf-8") for link in links]
        if number in words:
            assert any(re.search(words[number], file) for file in files), number


@pytest.mark.skipif("features" not in PAGES, reason="the pages are not here")
def test_features_name_tests_and_pages_that_are_there():
    text = (ROOT / "docs" / "features.md").read_text(encoding="utf-8")
    assert len(re.findall(r"\btest_\w+", text)) > 40
    for name in re.findall(r"\btest_\w+", text):
        assert (ROOT / "tests" / f"{name}.py").exists(), name
