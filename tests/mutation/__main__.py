"""`make mutate`: damage lab hosts in every way that a check should notice, and see that it does.

python -m tests.mutation                    all fleets of tests/mutation/fleets, each in a lab of its own
python -m tests.mutation postfix            what a role, a machine or a part of a check's name says
python -m tests.mutation --fleet FILE ...   a lab that is up and provisioned, as it is; it is left running
"""

import argparse
import os
import sys
import time
from contextlib import contextmanager
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from mailwright.command.inventory import open_site
from mailwright.lab.derive import write_fleet
from mailwright.lab.lab import Lab
from mailwright.lab.progress import Progress
from mailwright.model.errors import MailwrightError
from mailwright.model.fleet import Lab as LabSection
from tests.lab.deploying import mailwright
from tests.mutation.choosing import every, only, sample
from tests.mutation.report import Report
from tests.mutation.running import Runner
from tests.mutation.subject import Subject
from tests.mutation.world import World, list_that_answers

FLEETS = Path(__file__).with_name("fleets")


def main(arguments):
    parser = argparse.ArgumentParser(prog="make mutate", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "words", nargs="*", help="a role, a machine, or a part of a check's name; default: all"
    )
    parser.add_argument("--fleet", type=Path, help="the fleet file of a lab that is up and provisioned")
    chosen = parser.parse_args(arguments)
    report, began = Report(), time.monotonic()
    for number, file in enumerate([chosen.fleet] if chosen.fleet else sorted(FLEETS.glob("*.yaml"))):
        with lab_of(file, number, given=bool(chosen.fleet)) as lab:
            mutate(lab, chosen.words, report)
    return 0 if report.end((time.monotonic() - began) / 60) else 1


@contextmanager
def lab_of(file, number, *, given):
    """The lab of a fleet file, up and provisioned; one that was not given is destroyed in the end."""
    if given:
        yield Lab.open(file.absolute())
        return
    name, network = f"mutate{number}", int(os.environ.get("MAILWRIGHT_LAB_NUMBER", "90")) + number
    section = LabSection(
        name=name, ipv4=IPv4Network(f"198.18.{network}.0/24"), ipv6=IPv6Network(f"2001:db8:{network}::/64")
    )
    with TemporaryDirectory() as folder:
        lab = Lab.open(write_fleet(file, section, Path(folder)))
        lab.destroy()  # left behind by a run that was killed
        try:
            lab.up(Progress(Console(stderr=True)))
            done = mailwright("apply", "--yes", lab.plan.file)
            if done.returncode:
                raise MailwrightError(
                    f"{file.name} cannot be provisioned:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
                )
            yield lab
        finally:
            lab.destroy()


def mutate(lab, words, report):
    """Sabotage every machine of a lab, one after the other, then its DNS."""
    site = open_site(lab.plan.file)
    for machine in site.fleet.machines:
        if not sabotaged(Subject.of(lab, site, machine.name), words, report):
            mailwright("apply", "--yes", "--no-dns", lab.plan.file, "--limit", machine.name)
    if site.fleet.dns.blocklists:  # without a list of its own a lab cannot show all that DNS is judged by
        world = World(site, lab.host("ns"))
        begin, end = list_that_answers(world)
        world.host.run(begin).require("the blocklist")
        sabotaged(world, words, report)
        world.host.run(end)


def sabotaged(subject, words, report):
    """Run what is chosen of a subject's sabotages; whether it is green in the end."""
    sabotages, equivalents, missing = every(subject)
    report.without(subject.name, missing)
    for name, how in equivalents:
        report.equivalent(subject.name, name, how)
    todo = only(sabotages, words)
    if os.environ.get("MAILWRIGHT_MUTATIONS"):
        todo = sample(todo)
    try:
        if todo:
            Runner(subject, report.verdict).run(todo)
    except MailwrightError as error:
        report.stop(error)
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
