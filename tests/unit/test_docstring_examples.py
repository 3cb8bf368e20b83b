"""The examples in docstrings of the public testing tools are true."""

import doctest

import pytest

from chatload.simulator.model import faults, service


@pytest.mark.parametrize("module", [faults, service], ids=lambda module: module.__name__)
def test_examples(module):
    result = doctest.testmod(module)
    assert result.attempted > 0 and result.failed == 0
