"""The files that `chatload init` writes, without running them: tests/integration/test_wheel.py runs them."""

import tomllib

import pytest
import yaml
from click.testing import CliRunner

from chatload import cli
from chatload.chat.script import load_script
from chatload.errors import UsageError
from chatload.features.init import command
from chatload.features.workloads import _AS_LOCUST, name_of, path_of
from chatload.run.settings import OptionGroup, options_of
from chatload.target import read_rules

STAGING = ("--host", "https://chat.staging.example/gms", "--service", "support", "--timeout", "1m", "--users", "5,000")


def init(*words, given=None):
    return CliRunner().invoke(cli.main, ["init", *map(str, words)], input=given, standalone_mode=False)


def settings_of(folder):
    lines = (folder / "locust.conf").read_text().splitlines()
    return dict(line.split(" = ", 1) for line in lines if line and not line.startswith("#"))


def test_the_files_say_what_was_given(tmp_path):
    assert init(tmp_path, *STAGING).exception is None
    settings = settings_of(tmp_path)
    assert settings["host"] == "https://chat.staging.example/gms" and settings["service"] == "support"
    assert settings["flex-disconnect-timeout"] == "60s" and settings["users"] == "5000"
    rules = read_rules({"CHATLOAD_CONFIG": str(tmp_path / "chatload.toml")}, tmp_path / "none.toml")
    assert (rules.max_sessions, rules.max_requests_per_s, rules.allowed_targets) == (10_000, 10_000, ())
    assert "If chat.staging.example is such a host, add it" in (tmp_path / "chatload.toml").read_text()
    readme = (tmp_path / "README.md").read_text()
    assert "chatload doctor --host https://chat.staging.example/gms" in readme and "simulator" not in readme
    assert "If chat.staging.example is not in a private network, ask its owner" in readme
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {
        path.rpartition("/")[2] for path in command.FILES
    }


def test_every_file_is_right_as_it_is(tmp_path):
    init(tmp_path)
    known = {option.flag.strip("-") for group in OptionGroup for option in options_of(group)}
    locusts = {"locustfile", "users", "spawn-rate", "run-time", "stop-timeout", "headless", "only-summary"}
    commented = [line[1:].partition(" = ")[0] for line in (tmp_path / "locust.conf").read_text().splitlines()
                 if line.startswith("#") and not line.startswith("# ") and len(line) > 1]  # fmt: skip
    assert {*settings_of(tmp_path), *commented} <= known | locusts and len(commented) == 2
    script = load_script(tmp_path / "customers.toml")
    assert script.chat_length.mean() == 10 and script.answer_patience.mean() == 20
    compile((tmp_path / "locustfile.py").read_text(), "locustfile.py", "exec")
    assert tomllib.loads((tmp_path / "chatload.toml").read_text())["locked"] is False
    workflow = yaml.safe_load((tmp_path / ".github/workflows/chatload.yml").read_text())
    job = workflow["jobs"]["load-test"]
    steps = job["steps"]
    # One line names the folder, for commands and for actions.
    folder = "${{ env.FOLDER }}"
    assert workflow["env"] == {"FOLDER": "."} and job["defaults"]["run"] == {"working-directory": folder}
    assert [path for step in steps if (path := step.get("with", {}).get("path"))] == [f"{folder}/chatload-run/"]
    commands = " ".join(step.get("run", "") for step in steps)
    assert "chatload simulator --port 8080" in commands and "locust --run-dir chatload-run" in commands
    assert all(len(line) <= 120 for path in command.FILES for line in (tmp_path / path).read_text().splitlines())


def test_nothing_is_overwritten_and_nothing_is_written_beside(tmp_path):
    (tmp_path / "README.md").write_text("mine")
    refused = init(tmp_path)
    assert isinstance(refused.exception, UsageError)
    assert str(refused.exception) == (
        f"README.md: already in {tmp_path}, and nothing is overwritten; name another folder: chatload init FOLDER"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"] and (
        tmp_path / "README.md"
    ).read_text() == "mine"


def test_a_file_that_cannot_be_written_leaves_no_other(tmp_path):
    (tmp_path / ".github").write_text("a file where a folder is needed")
    refused = init(tmp_path)
    assert isinstance(refused.exception, UsageError) and "cannot be made" in str(refused.exception)
    assert [path.name for path in tmp_path.iterdir()] == [".github"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--host", "127.0.0.1:80"), "expected --host http://HOST"),
        (("--host", "https://user:secret@chat.example"), "a file should hold no password"),
        (("--service", "my service"), "--service my service: expected letters"),
        (("--timeout", "soon"), "--timeout soon: expected a duration above 0, such as"),
        (("--users", "0"), "--users 0: expected a whole number from 1 on"),
    ],
)
def test_a_value_that_no_file_may_hold(options, says, tmp_path):
    refused = init(tmp_path / "new", *options)
    assert isinstance(refused.exception, UsageError) and says in str(refused.exception)
    assert "secret" not in str(refused.exception) and not (tmp_path / "new").exists()


def test_a_doubtful_timeout_is_a_warning(tmp_path):
    made = init(tmp_path, "--timeout", "45000")
    assert made.exception is None and "45000 is 12.5 hours: did you mean 45000ms, that is 45s?" in made.stderr


def test_a_terminal_is_asked_and_asked_again(tmp_path, monkeypatch):
    answers = "nowhere\nhttp://localhost:9000\n\nsoon\n90s\n25\n"
    monkeypatch.setattr(command, "_asks", lambda: True)
    made = init(tmp_path, given=answers)
    assert made.exception is None, made.output
    assert (
        made.output.count("URL of the chat service") == 2
        and "Error: --timeout soon: expected a duration" in made.output
    )
    settings = settings_of(tmp_path)
    assert (settings["host"], settings["service"], settings["users"]) == ("http://localhost:9000", "default", "25")
    assert settings["flex-disconnect-timeout"] == "90s" and "chatload simulator --port 9000" in made.output


def test_a_workload_has_a_name_and_a_path():
    path = path_of("arrivals")
    assert path.is_file() and name_of(str(path)) == "arrivals"
    assert name_of("/opt/other/site-packages/chatload/locustfiles/soak.py") == "soak"
    assert name_of("locustfiles/arrivals.py") == name_of("/x/chatload/locustfiles/mine.py") == ""
    with pytest.raises(UsageError, match="expected one of arrivals, capacity, chat, interval_sweep, soak"):
        path_of("../cli")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("locustfile arrival", "no workload is named 'arrival'; did you mean arrivals? expected one of arrivals,"),
        ("run capacty --host x", "no workload is named 'capacty'; did you mean capacity?"),
        ("run mine", "no workload is named 'mine'; did you mean mine.py, your locustfile?"),
        ("run mime.py", "mime.py: no such file; did you mean mine.py?"),
        ("run other.py", "other.py: no such file; chatload locustfile lists the workloads"),
    ],
)
def test_a_wrong_name_gets_the_nearest_one(words, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("")
    with pytest.raises(SystemExit) as left:
        cli.run(words.split())
    assert left.value.code == 2 and capsys.readouterr().err.startswith(f"chatload: {says}")


def test_a_run_becomes_the_locust_process(monkeypatch):
    became = []
    monkeypatch.setattr("os.execv", lambda program, words: became.append(words[1:]))
    CliRunner().invoke(cli.main, ["run", "soak", "--host", "http://h", "-t", "24h", "--help"], standalone_mode=False)
    assert became == [["-P", "-c", _AS_LOCUST, "-f", str(path_of("soak")), "--host", "http://h", "-t", "24h", "--help"]]


@pytest.mark.parametrize("host", ['http://a"b', "http://a'b", "http://h\nx", "http://h;ls", "http://$(ls)"])
def test_a_host_that_would_need_quotes_is_refused(tmp_path, host, capsys):
    with pytest.raises(SystemExit) as left:
        cli.run(["init", str(tmp_path / "mine"), "--host", host])
    told = capsys.readouterr().err
    assert left.value.code == 2 and told.count("\n") == 1 and "without spaces and quotes" in told
    assert not (tmp_path / "mine").exists()
