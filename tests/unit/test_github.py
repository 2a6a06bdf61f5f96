"""What GitHub reads: the workflow that tests and publishes, and the form for a new issue."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORM = ROOT / ".github" / "ISSUE_TEMPLATE" / "bug.yml"


def refused(schema, *paths):
    """The names of the files that a schema of GitHub's refuses."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.github-{schema}"]
    run = subprocess.run([*command, "--output-format=json", *paths], capture_output=True, text=True)
    return {Path(error["filename"]).name for error in json.loads(run.stdout)["errors"]}


def jobs(workflow):
    return yaml.safe_load(workflow.read_text())["jobs"].values()


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_workflow_is_one_that_github_accepts(workflow, tmp_path):
    for right, wrong in (("runs-on:", "run-on:"), ("needs: test", "needs: {}"), ("contents: read", "contents: look")):
        (tmp_path / f"{wrong}.yml").write_text(workflow.read_text().replace(right, wrong))
    faulty = list(tmp_path.iterdir())
    assert refused("workflows", workflow, *faulty) == {path.name for path in faulty}


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_commands_of_a_workflow_are_targets_of_make(workflow):
    targets = re.findall(r"^([a-z.-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    runs = [step["run"] for job in jobs(workflow) for step in job["steps"] if "run" in step]
    called = [
        target for run in runs for line in re.findall(r"^make (.+)$", run, re.MULTILINE) for target in line.split()
    ]
    assert called and set(called) <= set(targets)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_githubs_own_and_pinned_to_a_commit(workflow):
    actions = [step["uses"] for job in jobs(workflow) for step in job["steps"] if "uses" in step]
    assert actions and all(re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", action) for action in actions)
    assert len(set(actions)) == len({action.partition("@")[0] for action in actions}), "one action in two versions"


def test_form_for_an_issue_is_one_that_github_accepts(tmp_path):
    faulty = tmp_path / "faulty.yml"
    faulty.write_text(FORM.read_text().replace("type: textarea", "type: text"))
    assert refused("issue-forms", FORM, faulty) == {faulty.name}
