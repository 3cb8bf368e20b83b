"""Hooks of mkdocs for links that leave the folder docs/.

README and its neighbours (ARCHITECTURE.md and others) become pages. Other files that a page links to become part of the
site, so that the site is complete without the repository.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
#: Pages outside docs/ and their names in the site. Other Markdown files that pages link to are below source/.
PAGES = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
_LINK = re.compile(r"(!?\[[^\]]*\])\(([^)\s]+)\)")
_ELSEWHERE = re.compile(r"[a-z]+:|#")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages outside docs/, and the files that pages link to."""
    waiting = [*PAGES, *(f"docs/{file.src_uri}" for file in files.documentation_pages())]
    added = set(waiting)
    while waiting:
        source = waiting.pop()
        if not source.endswith(".md"):
            continue
        text = (ROOT / source).read_text()
        targets = {_resolved(source, link) for _, link in _LINK.findall(text) if not _ELSEWHERE.match(link)}
        waiting += (new := {target for target in targets - added if (ROOT / target).is_file()})
        added |= new
    for source in sorted(path for path in added if not path.startswith("docs/")):
        if source.endswith(".md"):
            content = _relinked(source, (ROOT / source).read_text())
            files.append(
                File.generated(config, _site_path(source), content=content, inclusion=InclusionLevel.NOT_IN_NAV)
            )
        else:
            files.append(File.generated(config, _site_path(source), abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Return the text of a page of docs/ with its links into the repository rewritten."""
    return markdown if page.file.generated_by else _relinked(f"docs/{page.file.src_uri}", markdown)


def _resolved(source: str, link: str) -> str:
    """Return the path in the repository to which a link of a page leads."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), link.partition("#")[0]))


def _site_path(path: str) -> str:
    """Return the path in the site of a file of the repository.

    A name that begins with a dot would be left out of the site. A README is the index of its folder.
    """
    if path.startswith("docs/"):
        return path[len("docs/") :]
    return PAGES.get(path, f"source/{path.lstrip('.')}".replace("README.md", "index.md"))


def _relinked(source: str, text: str) -> str:
    """Return the text of a page at a path in the repository with the links that the site needs.

    A link to a folder becomes plain text, because the site has no page for it.
    """
    folder = posixpath.dirname(_site_path(source))

    def relinked(match: re.Match[str]) -> str:
        label, link = match.groups()
        if _ELSEWHERE.match(link):
            return match.group()
        if not (ROOT / _resolved(source, link)).is_file():
            return label[1:-1]
        path = posixpath.relpath(_site_path(_resolved(source, link)), folder or ".")
        return f"{label}({path}{''.join(link.partition('#')[1:])})"

    return _LINK.sub(relinked, text)
