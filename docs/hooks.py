"""Hooks of mkdocs: pages outside docs/, and links that work in the repository and in the site.

A page links to another by its path in the repository (``../experiments/RESULTS.md``). In the site,
docs/ is the root: a page outside docs/ keeps its path, and one in docs/ loses its ``docs/``.
"""

from __future__ import annotations

import re
from pathlib import Path
from posixpath import dirname, join, normpath, relpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

_OUTSIDE = (
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "RELEASING.md",
    "SECURITY.md",
    "analysis/*.md",
    "experiments/*.md",
    "experiments/figures/*",
)
_RELATIVE_LINK = re.compile(r"(\]\()(?!\w+:|#)([^)#]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files outside docs/ that pages link to."""
    root = Path(config.docs_dir).parent
    for path in sorted(path for pattern in _OUTSIDE for path in root.glob(pattern)):
        uri = path.relative_to(root).as_posix()
        files.append(File.generated(config, uri, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn relative links from paths in the repository into paths in the site."""
    uri = page.file.src_uri
    in_repository = uri if page.file.generated_by else f"docs/{uri}"

    def in_site(match: re.Match[str]) -> str:
        target = normpath(join(dirname(in_repository), match[2])).removeprefix("docs/")
        return match[1] + relpath(target, dirname(uri) or ".")

    return _RELATIVE_LINK.sub(in_site, markdown)
