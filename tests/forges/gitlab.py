"""A GitLab project whose pipeline runs here."""

from dataclasses import dataclass
from pathlib import Path

from tests.forges.expression import evaluate
from tests.forges.machine import Machine, Played, git, read

PIPELINE = ".gitlab-ci.yml"
KEYWORDS = {"workflow", "stages", "variables", "default"}
FLAGS = ("-eo", "pipefail")  # what the runner's shell sets


@dataclass
class GitLab:
    """Where a project is, and what its settings say."""

    origin: Path
    folder: Path
    environments: dict
    """Environment to the variables that exist in it alone."""
    protected: tuple = ("fleet",)
    """Environments whose variables are for protected branches."""
    api: str = "http://127.0.0.1:9"
    runs: int = 0

    def merge_request(self, branch, *, fork=False):
        """Play what a merge request of a branch starts; of a fork: in the parent project, by a member."""
        sha = git(self.origin, "rev-parse", branch)
        return self._play(
            sha,
            manual=(),
            CI_PIPELINE_SOURCE="merge_request_event",
            CI_MERGE_REQUEST_IID="7",
            CI_MERGE_REQUEST_PROJECT_ID="1",
            CI_MERGE_REQUEST_PROJECT_URL="https://forge.example/brightpost/fleet",
            CI_MERGE_REQUEST_SOURCE_PROJECT_ID="2" if fork else "1",
            CI_MERGE_REQUEST_DIFF_BASE_SHA=git(self.origin, "merge-base", "main", branch),
        )

    def push(self, *manual):
        """Play what a merge into main starts, with those manual jobs that somebody starts."""
        sha = git(self.origin, "rev-parse", "main")
        return self._play(sha, manual, CI_PIPELINE_SOURCE="push", CI_COMMIT_BRANCH="main")

    def nightly(self):
        """Play what the schedule starts."""
        sha = git(self.origin, "rev-parse", "main")
        return self._play(sha, (), CI_PIPELINE_SOURCE="schedule", CI_COMMIT_BRANCH="main")

    def _play(self, sha, manual, **variables):
        self.runs += 1
        folder = self.folder / f"run{self.runs}"
        folder.mkdir(parents=True)
        (folder / "pipeline.yml").write_text(git(self.origin, "show", f"{sha}:{PIPELINE}"))
        pipeline = read(folder / "pipeline.yml")
        # https://docs.gitlab.com/ci/variables/predefined_variables/
        known = {
            "GITLAB_CI": "true",
            "CI_API_V4_URL": self.api,
            "CI_PROJECT_ID": "1",
            "CI_DEFAULT_BRANCH": "main",
            "CI_COMMIT_SHA": sha,
            "CI_JOB_ID": "42",
            "CI_JOB_URL": "https://forge.example/job/42",
            "CI_JOB_TOKEN": "glcbt-played",
            **variables,
        }
        if not _matching(pipeline["workflow"]["rules"], known):
            return {}
        return _Run(self, folder, pipeline, known, manual).play()


class _Run:
    def __init__(self, forge, folder, pipeline, known, manual):
        self.forge, self.folder, self.pipeline, self.known, self.manual = (
            forge,
            folder,
            pipeline,
            known,
            manual,
        )
        self.done, self.artifacts = {}, {}

    def play(self):
        names = [name for name in self.pipeline if name not in KEYWORDS and not name.startswith(".")]
        jobs = {name: self.whole(self.pipeline[name]) for name in names}
        stages = self.pipeline["stages"]
        for name in sorted(jobs, key=lambda name: stages.index(jobs[name]["stage"])):
            job = jobs[name]
            if not (rule := _matching(job["rules"], self.known)):
                continue
            before = [n for n in self.done if stages.index(jobs[n]["stage"]) < stages.index(job["stage"])]
            before = job.get("needs", before)
            if any(self.done[one].outcome != "success" for one in before):
                self.done[name] = Played(name, "skipped")
            elif rule.get("when") == "manual" and name not in self.manual:
                self.done[name] = Played(name, "manual")
            else:
                self.done[name] = self.job(name, job, before)
        return self.done

    def whole(self, job):
        """A job with what it extends, and the defaults."""
        base = (
            self.whole(self.pipeline[job["extends"]]) if "extends" in job else dict(self.pipeline["default"])
        )
        return _merged(base, job)

    def job(self, name, job, before):
        machine = Machine(self.folder / name)
        variables = self.known | {k: str(v) for k, v in self.pipeline["variables"].items()}
        machine.clone(self.forge.origin, self.known["CI_COMMIT_SHA"], whole=variables["GIT_DEPTH"] == "0")
        for one in before:
            for path, kept in self.artifacts.get(one, {}).items():
                (machine.work / path).mkdir()
                for file in kept.iterdir():
                    (machine.work / path / file.name).write_bytes(file.read_bytes())
        where = job.get("environment", {}).get("name")
        is_protected = self.known.get("CI_COMMIT_BRANCH") == "main"
        if where and (where not in self.forge.protected or is_protected):
            variables |= self.forge.environments[where]
        variables |= dict.fromkeys(job.get("id_tokens", ()), "oidc-played")
        script = "\n".join([*job["before_script"], *job["script"]])
        status, log = machine.shell(script, variables, flags=FLAGS)
        given = dict.fromkeys(job["script"], variables)
        played = Played(name, "failure" if status else "success", log, given, left=machine.left())
        for path in job.get("artifacts", {}).get("paths", ()):
            if not status or job["artifacts"].get("when") == "always":
                kept = self.folder / "artifacts" / name / path
                machine.keep(path, kept)
                self.artifacts.setdefault(name, {})[path] = kept
                played.reports = kept
        return played


def _merged(base, job):
    """Mappings are merged, everything else is replaced (`extends`)."""
    return base | {
        key: _merged(base[key], value)
        if isinstance(value, dict) and isinstance(base.get(key), dict)
        else value
        for key, value in job.items()
    }


def _matching(rules, variables):
    """The first rule that holds."""
    found = (r for r in rules if evaluate(r["if"], lambda name: variables.get(name.removeprefix("$"))))
    return next(found, None)
