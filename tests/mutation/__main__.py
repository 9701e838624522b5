"""`make mutate`: damage lab hosts in every way that a check should notice, and see that it does.

python -m tests.mutation                    all fleets of tests/mutation/fleets, each in labs of its own
python -m tests.mutation postfix            what a role, a machine or a part of a check's name says
python -m tests.mutation --fleet FILE ...   a lab that is up and provisioned, as it is; it is left running
"""

import argparse
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event

from rich.console import Console

from mailwright.command.inventory import open_site
from mailwright.lab.derive import write_fleet
from mailwright.lab.lab import Lab
from mailwright.lab.progress import Progress
from mailwright.model.errors import MailwrightError
from mailwright.model.fleet import Lab as LabSection
from mailwright.model.load import load_site
from roles import ROLES
from tests.lab.deploying import mailwright
from tests.mutation.choosing import Choice
from tests.mutation.report import Report
from tests.mutation.running import Runner
from tests.mutation.shells import KEPT
from tests.mutation.subject import Subject
from tests.mutation.world import World, list_that_answers

FLEETS = Path(__file__).with_name("fleets")


def main(arguments):
    parser = argparse.ArgumentParser(prog="make mutate", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "words", nargs="*", help="a role, a machine, or a part of a check's name; default: all"
    )
    parser.add_argument("--fleet", type=Path, help="the fleet file of a lab that is up and provisioned")
    parser.add_argument(
        "--each", action="store_true", help="on each machine, not once for all of a Debian release"
    )
    chosen = parser.parse_args(arguments)
    report, choice, began = Report(), Choice(chosen.words, each=chosen.each), time.monotonic()
    with ExitStack() as up:
        if chosen.fleet:
            labs = [Lab.open(chosen.fleet.absolute())]
            shares = [None]
        else:
            files = [(file, share) for file in sorted(FLEETS.glob("*.yaml")) for share in shared(file)]
            labs = [up.enter_context(lab_of(number, file)) for number, (file, _) in enumerate(files)]
            shares = [share for _, share in files]
        at_once(provision, [] if chosen.fleet else labs, Event())
        # All is chosen before anything is done, so that it does not depend on who is faster.
        work = [tasks(lab, share, choice, report) for lab, share in zip(labs, shares, strict=True)]
        halt = Event()
        at_once(lambda task: mutate(*task, report, halt), list(zip(labs, work, strict=True)), halt)
    return 0 if report.end((time.monotonic() - began) / 60) else 1


def at_once(do, things, halt):
    """Do it to all things, at the same time; `halt` is set when one of them fails, or we are to end."""
    with ThreadPoolExecutor(max(1, len(things))) as pool:
        try:
            for done in [pool.submit(do, thing) for thing in things]:
                done.result()
        finally:
            halt.set()


def shared(file):
    """The machines of a fleet, and its DNS, in shares that are damaged at the same time, in a lab each."""
    fleet = load_site(file, ROLES).fleet
    balancers = [m.name for m in fleet.machines if any(m.name in pool.balancers for pool in fleet.pools)]
    others = [m.name for m in fleet.machines if m.name not in balancers]
    shares = [share for share in (others, balancers) if share]
    shares[-1].append(World.role)
    return shares


@contextmanager
def lab_of(number, file):
    """The lab of a fleet file, up and bare; it is destroyed in the end."""
    name, network = f"mutate{number}", int(os.environ.get("MAILWRIGHT_LAB_NUMBER", "90")) + number
    section = LabSection(
        name=name, ipv4=IPv4Network(f"198.18.{network}.0/24"), ipv6=IPv6Network(f"2001:db8:{network}::/64")
    )
    with TemporaryDirectory() as folder:
        lab = Lab.open(write_fleet(file, section, Path(folder)))
        lab.destroy()  # left behind by a run that was killed
        try:
            lab.up(Progress(Console(stderr=True)))
            yield lab
        finally:
            lab.destroy()


def provision(lab):
    """Make a lab's machines what its fleet file says.

    Raises:
        MailwrightError: that failed.
    """
    done = mailwright("apply", "--yes", lab.plan.file)
    if done.returncode:
        said = done.stdout[-2000:] + done.stderr[-2000:]
        raise MailwrightError(f"{lab.plan.file} cannot be provisioned:\n{said}")


def tasks(lab, share, choice, report):
    """(subject, sabotages) for each machine of a lab, then for its DNS; what none exists for is reported.

    `share`: for those of these names alone.
    """
    site = open_site(lab.plan.file)
    subjects = [Subject.of(lab, site, machine.name) for machine in site.fleet.machines]
    if site.fleet.dns.blocklists:  # without a list of its own a lab cannot show all that DNS is judged by
        subjects.append(World(site, lab.host("ns")))
    subjects = [subject for subject in subjects if share is None or subject.name in share]
    return [(subject, choice.of(subject, report)) for subject in subjects]


def mutate(lab, work, report, halt):
    """Sabotage one subject of a lab after the other."""
    for subject, sabotages in work:
        begin, end = list_that_answers(subject) if isinstance(subject, World) else ("", "")
        if not sabotages or halt.is_set():
            continue

        def mend(reason, subject=subject):
            report.stays(reason)
            subject.host.run(["rm", "-rf", KEPT])
            limits = () if isinstance(subject, World) else ("--no-dns", "--limit", subject.name)
            mailwright("apply", "--yes", *limits, lab.plan.file)

        try:
            subject.host.run(begin).require("the blocklist")
            Runner(subject, report.verdict, mend, halt).run(sabotages)
        except MailwrightError as error:
            mend(str(error))
        finally:
            subject.host.run(end)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # as a job in the background, too
    try:
        sys.exit(main(sys.argv[1:]))
    except MailwrightError as failure:
        sys.exit(str(failure))
