"""Tables of results/ in README.md and docs/: every page shows what was measured last.

    .venv/bin/python benchmarks/pages.py

A comment in a page, such as `<!-- results/accuracy.md, table 2 -->`, says which table belongs below
it; what is there is replaced. A test compares the pages with the results.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
TABLE = re.compile(r"(?:^\|.*\n)+", re.MULTILINE)
MARKED = re.compile(r"^(<!-- results/(\w+)\.md, table (\d+) -->\n\n)((?:\|.*\n)*)", re.MULTILINE)


def fill(page: str) -> str:
    """Return a page with the tables that its comments name.

    Raises:
        LookupError: The results have no such table.
    """
    return MARKED.sub(lambda found: found[1] + find_table(found[2], int(found[3])), page)


def find_table(name: str, place: int) -> str:
    """Return a table of results/NAME.md, counted from 1."""
    tables: list[str] = TABLE.findall((RESULTS / f"{name}.md").read_text("utf-8"))
    if not 1 <= place <= len(tables):
        raise LookupError(f"results/{name}.md has {len(tables)} tables, a page asks for {place}")
    return tables[place - 1]


if __name__ == "__main__":
    for path in PAGES:
        text = path.read_text("utf-8")
        if fill(text) != text:
            path.write_text(fill(text), "utf-8")
            print(f"{path.relative_to(ROOT)}: written")
