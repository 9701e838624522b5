"""The pipelines of both forges against a real machine: green on a good change, red on what is not well."""

import json

import pytest

from tests.forges.api import Comments
from tests.forges.fleet import write_repository
from tests.forges.github import Environment, GitHub
from tests.forges.gitlab import GitLab
from tests.forges.machine import git
from tests.lab.deploying import mailwright

MINUTES = 2

MACHINE = "spare1"  # which has no other work
NETWORK = "192.0.2.16/28"
BEFORE, AFTER = "  admin:\n", f"  admin:\n    - {NETWORK}\n"  # who may log in
CRON = "/etc/cron.d/by-hand"


class Fleet:
    """The repository of a fleet of one machine, at a forge, whose `main` is what the machine is."""

    def __init__(self, lab, folder):
        self.host, self.file = lab.host(MACHINE), folder / "work" / "inventory" / "prod.yaml"
        self.work, self.origin = folder / "work", folder / "origin"
        self.work.mkdir()
        git(self.work, "init", "--quiet", "--initial-branch=main")
        self.identity = {"MAILWRIGHT_AGE_IDENTITY": write_repository(self.work, lab, MACHINE)}
        self.commit("Begin")
        git(folder, "clone", "--quiet", "--bare", self.work, self.origin)
        git(self.work, "remote", "add", "origin", self.origin)
        self.comments = Comments()
        api, more = self.comments.url, {"MAILWRIGHT_GITLAB_TOKEN": "glpat-played"}
        environments = {
            "fleet": Environment(self.identity, branches=("main",)),
            "fleet-plan": Environment(self.identity),
        }
        self.github = GitHub(
            self.origin, folder / "github", environments | {"fleet-approval": Environment()}, api
        )
        variables = {"fleet": self.identity, "fleet-plan": self.identity | more}
        self.gitlab = GitLab(self.origin, folder / "gitlab", variables, api=api)

    def commit(self, subject):
        git(self.work, "add", "--all")
        git(self.work, "commit", "--quiet", "--message", subject)

    def edit(self, before, after, branch):
        """A branch off main with an edit of the fleet file."""
        git(self.work, "checkout", "--quiet", "-B", branch, "main")
        text = self.file.read_text()
        assert before in text
        self.file.write_text(text.replace(before, after, 1))
        self.commit(f"{before} -> {after}")
        git(self.work, "push", "--quiet", "--force", "origin", branch)

    def merge(self, branch):
        git(self.work, "checkout", "--quiet", "main")
        git(self.work, "merge", "--quiet", "--no-ff", branch)
        git(self.work, "push", "--quiet", "origin", "main")

    def lets_in(self):
        return NETWORK in self.host.run("nft list ruleset").stdout


@pytest.fixture(scope="module")
def fleet(deployed, tmp_path_factory):
    made = Fleet(deployed, tmp_path_factory.mktemp("fleet"))
    yield made
    made.comments.close()
    made.host.run(f"rm -f {CRON}")
    done = mailwright("apply", "--yes", deployed.plan.file, "--limit", MACHINE)
    assert done.returncode == 0, done.stderr[-2000:]


def went(jobs, **expected):
    """Fail with the logs unless these jobs went so, and no others took place."""
    outcomes = {name.partition("-")[0]: job.outcome for name, job in jobs.items() if job.outcome != "skipped"}
    assert outcomes == expected, "\n".join(
        f"== {job.name}: {job.outcome}\n{job.log}" for job in jobs.values()
    )


GREEN = dict.fromkeys(("lint", "plan", "approve", "apply"), "success")


@pytest.mark.proof("the pipeline for GitHub plans, comments and applies a good change")
def test_a_good_change_is_green_on_github(fleet, evidence):
    first = fleet.github.push()  # whatever the machine was before, it is now what `main` says
    assert {job.outcome for job in first.values()} == {"success", "skipped"}, first["plan"].log
    fleet.edit(BEFORE, AFTER, "let-in")
    proposed = fleet.github.pull_request("let-in")
    went(proposed, lint="success", plan="success")
    assert not fleet.lets_in()  # nothing has happened yet
    (comment,) = fleet.comments.all
    assert comment["body"].startswith("<!-- mailwright plan inventory/prod.yaml -->\n**Changes**: ")
    assert NETWORK in comment["body"]
    assert "\n| `spare1` | " in comment["body"]
    assert all(job.left == [] for job in (*first.values(), *proposed.values()))  # no key stays in a home
    assert "PRIVATE KEY" not in "".join(job.log for job in (*first.values(), *proposed.values()))
    fleet.merge("let-in")
    applied = fleet.github.push()
    went(applied, **GREEN)
    assert fleet.lets_in()
    assert {file.name for file in applied["apply"].reports.iterdir()} >= {
        "apply.txt",
        "verify.xml",
        "verify.html",
    }
    went(fleet.github.nightly(), verify="success", drift="success")
    evidence(applied["apply"].log.splitlines()[-1])


@pytest.mark.proof("the pipeline for GitLab plans, comments and applies a good change")
def test_a_good_change_is_green_on_gitlab(fleet):
    fleet.edit(AFTER, BEFORE, "shut-out")
    went(fleet.gitlab.merge_request("shut-out"), lint="success", plan="success")
    assert "https://forge.example/job/42" not in fleet.comments.all[-1]["body"]  # it fits
    assert "**Changes**" in fleet.comments.all[-1]["body"]
    assert fleet.lets_in()
    fleet.merge("shut-out")
    went(fleet.gitlab.push("apply"), lint="success", plan="success", apply="success")
    assert not fleet.lets_in()


@pytest.mark.proof("both pipelines are red on a bad fleet file, a red host and drift")
@pytest.mark.parametrize("forge", ["github", "gitlab"])
def test_what_is_not_well_is_red(fleet, forge, evidence):
    fleet.edit("fqdn: spare1.", "fqdn: -spare1.", "bad")
    bad = fleet.github.pull_request("bad") if forge == "github" else fleet.gitlab.merge_request("bad")
    went(bad, lint="failure")
    assert "inventory/prod.yaml:" in bad["lint"].log
    fleet.host.run(f"systemctl stop unbound && echo '# by hand' > {CRON}")
    try:
        night = getattr(fleet, forge).nightly()
    finally:
        fleet.host.run(f"rm -f {CRON} && systemctl start unbound")
    went(night, verify="failure", drift="failure")
    assert "unbound" in night["verify"].log
    assert CRON in night["drift"].log
    report = json.loads((night["verify"].reports / "verify.json").read_text())
    assert report["version"] == 1
    evidence(f"{forge}: {night['drift'].log.splitlines()[-1]}")
