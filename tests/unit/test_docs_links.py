"""Every link between pages leads somewhere, every file that a page names exists, and the glossary is complete."""

import os
import re
import subprocess
import sys
import unicodedata

import pytest

from chatload import RunReader
from chatload.vocabulary import Blame, Outcome, RunResult, Verdict
from tests.integration.processes import ROOT

PAGES = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "docs/reference/*.md", "reports/README.md", "reports/sample/README.md")
    for path in ROOT.glob(pattern)
    if path.name != "CHANGELOG.md"
)
IDS = [str(page.relative_to(ROOT)) for page in PAGES]
FOLDERS = "chatload|tests|bench|docs|examples|locustfiles|reports"


def text_of(page):
    """A page without its code blocks."""
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)


def anchor(heading):
    """The anchor of a heading, as GitHub makes it."""
    words = re.sub(r"[`*]|\[(.*?)\]\(.*?\)", r"\1", heading.strip().lower())
    kept = "".join(c for c in words if c in " -_" or unicodedata.category(c)[0] in "LN")
    return kept.replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_link_leads_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, fragment = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if fragment:
            assert fragment in map(anchor, re.findall(r"^#+ (.+)$", target.read_text(), re.M)), link


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_file_named_exists(page):
    for name in re.findall(rf"`((?:{FOLDERS})/[\w./*-]+?)(?:::\w+)?`", page.read_text()):
        # What a run or a build leaves is not committed.
        if name.startswith(("reports/", "bench/.venv", "bench/node_modules")):
            continue
        assert list(ROOT.glob(name.rstrip("/"))), name


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_test_named_exists(page):
    files = {file.name: file for file in ROOT.glob("tests/**/test_*.py")}
    for file, name in re.findall(r"(test_\w+\.py)(?:::(test_\w+))?", page.read_text()):
        # examples/test_chat_service.py, and tests that a user writes, are not below tests/.
        assert file in files or (ROOT / "examples" / file).exists(), file
        assert f"def {name}" in files[file].read_text() if name else True, f"{file}::{name}"


def test_the_glossary_has_every_word_of_the_vocabulary():
    glossary = (ROOT / "docs" / "glossary.md").read_text()
    words = [word.value for kind in (Verdict, Blame, Outcome, RunResult) for word in kind]
    assert [word for word in words if f"`{word}`" not in glossary] == []


def test_every_page_is_linked_from_the_readme_or_another_page():
    linked = {
        (page.parent / link.partition("#")[0]).resolve()
        for page in PAGES
        for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    }
    assert [page.name for page in PAGES if page.resolve() not in linked and page.name != "README.md"] == []


def test_the_sample_run_can_be_read():
    with RunReader.open(ROOT / "reports" / "sample") as run:
        assert run.books().balanced()
        assert run.settings.flex_disconnect_timeout == 15.0


def test_the_reference_pages_are_those_of_the_code(tmp_path):
    # In a process of its own: click keeps the help option of a command that another test has called by itself.
    subprocess.run([sys.executable, "docs/site/reference.py", str(tmp_path)], cwd=ROOT, check=True, timeout=60)
    written = sorted(tmp_path.iterdir())
    assert len(written) == 4
    for page in written:
        kept = ROOT / "docs" / "reference" / page.name
        assert kept.read_text() == page.read_text(), "run: python docs/site/reference.py"


def test_the_site_builds_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert built.returncode == 0 and not built.stderr, built.stderr + built.stdout
    assert (tmp_path / "index.html").exists() and (tmp_path / "source" / "examples" / "scripted.toml").exists()


def test_each_message_that_troubleshooting_quotes_is_printed():
    """A quote is a code span of several words in a first column. Numbers and names in it stand for those of a run."""
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    quotes = [quote for cell in re.findall(r"^\| (.*?) \|", page, re.M) for quote in re.findall(r"`(\S+ [^`]+)`", cell)]
    assert len(quotes) > 10
    code = "".join(path.read_text() for path in (ROOT / "chatload").rglob("*.py"))
    code = re.sub(r'"\s*\n\s*f?"', "", code)  # a text may be on several lines
    for quote in quotes:
        for part in re.split(r"\d+|RequestChat|'\w+'|: ", quote):
            assert part.strip(" :") in code, quote
