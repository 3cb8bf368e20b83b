"""The public Python interface: its names, what `import chatload` does not do, and the blocks of docs/python.md."""

import ast
import re
import subprocess
import sys

import pytest

import chatload
from tests.integration.processes import ENV, ROOT

NAMES = [name for name in chatload.__all__ if name != "__version__"]
PAGE = (ROOT / "docs" / "python.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)


def is_locustfile(block):
    return re.search(r"^class \w+\(\w+\):", block, re.M) is not None


def python(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=False, env=ENV
    )


def test_importing_the_package_loads_nothing_of_locust():
    done = python("import sys, chatload; print([m for m in ('locust', 'gevent', 'scipy') if m in sys.modules])")
    assert done.stdout == "[]\n", done.stderr


def test_each_public_name_is_there_and_on_the_page():
    # In a process of its own: Locust is not imported into the process of other tests.
    done = python(f"import chatload; print({{name: getattr(chatload, name).__module__ for name in {NAMES}}})")
    assert done.stdout == f"{chatload._MODULES}\n", done.stderr
    assert [name for name in NAMES if f"`{name}`" not in PAGE] == []


def test_type_checkers_see_the_same_names():
    stub = ast.parse((ROOT / "chatload" / "__init__.pyi").read_text())
    seen = {node.names[0].asname: node.module for node in stub.body if isinstance(node, ast.ImportFrom)}
    assert seen == chatload._MODULES


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'chatload' has no attribute 'ChatUsr'"):
        _ = chatload.ChatUsr


@pytest.mark.parametrize("folder", ["locustfiles", "examples"])
def test_locustfiles_import_public_names_only(folder):
    for file in (ROOT / folder).glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not [module for module in modules if module.startswith("chatload.")], file
            if modules == ["chatload"]:
                assert {alias.name for alias in node.names} <= set(chatload.__all__), file


@pytest.mark.parametrize("block", [block for block in BLOCKS if not is_locustfile(block)])
def test_each_block_of_the_page_runs(block):
    done = python(block)
    assert done.returncode == 0, done.stderr


def test_the_page_has_locustfiles_too():
    assert sum(map(is_locustfile, BLOCKS)) == 5  # run by tests/integration/test_examples.py
