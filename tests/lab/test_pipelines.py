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

pytestmark = pytest.mark.slow

MACHINE = "spare1"  # which has no other work
# May log in from then on. They are apart, or nft would tell one range.
NETWORKS = {"github": "192.0.2.16/28", "gitlab": "192.0.2.64/28"}
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

    def propose(self, forge, branch):
        return self.github.pull_request(branch) if forge == "github" else self.gitlab.merge_request(branch)

    def merge(self, forge, branch):
        """Merge a branch; the approval is there."""
        git(self.work, "checkout", "--quiet", "main")
        git(self.work, "merge", "--quiet", "--no-ff", branch)
        git(self.work, "push", "--quiet", "origin", "main")
        return self.github.push() if forge == "github" else self.gitlab.push("apply")

    def night(self, forge):
        return (self.github if forge == "github" else self.gitlab).nightly()

    def lets_in(self, network):
        return network in self.host.run("nft list ruleset").stdout


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


GREEN = {"gitlab": dict.fromkeys(("lint", "plan", "apply"), "success")}
GREEN["github"] = GREEN["gitlab"] | {"approve": "success"}


@pytest.mark.proof("both pipelines plan, comment, apply and verify a good change")
@pytest.mark.parametrize("forge", ["github", "gitlab"])
def test_a_good_change_is_green(fleet, forge, evidence):
    network = NETWORKS[forge]
    fleet.edit("  admin:\n", f"  admin:\n    - {network}\n", forge)
    proposed = fleet.propose(forge, forge)
    went(proposed, lint="success", plan="success")
    body = fleet.comments.all[-1]["body"]
    assert body.startswith("<!-- mailwright plan inventory/prod.yaml -->\n**Changes**: ")
    assert network in body
    if forge == "github":  # on the page of the run, too
        assert proposed["plan"].summary.splitlines()[:2] == body.splitlines()[:2]
    assert not fleet.lets_in(network)  # nothing has happened yet
    merged = fleet.merge(forge, forge)
    went(merged, **GREEN[forge])
    assert fleet.lets_in(network)
    kept = {file.name for file in merged["apply"].reports.iterdir()}
    assert kept >= {"apply.txt", "verify.txt", "verify.xml", "verify.html", "verify.json"}
    jobs = (*proposed.values(), *merged.values())
    assert all(job.left == [] for job in jobs)  # no key stays in a home
    assert "PRIVATE KEY" not in "".join(job.log for job in jobs)
    went(fleet.night(forge), verify="success", drift="success")
    evidence(f"{forge}: {merged['apply'].log.splitlines()[-1]}")


@pytest.mark.proof("both pipelines are red on a bad fleet file, a red host and drift")
@pytest.mark.parametrize("forge", ["github", "gitlab"])
def test_what_is_not_well_is_red(fleet, forge, evidence):
    fleet.edit("fqdn: spare1.", "fqdn: -spare1.", "bad")
    bad = fleet.propose(forge, "bad")
    went(bad, lint="failure")
    assert "inventory/prod.yaml:" in bad["lint"].log
    fleet.host.run(f"systemctl stop unbound && echo '# by hand' > {CRON}")
    try:
        night = fleet.night(forge)
    finally:
        fleet.host.run(f"rm -f {CRON} && systemctl start unbound")
    went(night, verify="failure", drift="failure")
    assert "unbound" in night["verify"].log
    assert CRON in night["drift"].log
    report = json.loads((night["verify"].reports / "verify.json").read_text())
    assert report["version"] == 1
    evidence(f"{forge}: {night['drift'].log.splitlines()[-1]}")
