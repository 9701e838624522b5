"""The pipelines for GitHub and GitLab, played whole: which jobs run when, with what, and what stops them."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import check_jsonschema
import pytest

from tests.forges.expression import evaluate
from tests.forges.github import FLAGS, WORKFLOW, Environment, GitHub
from tests.forges.gitlab import PIPELINE, GitLab
from tests.forges.machine import git, read

PIPELINES = Path(__file__).parents[2] / "pipelines"
IDENTITY = {"MAILWRIGHT_AGE_IDENTITY": "AGE-SECRET-KEY-1PLAYED"}
ROLE = {"AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/fleet"}
SECRETS = set(IDENTITY.values())

# Stands for mailwright: says how it was called, and ends as the file `exits` says ("verify 3").
STUB = """#!/bin/sh
echo "mailwright $*"
mkdir -p reports && echo "$*" > "reports/$2.txt"
status=$(sed -n "s/^$2 //p" exits)
if [ "$2" = plan ]; then
    echo '{}' > reports/plan.json
    [ "$status" = nothing ] && changes=false || changes=true
    [ -z "$GITHUB_OUTPUT" ] || echo "changes=$changes" >> "$GITHUB_OUTPUT"
fi
[ "$2" != apply ] || [ -s approved/plan.json ] || exit 9
exit "$(echo "$status" | sed 's/[^0-9]//g; s/^$/0/')"
"""


class Played:
    """A repository with both pipelines, at one of the forges."""

    def __init__(self, folder, forge):
        self.folder, self.work, self.origin = folder, folder / "work", folder / "origin"
        git(folder, "init", "--quiet", "--initial-branch=main", self.work)
        for name, text in {
            WORKFLOW: (PIPELINES / "github.yml").read_text(),
            PIPELINE: (PIPELINES / "gitlab.yml").read_text(),
            "mailwright-stub": STUB,
            "exits": "",
        }.items():
            (self.work / name).parent.mkdir(parents=True, exist_ok=True)
            (self.work / name).write_text(text)
        self.commit("Begin")
        git(folder, "clone", "--quiet", "--bare", self.work, self.origin)
        git(self.work, "remote", "add", "origin", self.origin)
        git(self.work, "checkout", "--quiet", "-b", "change")
        self.environments = {
            "fleet": Environment(IDENTITY, ROLE, branches=("main",)),
            "fleet-plan": Environment(IDENTITY, ROLE),
            "fleet-approval": Environment(approved=False),
        }
        self.forge = forge
        self.github = GitHub(self.origin, folder / "github", self.environments)
        self.gitlab = GitLab(
            self.origin, folder / "gitlab", dict.fromkeys(("fleet", "fleet-plan"), IDENTITY | ROLE)
        )

    def commit(self, subject):
        git(self.work, "add", "--all")
        git(self.work, "commit", "--quiet", "--allow-empty", "--message", subject)

    def change(self, exits="", *, fork=False):
        """Propose a change; how its jobs went. `exits`: how commands end."""
        (self.work / "exits").write_text(exits)
        self.commit("Change")
        git(self.work, "push", "--quiet", "--force", "origin", "change")
        if self.forge == "github":
            return self.github.pull_request("change", fork=fork)
        return self.gitlab.merge_request("change", fork=fork)

    def merge(self, exits="", *, approved=False):
        """Merge a change; how the jobs of main went."""
        (self.work / "exits").write_text(exits)
        self.commit("Change")
        git(self.work, "push", "--quiet", "--force", "origin", "change:main")
        self.environments["fleet-approval"].approved = approved
        return self.github.push() if self.forge == "github" else self.gitlab.push(*["apply"] * approved)

    def night(self, exits=""):
        self.merge(exits)
        return self.github.nightly() if self.forge == "github" else self.gitlab.nightly()


@pytest.fixture(params=["github", "gitlab"])
def played(tmp_path, request):
    return Played(tmp_path, request.param)


def ran(jobs):
    """Job to what it ran of ours, in order; of jobs that ran at all."""
    found = {name: re.findall(r"^mailwright ci (.*)$", job.log, re.MULTILINE) for name, job in jobs.items()}
    return {name.removesuffix("-merged"): lines for name, lines in found.items() if lines}


def outcomes(jobs):
    return {name: job.outcome for name, job in jobs.items() if job.outcome != "skipped"}


FLEET = "inventory/prod.yaml"
LINTED = {"lint": [f"lint {FLEET} --without-secrets"]}
PLANNED = LINTED | {"plan": [f"lint {FLEET}", f"plan {FLEET}"]}
APPLIED = PLANNED | {"apply": [f"apply {FLEET} --plan approved/plan.json", f"verify {FLEET}"]}


def test_a_change_is_linted_and_planned(played):
    jobs = played.change()
    assert ran(jobs) == PLANNED
    assert set(outcomes(jobs).values()) == {"success"}
    assert (jobs["plan"].reports / "plan.json").exists()


def test_a_change_from_a_fork_is_linted_without_any_secret(played):
    jobs = played.change(fork=True)
    assert ran(jobs) == LINTED
    given = {
        value for job in jobs.values() for variables in job.given.values() for value in variables.values()
    }
    assert not given & (SECRETS | set(ROLE.values()))


def test_a_change_with_a_mistake_is_not_planned(played):
    jobs = played.change("lint 1")
    assert ran(jobs) == LINTED
    assert jobs["lint"].outcome == "failure"


def test_a_change_that_cannot_be_planned_is_red_and_says_why(played):
    jobs = played.change("plan 1")
    assert jobs["plan"].outcome == "failure"
    assert (jobs["plan"].reports / "plan.txt").exists()


def test_a_merge_waits_for_approval(played):
    jobs = played.merge()
    assert ran(jobs) == PLANNED
    assert {"waiting", "manual"} & set(outcomes(jobs).values())


def test_an_approved_merge_applies_what_was_planned_and_verifies_it(played):
    jobs = played.merge(approved=True)
    assert ran(jobs) == APPLIED
    assert set(outcomes(jobs).values()) == {"success"}


def test_an_apply_that_fails_is_red_and_nothing_is_verified(played):
    jobs = played.merge("apply 1", approved=True)
    assert ran(jobs)["apply"] == APPLIED["apply"][:1]
    assert jobs["apply"].outcome == "failure"


@pytest.mark.parametrize("played", ["github"], indirect=True)
def test_nobody_is_asked_to_approve_nothing(played):
    assert outcomes(played.merge("plan nothing", approved=True)) == {"lint": "success", "plan": "success"}


@pytest.mark.parametrize(("verify", "drift"), [(0, 0), (1, 0), (3, 2), (0, 3)])
def test_each_night_is_as_red_as_the_fleet(played, verify, drift):
    jobs = played.night(f"verify {verify}\ndrift {drift}\n")
    assert ran(jobs) == {"verify": [f"verify {FLEET}"], "drift": [f"drift {FLEET}"]}
    assert (jobs["verify"].outcome == "failure", jobs["drift"].outcome == "failure") == (
        verify > 0,
        drift > 0,
    )
    assert all((job.reports / f"{name}.txt").exists() for name, job in jobs.items() if job.reports)
    assert all(job.reports for name, job in jobs.items() if name in ("verify", "drift"))


@pytest.mark.parametrize("played", ["github"], indirect=True)
def test_only_commands_of_ours_are_given_a_secret(played):
    for jobs in (played.change(), played.merge(approved=True), played.night()):
        for job in jobs.values():
            for line, variables in job.given.items():
                assert line.startswith("exec mailwright ci ") or not SECRETS & set(variables.values()), line


@pytest.mark.parametrize("played", ["github"], indirect=True)
def test_a_branch_that_names_the_environment_of_main_gets_nothing(played):
    workflow = played.work / WORKFLOW
    workflow.write_text(workflow.read_text().replace("|| 'fleet-plan'", "|| 'fleet'"))
    jobs = played.change()
    assert ran(jobs) == LINTED
    assert jobs["plan"].outcome == "failure"


def test_actions_are_pinned_by_commit_with_their_version_beside():
    uses = re.findall(r"uses: (.*)", (PIPELINES / "github.yml").read_text())
    assert len(uses) > 5
    assert all(re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", one) for one in uses), uses


def test_no_text_of_a_stranger_becomes_shell():
    workflow = read(PIPELINES / "github.yml")
    lines = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    assert lines
    assert not [line for line in lines if "${{" in line]
    assert "pull_request_target" not in workflow["on"]


def test_a_command_of_ours_is_what_github_signals_when_it_cancels(tmp_path):
    """It signals the shell of a step, which passes nothing on, and kills the rest ten seconds later.

    https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-cancellation
    """
    (tmp_path / "mailwright").write_text("#!/bin/sh\necho $$\n")
    (tmp_path / "mailwright").chmod(0o755)
    workflow = read(PIPELINES / "github.yml")
    lines = [step.get("run", "") for job in workflow["jobs"].values() for step in job["steps"]]
    ours = [line for line in lines if "mailwright ci" in line]
    assert len(ours) > 5
    for line in ours:
        script = tmp_path / "script.sh"
        script.write_text(line)
        with subprocess.Popen(
            ["bash", "--noprofile", "--norc", *FLAGS, script],
            env={"PATH": f"{tmp_path}:/usr/bin:/bin", "FLEET": FLEET},
            stdout=subprocess.PIPE,
            text=True,
        ) as shell:
            assert int(shell.communicate()[0]) == shell.pid, line


def test_every_job_says_what_it_may_do_and_how_long():
    workflow = read(PIPELINES / "github.yml")
    assert workflow["permissions"] == {}
    writes = {
        (name, what)
        for name, job in workflow["jobs"].items()
        for what, level in job["permissions"].items()
        if level == "write"
    }
    oidc = {(name, "id-token") for name in ("plan", "apply", "drift")}
    assert writes == oidc | {("plan", "pull-requests")}
    assert all(job["timeout-minutes"] for job in workflow["jobs"].values())
    checkouts = [
        s["with"]
        for job in workflow["jobs"].values()
        for s in job["steps"]
        if "checkout" in s.get("uses", "")
    ]
    assert all(each["persist-credentials"] is False for each in checkouts)


def test_two_applies_never_overlap():
    github, gitlab = read(PIPELINES / "github.yml")["jobs"], read(PIPELINES / "gitlab.yml")
    assert github["apply"]["concurrency"] == {"group": "fleet-apply", "cancel-in-progress": False}
    assert "concurrency" not in github["approve"]  # who waits for people holds up nobody
    assert gitlab["apply"]["resource_group"]
    assert not gitlab["apply"].get("interruptible")
    assert not gitlab["default"].get("interruptible")


@pytest.mark.parametrize(("name", "schema"), [("github", "github-workflows"), ("gitlab", "gitlab-ci")])
def test_the_forges_own_schemas_know_every_key(name, schema):
    arguments = ["--builtin-schema", f"vendor.{schema}", str(PIPELINES / f"{name}.yml")]
    arguments += ["--data-transform", "gitlab-ci"] * (name == "gitlab")
    with pytest.raises(SystemExit) as ended:
        check_jsonschema.main(arguments)
    assert ended.value.code == 0


def test_zizmor_finds_nothing_that_a_stranger_could_use(tmp_path):
    workflow = tmp_path / WORKFLOW
    workflow.parent.mkdir(parents=True)
    shutil.copy(PIPELINES / "github.yml", workflow)
    command = [Path(sys.executable).parent / "zizmor", "--offline", "--min-severity=medium", workflow]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a.b == 'x' && (c || d)", "yes"),
        ("a.b != 'x' || !always()", False),
        ("c && 'fleet' || 'fleet-plan'", "fleet-plan"),
        ('$CI == "1" && $NONE == $OTHER', True),
    ],
)
def test_expressions_are_understood(text, value):
    known = {"a.b": "x", "d": "yes", "always()": True, "$CI": "1"}
    assert evaluate(text, known.get) == value
