"""What the jobs of a pipeline are made of: masks, comments, forges, logins, secrets that change."""

import html
import json
import os
import signal
import stat
import subprocess
import sys
from xml.etree import ElementTree as ET

import boto3
import pytest
from moto import mock_aws

from mailwright.model.errors import FleetError, MailwrightError
from mailwright.model.fleet import Fleet
from mailwright.model.identities import draw
from mailwright.model.secrets import GivenSecrets
from mailwright.model.secrets_file import Vault, add_recipients
from mailwright.model.site import Site
from mailwright.pipeline.changes import secrets_changed
from mailwright.pipeline.comment import Told, markdown, marker
from mailwright.pipeline.forge import GitHub, GitLab, forge
from mailwright.pipeline.job import Job, annotate, job, summarise, verbatim
from mailwright.pipeline.login import aws, ssh_keys
from mailwright.redact import Redactor
from tests.forges.api import Comments
from tests.forges.machine import git

LIMIT = 2000
PLAN = {
    "machines": [
        {"machine": "out1", "problem": None, "changes": [{}, {}]},
        {"machine": "out2", "problem": "no route", "changes": []},
        {"machine": "mx1", "problem": None, "changes": []},
    ],
    "zones": [{"zone": "brightpost.example.", "changes": [{}]}],
    "unread": [],
}


def test_a_plan_is_told_with_what_changes_where():
    told = Told(
        "inventory/prod.yaml",
        "Changes",
        "out1  2 to change\n",
        PLAN,
        ("new secrets: `a`",),
        "0123456789abcdef",
    )
    assert markdown(told, LIMIT).splitlines() == [
        "<!-- mailwright plan inventory/prod.yaml -->",
        "**Changes**: `inventory/prod.yaml`, at `0123456789ab`",
        "- new secrets: `a`",
        "",
        "| what | to change |",
        "|---|---|",
        "| `out1` | 2 |",
        "| `out2` | cannot be planned |",
        "| `brightpost.example.` | 1 |",
        "",
        "```diff",
        "out1  2 to change",
        "```",
    ]


def test_a_long_plan_is_cut_at_a_line_and_says_where_the_whole_is():
    lines = [f"+ line {number} äöü" for number in range(1000)]
    body = markdown(Told("prod.yaml", "Changes", "\n".join(lines), job="https://forge.example/1"), LIMIT)
    assert LIMIT - 50 < len(body.encode()) <= LIMIT
    shown = [line for line in body.splitlines() if line.startswith("+")]
    assert shown == lines[: len(shown)]
    assert body.endswith(
        f"{len(shown)} of 1000 lines; all of them are an artifact of [the job](https://forge.example/1).\n"
    )


@pytest.mark.parametrize("text", ["```\n# Approved\n```", "`````\n<img src=x>", "~~~"])
def test_nothing_in_a_plan_ends_its_block(text):
    body = markdown(Told("prod.yaml", "Changes", text), LIMIT)
    fence = next(line for line in body.splitlines() if line.startswith("```")).removesuffix("diff")
    assert fence not in text
    assert body.endswith(f"diff\n{text}\n{fence}\n")


def test_a_name_cannot_end_the_line_by_which_a_comment_is_found():
    assert "--" not in marker("a-->b\n--->").removeprefix("<!--").removesuffix("-->")


@pytest.fixture
def server():
    comments = Comments()
    yield comments
    comments.close()


@pytest.fixture(params=["github", "gitlab"])
def change(request, server, tmp_path):
    """A forge, in a job over a change."""
    if request.param == "gitlab":
        return forge(
            {
                "GITLAB_CI": "true",
                "CI_API_V4_URL": server.url,
                "CI_PROJECT_ID": "1",
                "CI_MERGE_REQUEST_IID": "7",
                "CI_MERGE_REQUEST_PROJECT_URL": "https://forge.example/brightpost/fleet",
                "MAILWRIGHT_GITLAB_TOKEN": "glpat-secret",
            }
        )
    (tmp_path / "event").write_text('{"pull_request": {"number": 7, "head": {"sha": "abc"}}}')
    variables = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_API_URL": server.url,
        "GITHUB_REPOSITORY": "brightpost/fleet",
    }
    return forge(variables | {"GITHUB_EVENT_PATH": str(tmp_path / "event"), "GITHUB_TOKEN": "ghs_secret"})


def test_a_comment_is_written_once_and_then_anew(change, server):
    for number in range(150):  # more than a page
        server.write(f"comment {number}")
    assert change.silence == ""
    assert "151" in change.comment("<!-- us -->", "<!-- us -->\nfirst")
    assert "151" in change.comment("<!-- us -->", "<!-- us -->\nsecond")
    assert len(server.all) == 151
    assert server.all[-1]["body"] == "<!-- us -->\nsecond"


def test_nobody_elses_comment_is_replaced(change, server):
    server.write("<!-- us --> by a stranger", user={"login": "mallory"}, author={"id": 66})
    change.comment("<!-- us -->", "<!-- us -->\nplan")
    assert [one["body"] for one in server.all] == ["<!-- us --> by a stranger", "<!-- us -->\nplan"]


def test_a_comment_of_an_account_that_is_gone_is_nobodys(server, change):
    """GitHub names no user then."""
    server.write("<!-- us -->\nold", author={"id": 66})
    server.all[0]["user"] = None
    change.comment("<!-- us -->", "<!-- us -->\nplan")
    assert [one["body"] for one in server.all] == ["<!-- us -->\nold", "<!-- us -->\nplan"]


def test_a_refused_comment_is_an_error_without_the_token(change, server):
    server.status = 403
    with pytest.raises(MailwrightError, match=r"403 Forbidden: may the token write comments\?") as error:
        change.comment("x", "x")
    assert "secret" not in str(error.value)
    assert "secret" not in repr(change)


def test_where_no_comment_can_be_written_is_known():
    assert GitHub({}).silence == "this is no pull request"
    assert GitLab({}).silence == "this is no merge request"
    assert GitLab({"CI_MERGE_REQUEST_IID": "7"}).silence == "there is no MAILWRIGHT_GITLAB_TOKEN"
    assert forge({}) is None


MACHINE = {"name": "m1", "fqdn": "m1.brightpost.example", "ipv4": "203.0.113.11"}
OWNER = {"name": "Bright Post", "postmaster": "postmaster@brightpost.example"}


def site(key, secrets):
    fleet = Fleet.model_validate({"owner": OWNER, "machines": [MACHINE | {"ssh": {"key": str(key)}}]})
    return Site(fleet, (), GivenSecrets(secrets))


def test_an_ssh_key_is_there_for_as_long_as_the_job_lasts(tmp_path):
    key = tmp_path / ".ssh" / "fleet"
    with ssh_keys(site(key, {"ssh/fleet": "the key\n"})) as made:
        assert made == [key]
        assert key.read_text() == "the key\n"
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert not key.exists()


def test_a_key_that_was_there_stays(tmp_path):
    key = tmp_path / "fleet"
    key.write_text("mine")
    with ssh_keys(site(key, {"ssh/fleet": "another"})):
        assert key.read_text() == "mine"
    assert key.read_text() == "mine"
    with ssh_keys(site(tmp_path / "agent", {})) as made:
        assert made == []


def test_reports_of_a_job_are_masked_however_their_format_writes_a_secret(tmp_path):
    secret = 'sword"fish&<é>'
    said = {"a.json": json.dumps({"found": secret}), "a.html": html.escape(secret), "a.txt": secret}
    said["a.xml"] = ET.tostring(ET.Element("case", {"why": secret}), encoding="unicode")
    for name, text in said.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    with job(site(tmp_path / "fleet", {"submission/shop": secret}), tmp_path, {}) as here:
        for name in said:
            here.remask(name)
    kept = {name: (tmp_path / name).read_text(encoding="utf-8") for name in said}
    assert all("***" in text and "fish" not in text for text in kept.values()), kept
    assert json.loads(kept["a.json"]) == {"found": "***"}
    assert ET.fromstring(kept["a.xml"]).get("why") == "***"  # noqa: S314 - ours


CANCELLED = """
import sys, time
from pathlib import Path
sys.path[:0] = {path!r}
from mailwright.pipeline.job import job
from tests.unit.test_pipeline_parts import site
with job(site({key!r}, {{"ssh/fleet": "the key"}}), Path({key!r}).parent, {{}}):
    print("begun", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_cancelled_job_leaves_no_key_behind(tmp_path, number):
    key = tmp_path / "fleet"
    script = CANCELLED.format(path=sys.path, key=str(key))
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"begun\n"
        assert key.exists()
        process.send_signal(number)
    assert process.returncode
    assert not key.exists()


def test_a_job_hides_every_secret_that_it_is_given(tmp_path):
    given = {
        "MAILWRIGHT_AGE_IDENTITY": "identity",
        "MAILWRIGHT_SECRET_TSIG_A": "tsig-key",
        "GITHUB_TOKEN": "ghs_token",
    }
    with job(site(tmp_path / "fleet", {"submission/shop": "swordfish"}), tmp_path, given) as here:
        assert here.mask("identity tsig-key ghs_token swordfish shop") == "*** *** *** *** shop"


def test_the_record_on_machines_names_who_is_behind_a_job(tmp_path):
    run = {"GITHUB_SERVER_URL": "https://forge.example", "GITHUB_REPOSITORY": "a/b", "GITHUB_RUN_ID": "42"}
    with job(
        site(tmp_path / "fleet", {}), tmp_path, run | {"GITHUB_ACTIONS": "true", "GITHUB_ACTOR": "ann"}
    ) as here:
        assert here.environ["MAILWRIGHT_BY"] == "ann (https://forge.example/a/b/actions/runs/42)"
    gitlab = {"GITLAB_CI": "true", "GITLAB_USER_LOGIN": "ann", "CI_JOB_URL": "https://forge.example/42"}
    with job(site(tmp_path / "fleet", {}), tmp_path, gitlab) as here:
        assert here.environ["MAILWRIGHT_BY"] == "ann (https://forge.example/42)"


def test_who_repeats_a_run_is_behind_it():
    given = {"GITHUB_ACTIONS": "true", "GITHUB_ACTOR": "ann", "GITHUB_TRIGGERING_ACTOR": "ben"}
    assert forge(given).who == "ben (GitHub)"


def test_a_job_masks_what_its_command_says_and_hands_it_no_token_of_the_forge(tmp_path, monkeypatch, capfd):
    package = tmp_path / "mailwright"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(
        "import os, sys\nprint(sys.argv[1:], 'swordfish-1', 'GITHUB_TOKEN' in os.environ, flush=True)\n"
        "print('::set-env name=PATH::/tmp', file=sys.stderr)\nsys.exit(3)"
    )
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reports").mkdir()
    environ = {"PATH": os.environ["PATH"], "GITHUB_TOKEN": "ghs_token", "GITHUB_ACTIONS": "true"}
    status, text = Job(tmp_path / "reports", environ, Redactor(["swordfish-1"])).run("verify", "prod.yaml")
    assert (status, text) == (3, "['verify', 'prod.yaml'] *** False\n::set-env name=PATH::/tmp\n")
    assert (tmp_path / "reports" / "verify.txt").read_text() == text
    before, *between, after = capfd.readouterr().out.splitlines()
    assert between == text.splitlines()
    assert before == f"::stop-commands::{after.strip(':')}"
    assert len(after) > 30  # nobody guesses it


def test_by_hand_nothing_is_said_to_a_runner(capsys):
    with verbatim({}):
        print("text")  # noqa: T201
    annotate(FleetError(["prod.yaml:3: x"]), {})
    assert capsys.readouterr().out == "text\n"


def test_a_mistake_is_shown_at_its_line_of_the_pull_request(capsys):
    annotate(FleetError(["a,b.yaml:14: machines[2].ipv4: no: 100%"]), {"GITHUB_ACTIONS": "true"})
    assert capsys.readouterr().out == "::error file=a%2Cb.yaml,line=14::machines[2].ipv4: no: 100%25\n"


def test_a_summary_is_written_where_github_reads_it(tmp_path):
    """The variables of a step: https://docs.github.com/en/actions/reference/workflows-and-actions/variables."""
    summarise("**Changes**\n", {"GITHUB_STEP_SUMMARY": str(tmp_path / "summary")})
    assert (tmp_path / "summary").read_text() == "**Changes**\n"


ROLE = "arn:aws:iam::123456789012:role/fleet"


@mock_aws
@pytest.mark.parametrize("name", ["github", "gitlab"])
def test_a_jobs_token_becomes_credentials_of_a_role(server, name):
    boto3.client("iam", region_name="us-east-1")
    given = {"AWS_ID_TOKEN": "a-token-of-the-job"}
    if name == "github":
        given = {"ACTIONS_ID_TOKEN_REQUEST_URL": f"{server.url}/token?api-version=2.0"}
        given["ACTIONS_ID_TOKEN_REQUEST_TOKEN"] = "bearer"
    found = aws({"AWS_ROLE_ARN": ROLE, **given})
    assert set(found) == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}
    assert all(found.values())
    if name == "github":
        assert server.requests[0][2]["Authorization"] == "Bearer bearer"


def test_a_role_without_a_token_says_which_permission_is_missing():
    with pytest.raises(MailwrightError, match="id-token: write"):
        aws({"AWS_ROLE_ARN": ROLE})
    assert aws({}) == {}
    assert aws({"AWS_ROLE_ARN": ROLE, "AWS_WEB_IDENTITY_TOKEN_FILE": "/run/token"}) == {}


@pytest.fixture
def vault(tmp_path):
    """A secrets file in a repository, with a base to compare with."""
    mine, ann = draw(), draw()
    git(tmp_path, "init", "--quiet")
    vault = Vault(tmp_path / "prod.secrets.age", tmp_path / "none", {"MAILWRIGHT_AGE_IDENTITY": mine.text})
    with vault.changing() as content:
        add_recipients(content, [mine.recipient], "ci")
        add_recipients(content, [ann.recipient], "ann")
        content.secrets |= {"tsig/a": "1", "submission/shop": "2", "old": "3"}
    commit(tmp_path)
    return vault, ann.recipient


def commit(folder):
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "x")


def test_what_a_change_does_to_the_secrets_is_said_by_name(vault):
    vault, ann = vault
    new = draw().recipient
    assert secrets_changed(vault, "HEAD") == ()
    with vault.changing() as content:
        content.recipients.remove(ann)
        add_recipients(content, [new])
        content.secrets["submission/shop"] = "swordfish"
        content.secrets["tsig/b"] = content.secrets.pop("old")
    said = secrets_changed(vault, "HEAD")
    assert said == (
        f"**can open the secrets from now on**: `{new}` (`nobody said whose`)",
        f"can open the secrets no more: `{ann}` (`ann`)",
        "new secrets: `tsig/b`",
        "secrets that go: `old`",
        "secrets with another value: `submission/shop`",
    )
    assert "swordfish" not in "".join(said)


def test_a_base_that_the_clone_lacks_is_said_and_not_guessed(vault):
    assert secrets_changed(vault[0], "f" * 40) == (
        f"the secrets as they were before (`{'f' * 40}`) are not in this clone: not compared",
    )


def test_a_file_that_nobody_here_could_open_before_is_not_compared(vault):
    vault, _ = vault
    other = draw()
    newcomer = Vault(vault.file, vault.identity, {"MAILWRIGHT_AGE_IDENTITY": other.text})
    with vault.changing() as content:
        add_recipients(content, [other.recipient], "new")
    assert "not compared" in secrets_changed(newcomer, "HEAD")[0]
