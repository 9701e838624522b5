"""A GitHub repository whose workflow runs here."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from tests.forges.expression import evaluate, fill
from tests.forges.machine import Machine, Played, git, read

WORKFLOW = ".github/workflows/fleet.yml"
REPOSITORY = "brightpost/fleet"
FLAGS = ("-eo", "pipefail")  # what `shell: bash` means


@dataclass
class Environment:
    """An environment of the repository, with its protection rules."""

    secrets: dict = field(default_factory=dict)
    vars: dict = field(default_factory=dict)
    branches: tuple = ()
    """Which may deploy to it; empty: all."""
    approved: bool = True
    """Whether its reviewers, if it has any, have said yes."""


@dataclass
class GitHub:
    """Where a repository is, and what its settings say."""

    origin: Path
    folder: Path
    environments: dict
    api: str = "http://127.0.0.1:9"
    runs: int = 0

    def pull_request(self, branch, *, fork=False):
        """Play what a pull request of a branch starts."""
        merged = self._merged(branch)
        head = {"sha": git(self.origin, "rev-parse", branch), "ref": branch}
        head["repo"] = {"full_name": "stranger/fleet" if fork else REPOSITORY}
        event = {"pull_request": {"number": 7, "head": head, "base": {"ref": "main"}}}
        return self._play("pull_request", event, merged, "refs/pull/7/merge", fork=fork)

    def push(self):
        """Play what a merge into main starts."""
        return self._play("push", {}, git(self.origin, "rev-parse", "main"), "refs/heads/main")

    def nightly(self):
        """Play what the schedule starts."""
        return self._play("schedule", {}, git(self.origin, "rev-parse", "main"), "refs/heads/main")

    def _merged(self, branch):
        """The commit that GitHub makes to try a pull request out."""
        merged = git(self.origin, "merge-tree", "--write-tree", "main", branch)
        parents = ["-p", "main", "-p", branch]
        commit = git(self.origin, "commit-tree", merged, *parents, "-m", "Merge")
        git(self.origin, "update-ref", "refs/pull/7/merge", commit)
        return commit

    def _play(self, event_name, event, sha, ref, *, fork=False):
        self.runs += 1
        text = git(self.origin, "show", f"{sha}:{WORKFLOW}")
        folder = self.folder / f"run{self.runs}"
        folder.mkdir(parents=True)
        (folder / "workflow.yml").write_text(text)
        workflow = read(folder / "workflow.yml")
        assert event_name in workflow["on"]
        github = {"event_name": event_name, "event": event, "sha": sha, "ref": ref, "repository": REPOSITORY}
        run = _Run(self, folder, workflow, github | {"token": "ghs_played"}, fork)
        for name, job in workflow["jobs"].items():  # which are in the order of their needs
            run.done[name] = run.job(name, job)
        return run.done


class _Run:
    def __init__(self, forge, folder, workflow, github, fork):
        self.forge, self.folder, self.workflow, self.fork = forge, folder, workflow, fork
        self.github, self.done, self.outputs = github, {}, {}
        self.artifacts = folder / "artifacts"

    def job(self, name, job):
        needs = job.get("needs", [])
        needs = [needs] if isinstance(needs, str) else needs
        context = {
            "github": self.github,
            "vars": {},
            "secrets": {},
            "needs": {n: {"outputs": self.outputs.get(n, {}), "result": self.done[n].outcome} for n in needs},
        }
        well = all(self.done[need].outcome == "success" for need in needs)
        if not (well and evaluate(job.get("if", "success()"), _lookup(context, failed=False))):
            return Played(name, "skipped")
        where = fill(job.get("environment"), _lookup(context))
        if where:
            environment = self.forge.environments[where]
            branch = self.github["ref"].removeprefix("refs/heads/")
            if environment.branches and branch not in environment.branches:
                return Played(name, "failure", log=f"{branch} may not deploy to {where}")
            if not environment.approved:
                return Played(name, "waiting")
            context["vars"] = environment.vars
            context["secrets"] = {} if self.fork else environment.secrets
        return self.steps(name, job, context)

    def steps(self, name, job, context):
        machine = Machine(self.folder / name)
        played = Played(name, "success")
        files = {key: self.folder / name / key for key in ("output", "summary", "event.json")}
        files["event.json"].write_text(json.dumps(self.github["event"]))
        context["steps"] = {}
        for step in job["steps"]:
            failed = played.outcome == "failure"
            if not evaluate(step.get("if", "success()"), _lookup(context, failed=failed)):
                continue
            if "uses" in step:
                self.action(step["uses"], step.get("with", {}), machine, played)
                continue
            files["output"].write_text("")
            variables = self.variables(job, files) | {
                key: str(fill(value, _lookup(context)) or "")
                for level in (self.workflow, job, step)
                for key, value in level.get("env", {}).items()
            }
            played.given[step["run"]] = variables
            status, output = machine.shell(step["run"], variables, flags=FLAGS)
            played.log += output
            played.outcome = "failure" if status else played.outcome
            lines = files["output"].read_text().splitlines()
            context["steps"][step.get("id", "")] = {"outputs": dict(line.split("=", 1) for line in lines)}
        self.outputs[name] = {
            key: fill(value, _lookup(context)) for key, value in job.get("outputs", {}).items()
        }
        played.left = machine.left()
        played.summary = files["summary"].read_text() if files["summary"].exists() else ""
        return played

    def variables(self, job, files):
        """https://docs.github.com/en/actions/reference/workflows-and-actions/variables."""
        event = self.github["event"]
        oidc = {
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"{self.forge.api}/token?api-version=2.0",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "oidc-played",
        }
        return {
            "GITHUB_ACTIONS": "true",
            "GITHUB_API_URL": self.forge.api,
            "GITHUB_SERVER_URL": "https://forge.example",
            "GITHUB_REPOSITORY": REPOSITORY,
            "GITHUB_RUN_ID": "42",
            "GITHUB_SHA": self.github["sha"],
            "GITHUB_REF": self.github["ref"],
            "GITHUB_BASE_REF": event.get("pull_request", {}).get("base", {}).get("ref", ""),
            "GITHUB_EVENT_NAME": self.github["event_name"],
            "GITHUB_EVENT_PATH": str(files["event.json"]),
            "GITHUB_OUTPUT": str(files["output"]),
            "GITHUB_STEP_SUMMARY": str(files["summary"]),
        } | (oidc if job["permissions"].get("id-token") == "write" else {})

    def action(self, uses, given, machine, played):
        """What the few actions do that the workflow uses."""
        action = uses.partition("@")[0]
        if action == "actions/checkout":
            machine.clone(self.forge.origin, self.github["sha"], whole=given.get("fetch-depth") == 0)
        elif action == "actions/upload-artifact":
            machine.keep(given["path"], self.artifacts / given["name"])
            played.reports = self.artifacts / given["name"]
        elif action == "actions/download-artifact":
            machine.work.joinpath(given["path"]).mkdir()
            for file in (self.artifacts / given["name"]).iterdir():
                (machine.work / given["path"] / file.name).write_bytes(file.read_bytes())
        else:
            assert action == "actions/setup-python", uses


def _lookup(context, *, failed=False):
    calls = {"always()": True, "success()": not failed, "failure()": failed}

    def lookup(name):
        if name in calls:
            return calls[name]
        value = context
        for part in name.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        return value

    return lookup
