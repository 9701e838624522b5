"""Drills: a machine's backups brought back onto a spare one; what a good one leaves, and what fails one."""

import json
import os
import signal
import subprocess
from contextlib import contextmanager

import pytest

from mailwright.backup.restoring import STAGES
from mailwright.backup.snapshots import BackupError
from mailwright.backup.spares import HostSpare
from mailwright.command import backup_drill
from mailwright.command.main import INTERRUPTED
from mailwright.lab.shell import wait_until
from mailwright.verify.ssh import runner
from tests.lab.deploying import ROOT, command, deploy, mailwright, verify

MINUTES = 5

MACHINE, SPARE = "mx1", "spare1"
MAIL = "/srv/mail"
DRILLED = "drilled"
CONFIG = "/etc/mailwright/backup.json"
SHORT = 20
"""Lines of a secret up to this length may be in other files, too."""
DROP_IN = "/etc/systemd/system/opendkim-verify.service.d"
DEFERRED = "full-of-drills@mailbox.example"


@pytest.fixture(scope="module")
def mail(deployed):
    """Mail of every kind on the machine, and a backup of it; gone afterwards."""
    host = deployed.host(MACHINE)
    user = host.run(["stat", "-c", "%U:%G", MAIL]).require().stdout.strip()
    folder = f"{MAIL}/drill"
    host.run(
        f"install -d -m 0700 {folder} {folder}/cur {folder}/new {folder}/tmp &&"
        f' for i in 1 2 3; do echo "mail $i" >{folder}/new/$i.drill; done; chmod 0600 {folder}/new/*;'
        f" setfattr -n user.drill -v yes {folder}/new/1.drill 2>/dev/null || :;"
        f" chown -R {user} {folder}"
    ).require()
    host.run(
        ["sendmail", "-f", "postmaster@brightpost.example", DEFERRED], stdin="Subject: drill\n\n.\n"
    ).require()
    wait_until(lambda: "deferred" in host.run("postqueue -j").stdout, "a message is deferred", timeout=60)
    back_up(deployed)
    yield folder
    host.run(f"rm -rf {folder}; postsuper -d ALL").require()


def back_up(lab):
    done = mailwright("backup", "run", lab.plan.file, "--limit", MACHINE)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.proof("files that were lost come back as they were, after what would change was shown")
def test_lost_files_come_back_as_they_were(deployed, mail, evidence):
    host = deployed.host(MACHINE)
    look = f"find {mail}/new -type f -printf '%p %u %g %m\n' | sort; cat {mail}/new/*"
    before = host.run(look).require().stdout
    host.run(f"rm {mail}/new/1.drill {mail}/new/3.drill").require()
    asked = ("backup", "restore", deployed.plan.file, MACHINE, "--path", mail)
    brought = mailwright(*asked, "--to", "/root/drill")
    assert brought.returncode == 0, brought.stderr
    assert host.exists(f"/root/drill{mail.replace(MAIL, f'{MAIL}/.backup')}/new/1.drill")
    host.run("rm -r /root/drill").require()
    done = mailwright(*asked, "--yes")
    assert done.returncode == 0, done.stderr
    assert f"+ {mail}/new/1.drill  is not there now" in done.stdout
    assert host.run(look).require().stdout == before
    evidence(done.stdout.splitlines()[0])
    assert "nothing to do" in mailwright(*asked).stderr
    assert host.run(["ls", STAGES]).stdout == ""


@pytest.mark.usefixtures("mail")
def test_what_the_store_has_is_listed_and_verified_from_the_keeper(deployed):
    file = deployed.plan.file
    listed = mailwright("backup", "list", file, "--limit", MACHINE, "--json")
    assert listed.returncode == 0, listed.stdout + listed.stderr
    assert {row["class"] for row in json.loads(listed.stdout)} == {"long", "short"}
    verified = mailwright("backup", "verify", file, "--limit", MACHINE, "--read", "--json")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert json.loads(verified.stdout)["machines"][0]["checked"]


@pytest.fixture(scope="module")
def passed(deployed, mail, tmp_path_factory):  # noqa: ARG001 - there is mail
    """A drill that was held; what the spare was at its end is kept under a label for the tests below."""
    folder, host = tmp_path_factory.mktemp("drills"), deployed.host(SPARE)
    with pytest.MonkeyPatch.context() as patch:
        suite = backup_drill._suite

        def and_keep(*arguments):
            found = suite(*arguments)
            host.snapshot(DRILLED)
            return found

        patch.setattr(backup_drill, "_suite", and_keep)
        status = backup_drill.drill(deployed.plan.file, MACHINE, into=folder, yes=True)
    (page,) = folder.glob("*.md")
    yield status, json.loads(page.with_suffix(".json").read_text())
    host.drop_snapshot(DRILLED)


@pytest.mark.proof("a drill makes a machine anew on a spare one from its backups, and gives the spare back")
def test_a_drill_passes_and_gives_the_spare_back(deployed, passed, evidence):
    status, report = passed
    assert (status, report["verdict"], report["faults"]) == (0, "passed", [])
    compared = {each["path"]: each for each in report["compared"]}
    assert compared["/var/spool/postfix (messages)"]["same"] == 1
    assert compared[MAIL]["same"] >= len(("drill", "cur", "new", "tmp", "1.drill", "2.drill", "3.drill"))
    assert report["checks_passed"] > 100
    counts = report["counts"]
    evidence(
        f"{counts['same']} the same, {counts['different']} different, {report['checks_passed']} checks passed"
    )
    assert verify(deployed.plan.file, SPARE) == {}
    assert nothing_left(deployed.host(SPARE)) == ""


def nothing_left(spare):
    """What a spare machine has of the other one."""
    return spare.run(f"ls -d /etc/mailwright/backup /etc/opendkim.conf {MAIL} 2>/dev/null").stdout


@pytest.mark.slow
@pytest.mark.proof("a drill that is interrupted gives the spare back, too")
def test_a_drill_that_is_interrupted_gives_the_spare_back(deployed, tmp_path):
    argv = command("mailwright", "backup", "drill", deployed.plan.file, MACHINE, "--yes", "--into", tmp_path)
    with (tmp_path / "said").open("w") as said:
        process = subprocess.Popen(argv, cwd=ROOT, stdout=said, stderr=said, start_new_session=True)
        closed = lambda: "machine: users" in (tmp_path / "said").read_text()  # noqa: E731
        wait_until(closed, "the spare is being deployed", timeout=120)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        assert process.wait(timeout=180) == INTERRUPTED, (tmp_path / "said").read_text()
    assert "interrupted" in (tmp_path / "said").read_text()
    assert nothing_left(deployed.host(SPARE)) == ""
    assert verify(deployed.plan.file, SPARE) == {}


class Held:
    """A drill whose spare is what it was at the end of one that passed, for what is to fail it."""

    def __init__(self, lab, drill):
        self.lab, self.drill = lab, drill
        self.spare, self.original = lab.host(SPARE), lab.host(MACHINE)
        drill.look()
        drill.spare.empty()
        self.spare.restore(DRILLED)

    def again(self):
        """Restore and compare; what is wrong."""
        self.drill.report.faults.clear()
        self.drill.restore()
        return self.faults()

    def faults(self):
        self.drill.report.faults.clear()
        self.drill.compare()
        return self.drill.report.faults


@pytest.fixture(scope="module")
def held(deployed, passed, site):  # noqa: ARG001 - it has passed
    original, spare = site.fleet.machine(MACHINE), site.fleet.machine(SPARE)
    with backup_drill.prepared(deployed.plan.file, site, original, spare) as drill:
        try:
            yield Held(deployed, drill)
        finally:
            drill.spare.give_back()


@pytest.mark.slow
@pytest.mark.proof("a drill fails when a mode differs")
def test_a_mode_that_differs_fails_a_drill(held, mail, evidence):
    assert held.again() == []
    held.spare.run(["chmod", "0644", f"{mail}/new/2.drill"]).require()
    (fault,) = held.faults()
    assert fault == f"{mail}/new/2.drill: other mode: 0644, and 0600 on the original"
    evidence(fault)


@pytest.mark.slow
@pytest.mark.proof("a drill fails when a path is missing from the backup")
def test_a_path_that_is_missing_from_the_backup_fails_a_drill(held, mail, evidence):
    with without_source(held.original, MAIL):
        mailwright("backup", "run", held.lab.plan.file, "--limit", MACHINE)
        held.spare.run(["rm", "-rf", mail]).require()
        faults = held.again()
    (fault,) = faults
    assert fault.startswith(f"{MAIL}: not in the newest snapshot; it came back from that of ")
    evidence(fault)
    back_up(held.lab)
    assert held.again() == []


@contextmanager
def without_source(host, path):
    """Have the machine's program forget what it should back up."""
    whole = host.read(CONFIG)
    data = json.loads(whole)
    data["sources"] = [s for s in data["sources"] if s["path"] != path]
    host.run(["tee", CONFIG], stdin=json.dumps(data)).require()
    try:
        yield
    finally:
        host.run(["tee", CONFIG], stdin=whole).require()


@pytest.mark.slow
@pytest.mark.proof("a drill fails when a service does not come up")
def test_a_service_that_does_not_come_up_fails_a_drill(held, evidence):
    held.drill.deploy()
    broken = "[Service]\nExecStart=\nExecStart=/bin/false\n"
    held.spare.run(["mkdir", "-p", DROP_IN]).require()
    held.spare.run(["tee", f"{DROP_IN}/broken.conf"], stdin=broken).require()
    held.spare.run("systemctl daemon-reload; systemctl stop opendkim-verify.service").require()
    with pytest.raises(BackupError) as error:
        held.drill.deploy()
    assert "opendkim" in str(error.value)
    held.drill.report.faults.clear()
    held.drill.prove()
    assert any("opendkim" in fault for fault in held.drill.report.faults)
    evidence(held.drill.report.faults[0])


PLACES = "/etc /var /srv /root /home /usr/local /tmp /run"


@pytest.mark.slow
@pytest.mark.proof("a spare that is no host of a lab is wiped: nothing secret of the other machine is left")
def test_a_spare_that_is_no_host_of_a_lab_is_wiped(held, site, evidence):
    own = site.plan(site.fleet.machine(SPARE))
    secret = {path: content for path, content in secrets_of(held.drill.double) if path not in paths_of(own)}
    assert leaks(held.spare, secret)  # it has them now
    wiped = HostSpare(
        own, held.drill.double, runner(own.machine), lambda: str(deploy(held.lab.plan.file, SPARE))
    )
    wiped.give_back()
    assert leaks(held.spare, secret) == []
    assert nothing_left(held.spare) == ""
    assert verify(held.lab.plan.file, SPARE) == {}
    evidence(f"of {len(secret)} secret files and of its mail nothing is found on {SPARE}")


def secrets_of(plan):
    return [(file.path, file.content.decode()) for file in plan.merged.files if file.secret]


def paths_of(plan):
    return {file.path for file in plan.merged.files}


def leaks(host, secret):
    """Files of a host that have a line of something secret."""
    lines = {line for text in secret.values() for line in text.splitlines() if len(line) > SHORT}
    lines -= {line for line in lines if line.startswith("-----")}
    found = host.run(f"grep -rlF -f - {PLACES} 2>/dev/null", stdin="\n".join(sorted(lines)))
    return found.stdout.splitlines()
