"""The system that runs a pipeline, GitHub or GitLab: the change at hand, its comment, what a job tells."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from mailwright.model.errors import MailwrightError

_PATIENCE = 30
"""Seconds for an answer."""
_PAGE = 100


class Forge(Protocol):
    """What a job needs of the system that runs it."""

    @property
    def limit(self) -> int:
        """Bytes of a comment."""
        ...

    @property
    def base(self) -> str:
        """The revision that a change would be merged into; empty outside of a change."""
        ...

    @property
    def commit(self) -> str:
        """The revision that runs."""
        ...

    @property
    def job(self) -> str:
        """The address of the job's page."""
        ...

    @property
    def who(self) -> str:
        """Who is behind the run, for the record on the machines."""
        ...

    @property
    def silence(self) -> str:
        """Why no comment can be written here; empty where one can."""
        ...

    def comment(self, first_line: str, body: str) -> str:
        """Write a comment on the change, in the place of the one of ours that begins so; its address.

        Raises:
            MailwrightError: it cannot be written.
        """
        ...


def forge(environ: Mapping[str, str]) -> Forge | None:
    """The system that runs this process; nothing by hand."""
    if environ.get("GITHUB_ACTIONS") == "true":
        return GitHub(environ)
    return GitLab(environ) if environ.get("GITLAB_CI") == "true" else None


@dataclass(frozen=True)
class GitHub:
    """GitHub Actions (https://docs.github.com/en/actions/reference/workflows-and-actions/variables)."""

    environ: Mapping[str, str] = field(repr=False)
    limit: int = 65_536
    """Characters, says the API where a body is too long; bytes are never fewer."""

    @property
    def base(self) -> str:
        """As in `Forge`. The branch is there after a checkout with its whole history."""
        name = self.environ.get("GITHUB_BASE_REF", "")
        return f"origin/{name}" if name else ""

    @property
    def commit(self) -> str:
        """As in `Forge`. Of a pull request its own last commit, not the merge that is tried out."""
        head = self._event().get("pull_request", {}).get("head", {}).get("sha")
        return head or self.environ.get("GITHUB_SHA", "")

    @property
    def job(self) -> str:
        """As in `Forge`."""
        env = self.environ
        if "GITHUB_RUN_ID" not in env:
            return ""
        return f"{env['GITHUB_SERVER_URL']}/{env['GITHUB_REPOSITORY']}/actions/runs/{env['GITHUB_RUN_ID']}"

    @property
    def who(self) -> str:
        """As in `Forge`. The triggering actor may have repeated a run of another's."""
        names = (self.environ.get(f"GITHUB_{each}") for each in ("TRIGGERING_ACTOR", "ACTOR"))
        return f"{next(filter(None, names), 'somebody')} ({self.job or 'GitHub'})"

    @property
    def silence(self) -> str:
        """As in `Forge`."""
        if not self._number():
            return "this is no pull request"
        return "" if self.environ.get("GITHUB_TOKEN") else "there is no GITHUB_TOKEN"

    def comment(self, first_line: str, body: str) -> str:
        """As in `Forge`."""
        top = f"{self.environ['GITHUB_API_URL']}/repos/{self.environ['GITHUB_REPOSITORY']}/issues"
        api = Api({"Authorization": f"Bearer {self.environ['GITHUB_TOKEN']}"})
        for one in api.pages(f"{top}/{self._number()}/comments"):
            # Whoever writes the same first line does not get a text of theirs replaced in our name. The user
            # may be null: an account that is gone.
            ours = (one["user"] or {}).get("login") == "github-actions[bot]"
            if ours and one["body"].startswith(first_line):
                return str(api.send("PATCH", f"{top}/comments/{one['id']}", {"body": body})["html_url"])
        return str(api.send("POST", f"{top}/{self._number()}/comments", {"body": body})["html_url"])

    def _number(self) -> int | None:
        number = self._event().get("pull_request", {}).get("number")
        return number if isinstance(number, int) else None

    def _event(self) -> dict[str, Any]:
        path = self.environ.get("GITHUB_EVENT_PATH")
        event: dict[str, Any] = json.loads(Path(path).read_text()) if path and Path(path).is_file() else {}
        return event


@dataclass(frozen=True)
class GitLab:
    """GitLab CI/CD (https://docs.gitlab.com/ci/variables/predefined_variables/)."""

    environ: Mapping[str, str] = field(repr=False)
    limit: int = 1_000_000
    """Characters (https://docs.gitlab.com/administration/instance_limits/)."""

    @property
    def base(self) -> str:
        """As in `Forge`."""
        return self.environ.get("CI_MERGE_REQUEST_DIFF_BASE_SHA", "")

    @property
    def commit(self) -> str:
        """As in `Forge`."""
        return self.environ.get("CI_COMMIT_SHA", "")

    @property
    def job(self) -> str:
        """As in `Forge`."""
        return self.environ.get("CI_JOB_URL", "")

    @property
    def who(self) -> str:
        """As in `Forge`."""
        return f"{self.environ.get('GITLAB_USER_LOGIN', 'somebody')} ({self.job or 'GitLab'})"

    @property
    def silence(self) -> str:
        """As in `Forge`. A job's own token may not comment."""
        if not self.environ.get("CI_MERGE_REQUEST_IID"):
            return "this is no merge request"
        return "" if self.environ.get("MAILWRIGHT_GITLAB_TOKEN") else "there is no MAILWRIGHT_GITLAB_TOKEN"

    def comment(self, first_line: str, body: str) -> str:
        """As in `Forge`."""
        env = self.environ
        api = Api({"PRIVATE-TOKEN": env["MAILWRIGHT_GITLAB_TOKEN"]})
        me = api.send("GET", f"{env['CI_API_V4_URL']}/user")["id"]
        number = env["CI_MERGE_REQUEST_IID"]
        notes = f"{env['CI_API_V4_URL']}/projects/{env['CI_PROJECT_ID']}/merge_requests/{number}/notes"
        found = (n for n in api.pages(notes) if n["author"]["id"] == me and n["body"].startswith(first_line))
        if old := next(found, None):
            written = api.send("PUT", f"{notes}/{old['id']}", {"body": body})
        else:
            written = api.send("POST", notes, {"body": body})
        return f"{env['CI_MERGE_REQUEST_PROJECT_URL']}/-/merge_requests/{number}#note_{written['id']}"


@dataclass(frozen=True)
class Api:
    """Requests with JSON in them to the REST interface of a forge."""

    headers: Mapping[str, str] = field(repr=False)

    def send(self, method: str, url: str, data: Mapping[str, str] | None = None) -> Any:  # noqa: ANN401 - JSON
        """One request; what came back.

        Raises:
            MailwrightError: it was refused, or nobody answered.
        """
        headers = {"Accept": "application/json", "Content-Type": "application/json", **self.headers}
        content = json.dumps(data).encode() if data is not None else None
        request = urllib.request.Request(url, content, headers, method=method)  # noqa: S310 - the runner's own
        where = f"{method} {urllib.parse.urlsplit(url).path}"
        try:
            with urllib.request.urlopen(request, timeout=_PATIENCE) as answer:  # noqa: S310
                return json.load(answer)
        except urllib.error.HTTPError as error:
            advice = ": may the token write comments?" if error.code in (401, 403, 404) else ""
            raise MailwrightError(f"{where}: {error.code} {error.reason}{advice}") from None
        except (OSError, ValueError) as error:
            raise MailwrightError(f"{where}: {error}") from None

    def pages(self, url: str) -> Iterator[Any]:
        """Everything in a list, page by page, up to the first that is not full."""
        page = 1
        while found := self.send("GET", f"{url}?per_page={_PAGE}&page={page}"):
            yield from found
            if len(found) < _PAGE:
                return
            page += 1
