"""The record of an apply, by the host's own shell: what it keeps, takes anew, and never blesses."""

import shlex
import subprocess
from dataclasses import replace

import pytest

from mailwright.drift import places
from mailwright.drift.record import Applied, accepting, again, beginning, ending, settled, wanted
from mailwright.drift.survey import FOOTER, HEADER, parse, script
from mailwright.model.needs import Directory, File, Needs, Package, Port, Sysctl, Unit, User

APPLIED = Applied("ann@desk", "2026-11-22T03:04:05Z", "abc1234def", dirty=True, fleet="f" * 64)
SAID = f"postfix {'d' * 64}\nunbound {'d' * 64}\n"
SETTLED = settled(SAID)


class Host:
    """A folder for the record, and a machine that is what `state` says: key to value."""

    def __init__(self, folder):
        self.folder = folder
        self.home = folder / "applied"
        self.lines = folder / "lines"
        self.question = f"cat {self.lines}\n"

    def be(self, **state):
        lines = [f"fact\t{key}\t{value}\n" for key, value in state.items()]
        self.lines.write_text("".join([f"{HEADER}\n", *lines, f"{FOOTER}\n"]))

    def run(self, text):
        text = text.replace(places.HOME, str(self.home)).replace("/var/lib/mailwright", str(self.folder))
        head = 'set -eu\nfail() { echo "$*" >&2; exit 1; }\nexec 9</dev/null\n'
        return subprocess.run(["sh", "-c", head + text], capture_output=True, text=True, check=False)

    def must(self, text):
        done = self.run(text)
        assert (done.returncode, done.stderr) == (0, ""), done

    def end(self, said=SAID, *roles):
        self.must(ending(self.question, replace(APPLIED, roles=roles), said))

    @property
    def settled(self):
        return self.run(f"sh -c {shlex.quote(SETTLED)}").returncode == 0

    @property
    def baseline(self):
        return dict(parse((self.home / "baseline").read_text()).of("fact"))


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


def test_a_first_run_takes_the_machine_as_it_is_and_says_who_made_it(host):
    host.must(beginning())
    assert not host.settled
    host.be(a=1)
    host.end()
    assert (host.baseline, host.settled) == ({"a": "1"}, True)
    assert Applied.read((host.home / "record.json").read_text()) == APPLIED
    assert {f.stat().st_mode & 0o077 for f in [host.home, *host.home.iterdir()]} == {0}
    assert sorted(f.name for f in host.home.iterdir()) == ["baseline", "record.json", "survey", "wanted"]


def test_a_run_blesses_its_own_changes_and_none_of_somebody_elses(host):
    host.be(ours="old", theirs="old", gone="was", stays="as it is")
    host.end()
    host.be(ours="old", theirs="by hand", more="by hand", stays="as it is")
    host.must(beginning())
    host.be(ours="new", theirs="by hand", more="by hand", stays="as it is", brought="new")
    host.end()
    assert host.baseline == {
        "ours": "new", "theirs": "old", "gone": "was", "stays": "as it is", "brought": "new",
    }  # fmt: skip


def test_what_the_run_puts_right_is_right(host):
    host.be(a="ours")
    host.end()
    host.be(a="by hand")
    host.must(beginning())
    host.be(a="ours by now")
    host.end()
    assert host.baseline == {"a": "ours by now"}


def test_a_killed_run_is_owed_its_end_and_what_it_changed_is_no_drift_then(host):
    host.be(a=1, b=1)
    host.end()
    host.must(beginning())
    host.be(a=2, b=1)  # killed here
    assert not host.settled
    host.must(beginning())
    host.be(a=2, b=2)
    host.end()
    assert (host.baseline, host.settled) == ({"a": "2", "b": "2"}, True)


def test_what_a_machine_is_to_be_is_recorded_when_it_changes(host):
    host.be(a=1)
    host.end(SAID.replace("d", "e"))
    assert not host.settled
    host.end()
    assert host.settled


def test_a_run_about_one_role_owes_nothing_of_it_to_the_next_whole_one(host):
    host.be(a=1)
    host.end(SAID.replace("unbound d", "unbound e"))
    partly = settled(SAID.splitlines(keepends=True)[1], partly=True)
    assert host.run(partly).returncode == 1
    host.end(SAID.splitlines(keepends=True)[1], "unbound")
    assert host.run(partly).returncode == 0
    assert host.settled


def test_a_run_about_one_role_leaves_what_is_owed_to_others(host):
    host.be(a=1)
    host.end(SAID.replace("postfix d", "postfix e"))
    host.end(SAID.splitlines(keepends=True)[1], "unbound")
    assert not host.settled


def test_a_run_about_one_role_records_nothing_where_nothing_is_recorded(host):
    assert host.run(settled(SAID, partly=True)).returncode == 0


def test_a_machine_that_cannot_be_surveyed_keeps_its_baseline(host):
    host.be(a=1)
    host.end()
    host.must(beginning())
    host.lines.write_text(f"{HEADER}\nfact\ta\t2\n")
    done = host.run(ending(host.question, APPLIED, SAID))
    assert (done.returncode, "could not be surveyed" in done.stderr) == (1, True)
    assert (host.baseline, host.settled) == ({"a": "1"}, False)


def test_what_a_survey_could_not_say_is_taken_anew(host):
    host.be(a=1)
    host.lines.write_text(host.lines.read_text().replace("fact\ta\t1", "failed\tfact\t"))
    host.end()
    host.be(a=1)
    host.must(beginning())
    host.end()
    assert host.baseline == {"a": "1"}
    assert parse((host.home / "baseline").read_text()).failed == frozenset()


def test_an_upgrade_takes_what_it_brought_and_leaves_who_applied(host):
    host.be(package=1, theirs=1)
    host.end()
    host.be(package=1, theirs=2)
    host.must(beginning())
    host.be(package=2, theirs=2)
    host.must(again())
    assert (host.baseline, host.settled) == ({"package": "2", "theirs": "1"}, True)
    assert Applied.read((host.home / "record.json").read_text()) == APPLIED


def test_an_upgrade_of_a_machine_without_a_record_makes_none(host):
    host.must(beginning() + again())
    assert not (host.home / "record.json").exists()


def test_accepting_takes_everything(host):
    assert host.run(accepting()).returncode == 1
    host.be(a=1)
    host.end()
    host.be(a=2, b=2)
    host.must(accepting())
    assert host.baseline == {"a": "2", "b": "2"}


def test_a_beginning_that_cannot_be_written_stops_no_run(host):
    host.folder.joinpath("applied").write_text("in the way")
    assert host.run(f"{beginning()}echo on").stdout == "on\n"


def test_a_record_reads_as_an_operator_would_say_it():
    assert str(APPLIED) == "2026-11-22 03:04:05 UTC by ann@desk, commit abc1234 (dirty)"
    assert Applied.read(APPLIED.as_json()) == APPLIED
    for other in ("", "{}", "[]", '{"version": 9}', APPLIED.as_json().replace('"by"', '"who"')):
        assert Applied.read(other) is None


NEEDS = Needs(
    packages=(Package("postfix"),),
    users=(User("ann", system=False, home="/home/ann", keys=("ssh-ed25519 AAAA ann",)),),
    directories=(Directory("/etc/app/sub"),),
    files=(File("/etc/dovecot/it's.conf", b"1"), File("/srv/app", b"2")),
    sysctls=(Sysctl("net.ipv4.ip_forward", "0", "a reason"),),
    units=(Unit("postfix.service"),),
    ports=(Port(25, "tcp", "public", "a test", at=("198.51.100.100",)),),
)


@pytest.mark.parametrize("needs", [Needs(), NEEDS])
def test_the_survey_is_whole_shell(needs):
    done = subprocess.run(["sh", "-n"], input=script(needs), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_survey_looks_where_roles_write_and_not_at_what_moves():
    text = script(NEEDS)
    for word in ("/etc/dovecot", "/etc/app", "/srv/app", "/home/ann/.ssh/authorized_keys", "198.51.100.100"):
        assert word in text
    roots = places.roots(NEEDS)
    assert not [(a, b) for a in roots for b in roots if b.startswith(f"{a}/")]


def test_what_a_machine_is_to_be_is_told_by_every_need():
    def said(needs):
        return wanted({"app": needs})

    digests = {said(NEEDS), said(Needs())}
    for change in ({"packages": ()}, {"users": ()}, {"units": ()}, {"files": (File("/srv/app", b"3"),)}):
        digests.add(said(Needs(**(vars(NEEDS) | change))))
    assert len(digests) == 6
    assert said(Needs(**(vars(NEEDS) | {"ports": ()}))) == said(NEEDS)


def test_half_an_answer_is_none():
    assert parse(f"{HEADER}\nfact\ta\t1\n") is None
    assert parse(f"banner\n{HEADER}\nfact\ta\t1\n{FOOTER}\n").of("fact") == {"a": "1"}
