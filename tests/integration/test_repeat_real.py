"""The report's command, run as it is: the run that it makes has the same settings, and `compare` takes both."""

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from chatload.features.report.page import repeat_command, repeat_files
from chatload.run.reader import RunReader
from tests.integration.processes import HASTY, chatload_here, locust, simulator
from tests.integration.test_stopping import ports

pytestmark = pytest.mark.slow


def settings_of(run_dir):
    with RunReader.open(run_dir) as reader:
        return replace(reader.settings, started_at=None)


def test_a_run_with_a_script_in_two_processes_is_repeated(tmp_path):
    script = tmp_path / "script.toml"
    script.write_text(HASTY)
    given = ("-u", "6", "-r", "6", "-t", "4s", "--processes", "2", "--script", script, "--connections", "3",
             "--flex-disconnect-timeout", "3", "--threshold", "unserved.rate < 90%")  # fmt: skip
    with simulator("--flex-disconnect-timeout", "3") as host:
        first = locust(host, tmp_path / "first", *given, *ports())
        assert first.returncode == 0, first.stdout + first.stderr
        settings = settings_of(tmp_path / "first")
        script.unlink()
        for name, text in repeat_files(settings).items():
            Path(name).write_text(text)
        command = shlex.split(repeat_command(settings).replace("\\\n", " "))
        assert command[0] == "locust" and "--chat-length" not in command
        again = locust(host, tmp_path / "again", *command[1:], *ports())
        assert again.returncode == 0, again.stdout + again.stderr
    assert settings_of(tmp_path / "again") == settings
    compared = chatload_here("compare", tmp_path / "first", "--", tmp_path / "again")
    assert compared.returncode == 4 and "settings that differ" not in compared.stdout.lower(), compared.stderr
