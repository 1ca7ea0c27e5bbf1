"""The documentation site: its navigation, and the public names in it.

``.ci/run`` builds the site, where every warning is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

import dgkd_search

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def pages(navigation: object) -> Iterator[str]:
    """Yield the paths in a navigation of mkdocs, from top to bottom."""
    if isinstance(navigation, str):
        yield navigation
    elif isinstance(navigation, list):
        for entry in navigation:
            yield from pages(entry)
    elif isinstance(navigation, dict):
        yield from pages(list(navigation.values()))


def test_every_page_is_in_the_navigation_once() -> None:
    listed = list(pages(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
    outside = {name for name in listed if not (DOCS / name).exists()}
    assert sorted({*listed} - outside) == sorted(path.name for path in DOCS.glob("*.md"))
    assert all((ROOT / name).exists() for name in outside)
    assert len(listed) == len({*listed})


def test_the_reference_has_exactly_the_public_names() -> None:
    text = (DOCS / "reference.md").read_text()
    names = re.findall(r"^::: dgkd_search\.(\w+)$", text, re.MULTILINE)
    assert sorted(names) == sorted(dgkd_search.__all__)


def test_the_page_on_python_names_everything_public() -> None:
    named = set(re.findall(r"`(\w+)`", (DOCS / "api.md").read_text()))
    assert {*dgkd_search.__all__} <= named


def test_pages_link_to_no_section_of_the_readme() -> None:
    """The site has no page for it: its index is docs/README.md."""
    for page in DOCS.glob("*.md"):
        assert "../README.md" not in page.read_text(), page
