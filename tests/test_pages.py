"""README and docs show the tables that lie in benchmarks/results."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SPEC = importlib.util.spec_from_file_location("pages", ROOT / "benchmarks" / "pages.py")
pages = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(pages)


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: page.name)
def test_pages_show_what_was_measured(page):
    text = page.read_text("utf-8")
    assert text.count("<!-- results/") == len(pages.MARKED.findall(text)), "a comment is misspelt"
    assert pages.fill(text) == text, "run benchmarks/pages.py"


def test_a_table_that_is_old_is_replaced_and_the_rest_is_not():
    mark = "<!-- results/accuracy.md, table 1 -->\n\n"
    page = f"a\n\n{mark}| old |\n|---|\n\n| another |\n"
    assert pages.fill(page) == f"a\n\n{mark}{pages.find_table('accuracy', 1)}\n| another |\n"


def test_a_table_that_is_not_there_is_refused():
    with pytest.raises(LookupError, match=r"accuracy.md has \d+ tables, a page asks for 99"):
        pages.find_table("accuracy", 99)
