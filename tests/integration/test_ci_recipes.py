"""The CI recipes are run as they stand: every shell line of the workflow's load test and of the GitLab snippet."""

import os
import re
import subprocess
import sys
from collections import Counter
from xml.etree import ElementTree

import pytest
import yaml

from chatload import Simulator, exit_codes
from chatload.features.init.command import LoadTest, contents
from chatload.features.report.summary import exit_code
from chatload.thresholds.gate import standard_thresholds
from chatload.vocabulary import RunResult
from tests.integration.processes import ENV, ROOT, fails_by_stalls_alone, summary_of

INSTALL = "pip install -c constraints.txt ."
DOCS = ROOT / "docs" / "ci.md"


def workflow():
    return yaml.safe_load((ROOT / ".github" / "workflows" / "chatload.yml").read_text())


def yaml_blocks():
    """The GitLab job and the nightly workflow of the page."""
    gitlab, nightly = map(yaml.safe_load, re.findall(r"```yaml\n(.*?)```", DOCS.read_text(), re.DOTALL))
    return gitlab, nightly


def gitlab():
    (job,) = yaml_blocks()[0].values()
    return job


def summary_step(steps):
    return next(step for step in steps if step.get("name") == "Job summary")["run"]


def shell(script, folder):
    """Run a step as CI does, with `chatload` on the path; gives the finished process."""
    bin_dir = folder / "bin"
    bin_dir.mkdir(exist_ok=True)
    command = bin_dir / "chatload"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m chatload "$@"\n')
    command.chmod(0o755)
    work = folder / "work"
    work.mkdir(exist_ok=True)
    page = str(folder / "page.md")
    environment = {**ENV, "PATH": f"{bin_dir}{os.pathsep}{ENV['PATH']}", "CI": "true", "GITHUB_STEP_SUMMARY": page}
    arguments = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    return subprocess.run(
        arguments, cwd=work, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def assert_outputs(folder, code):
    """The run of the recipe passed, and its files are there."""
    summary = summary_of(folder)
    assert code == exit_code(summary) and (code == 0 or fails_by_stalls_alone(summary)), summary
    assert (folder / "summary.md").read_text().startswith(f"### chatload: {summary['result']}\n")
    cases = ElementTree.parse(folder / "junit.xml").iter("testcase")
    groups = Counter(case.get("classname") for case in cases)
    assert groups == {"chatload.run": 3, "chatload.thresholds": 9}


@pytest.mark.slow
def test_every_step_of_the_github_load_test(tmp_path):
    steps = workflow()["jobs"]["load-test"]["steps"]
    scripts = [step["run"] for step in steps if "run" in step]
    assert scripts[0] == INSTALL
    work = tmp_path / "work"
    for script in scripts[1:]:
        done = shell(script, tmp_path)
        if "chatload demo" in script:
            assert_outputs(work / "chatload-run", done.returncode)
        elif done.returncode:  # whole: an assertion's text would be cut
            pytest.fail(f"{script}\nexit {done.returncode}\n{done.stdout}\n{done.stderr}")
    assert (tmp_path / "page.md").read_text() == (work / "chatload-run" / "summary.md").read_text()
    for step in steps:
        for key in ("path", "report_paths"):
            if key in step.get("with", {}):
                assert (work / step["with"][key]).exists(), step


@pytest.mark.slow
def test_every_line_of_the_gitlab_snippet(tmp_path):
    job = gitlab()
    assert job["before_script"] == [INSTALL]
    done = shell("\n".join(job["script"]), tmp_path)
    work = tmp_path / "work"
    assert_outputs(work / "chatload-run", done.returncode)
    for path in (*job["artifacts"]["paths"], job["artifacts"]["reports"]["junit"]):
        assert (work / path).exists(), path


@pytest.mark.slow
def test_every_step_of_the_nightly_workflow(tmp_path):
    job = yaml_blocks()[1]["jobs"]["nightly"]
    scripts = {step["name"]: step["run"] for step in job["steps"] if "run" in step}
    assert list(scripts) == ["Install", "Load test", "History"]
    with Simulator("--flex-disconnect-timeout", 3) as server:
        gate = shell(f"{scripts['Load test'].strip()} -u 4 -r 4 -t 2s".replace("$CHAT_URL", server.url), tmp_path)
    few_chats = (exit_codes.INVALID, exit_codes.INCONCLUSIVE)  # or a busy machine
    assert gate.returncode in few_chats, gate.stdout + gate.stderr
    history = shell(scripts["History"], tmp_path)
    assert history.returncode == 0, history.stdout + history.stderr
    work = tmp_path / "work"
    (run,) = (work / "nightly").iterdir()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d{6}", run.name)
    restore, save = (step["with"] for step in job["steps"] if "actions/cache" in step.get("uses", ""))
    assert restore["key"] == save["key"] and restore["key"].startswith(restore["restore-keys"])
    for step in job["steps"]:
        assert (work / step.get("with", {}).get("path", "")).exists(), step


@pytest.mark.slow
def test_a_night_that_is_worse_fails_the_nightly_workflow(tmp_path):
    (history,) = (step["run"] for step in yaml_blocks()[1]["jobs"]["nightly"]["steps"] if step.get("name") == "History")
    for code, result in ((0, 0), (1, 1), (2, 1), (4, 0)):
        assert shell(f"chatload() {{ return {code}; }}\n{history}", tmp_path).returncode == result


def test_a_run_that_never_began_does_not_fail_the_job_summary(tmp_path):
    """The step that failed is the one to read."""
    init = contents(LoadTest("http://127.0.0.1:8080", "default", "45s", 10))[".github/workflows/chatload.yml"]
    for steps in (workflow()["jobs"]["load-test"]["steps"], yaml.safe_load(init)["jobs"]["load-test"]["steps"]):
        done = shell(summary_step(steps), tmp_path)
        assert done.returncode == 0 and done.stderr == "" and not (tmp_path / "page.md").exists()


def test_what_a_shut_gate_leaves_is_kept():
    steps = workflow()["jobs"]["load-test"]["steps"]
    test = next(i for i, step in enumerate(steps) if "chatload demo" in step.get("run", ""))
    assert len(steps) > test + 3
    assert all(step["if"].startswith("always()") for step in steps[test + 1 :])
    assert gitlab()["artifacts"]["when"] == "always"


def test_actions_are_pinned_to_a_major_version():
    jobs = [*workflow()["jobs"].values(), *yaml_blocks()[1]["jobs"].values()]
    uses = [step["uses"] for job in jobs for step in job["steps"] if "uses" in step]
    assert uses and all(re.fullmatch(r"[\w-]+(/[\w-]+)+@v\d+", action) for action in uses), uses


def test_the_other_job_runs_what_ci_runs():
    assert workflow()["jobs"]["tests"]["steps"][-1]["run"] == ".ci/run"
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_the_exit_codes_are_those_there_are():
    text = DOCS.read_text()
    rows = re.findall(r"^\| (\d) \| \*\*([\w ]+)\*\*", text, re.MULTILINE)
    documented = [(word, int(code)) for code, word in rows if word != "never began"]
    assert sorted(documented) == sorted((result.value, exit_code({"result": result.value})) for result in RunResult)
    assert (str(exit_codes.WRONG_USAGE), "never began") in rows


def test_the_thresholds_of_the_standard_gate_are_documented():
    documented = re.findall(r"^\| `(.+?)` \|", DOCS.read_text(), re.MULTILINE)
    assert tuple(text for text in documented if "<" in text or ">" in text) == standard_thresholds()
    # Nothing tested has the exit code of inconclusive: a pipeline that forgives it would pass a dead server.
    assert "allow_failure" not in gitlab()


def test_files_and_links_named_in_the_docs_are_there():
    text = DOCS.read_text()
    for link in re.findall(r"\]\((\.\./[^)]+)\)", text):
        assert (DOCS.parent / link).resolve().exists(), link
