"""`mailwright-certificates`: look after this machine's certificates."""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from mailwright_certificates import authority, serving, units, x509
from mailwright_certificates.memory import Failure, Memory, replace
from mailwright_certificates.wanted import Pair, Unit, Wanted, read

CONFIG = "/etc/mailwright/acme.json"
_APPLIED, _JUST_NOW = "applied", 60
"""When a deploy last asked, and for how many seconds that counts as the same deploy."""
_METRICS = {
    "certificate_not_after": "When the certificate ends, in seconds since the epoch.",
    "certificate_issued": "When it was put in place.",
    "acme_renewal_failed": "When the last renewal failed; 0: it did not.",
}


def main() -> int:
    """Run one command line; returns the exit status."""
    try:
        return _main()
    except OSError as error:
        print(_sentence(error), file=sys.stderr)
        return 1


def _main() -> int:
    parser = argparse.ArgumentParser(
        prog="mailwright-certificates",
        description="Renew certificates in the last third of their lifetime, and reload what serves them."
        " Exit status: 0 all is well, 1 something is not; one line each says what.",
    )
    parser.add_argument("--config", type=Path, default=Path(CONFIG), help=argparse.SUPPRESS)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--force", nargs="+", metavar="NAME", help="renew these certificates now")
    what.add_argument("--state", action="store_true", help="print what is served and what fails, as JSON")
    what.add_argument("--apply", action="store_true", help="ask now for what is lacking; never leave nothing")
    what.add_argument("--provisional", action="store_true", help="ask nobody; never leave nothing")
    what.add_argument("--settled", action="store_true", help="succeed if --apply would do nothing")
    what.add_argument("--genuine", action="store_true", help="succeed if all is served that is wanted")
    asked = parser.parse_args()
    wanted = read(asked.config)
    if asked.state:
        print(json.dumps([_state(wanted, pair) for pair in wanted.pairs], indent=2))
        return 0
    if asked.settled:
        return 0 if not _in_debt(wanted) and all(_settled(wanted, pair) for pair in wanted.pairs) else 1
    if asked.genuine:
        return _genuine(wanted)
    unknown = set(asked.force or ()) - {pair.certificate for pair in wanted.pairs}
    if unknown:
        there = ", ".join(dict.fromkeys(pair.certificate for pair in wanted.pairs)) or "none"
        print(f"no certificate {', '.join(sorted(unknown))}; there is {there}", file=sys.stderr)
        return 1
    with _alone(wanted) as lock:
        patient = not (asked.apply or asked.force)
        run = Run(wanted, lock, frozenset(asked.force or ()), patient=patient)
        status = run.provisional() if asked.provisional else run.all()
        if asked.apply:
            (wanted.run / _APPLIED).touch()
        if status == 0 and not patient:
            units.clear()
        return status


class Run:
    """One run over all pairs."""

    def __init__(self, wanted: Wanted, lock: int, forced: frozenset[str], *, patient: bool) -> None:
        """`patient`: after a failure, wait before the authority is asked again."""
        self.wanted, self.lock, self.forced, self.patient = wanted, lock, forced, patient
        self.memory = Memory(wanted.run)

    def all(self) -> int:
        """Look after every pair, then reload what is owed; the exit status."""
        self.memory.keep({pair.title for pair in self.wanted.pairs} | {u.name for u in _units(self.wanted)})
        for pair in self.wanted.pairs:
            try:
                self._look_after(pair)
            except (authority.RefusedError, OSError) as error:
                self.memory.failed(pair.title, _sentence(error), time.time())
            self._never_nothing(pair)
        return self._settle()

    def provisional(self) -> int:
        """See that services can start, and ask nobody; the exit status."""
        for pair in self.wanted.pairs:
            self._never_nothing(pair)
        return self._settle()

    def _settle(self) -> int:
        """Reload what is owed, and tell what fails."""
        for unit in units.owed(self.wanted.run, _units(self.wanted)):
            try:
                units.take(self.wanted.run, self.wanted.taken, unit)
                self.memory.succeeded(unit.name)
            except units.OwedError as error:
                self.memory.failed(unit.name, str(error), time.time())
        for title, failure in self.memory.failures.items():
            print(f"{title}: {_told(failure)}", file=sys.stderr)
        _write_metrics(self.wanted, self.memory)
        return 1 if self.memory.failures else 0

    def _look_after(self, pair: Pair) -> None:
        serving.tidy(pair)
        fault = serving.fault(pair, self.wanted.directory)
        forced = pair.certificate in self.forced
        if not fault and not forced and not x509.pair(pair.chain, pair.key).due(x509.now()):
            self.memory.succeeded(pair.title)
            return
        failure = self.memory.failures.get(pair.title)
        if self.patient and failure and failure.waits(time.time()):
            return
        if forced:
            authority.forget(self.wanted, pair)
        why = fault or ("told to" if forced else "it ends soon")
        print(f"{pair.title}: asking {self.wanted.directory}: {why}")
        chain, key = authority.obtain(self.wanted, pair, self.lock)
        units.owe(self.wanted.run, pair.units)
        serving.put(pair, chain, key, self.wanted.directory)
        authority.forget(self.wanted, pair)
        self.memory.succeeded(pair.title)
        print(f"{pair.title}: renewed until {x509.pair(pair.chain, pair.key).not_after:%Y-%m-%d %H:%M} UTC")

    def _never_nothing(self, pair: Pair) -> None:
        """Services start with a pair or not at all: until there is one, it is self-signed."""
        with suppress(x509.UnfitError):
            x509.pair(pair.chain, pair.key)
            return
        folder = self.wanted.run / "placeholder"
        folder.mkdir(0o700, parents=True, exist_ok=True)
        key, chain = folder / "privkey.pem", folder / "fullchain.pem"
        try:
            if pair.given:
                key.write_bytes(pair.given.read_bytes())
            else:
                x509.make_key(key, pair.algorithm)
            x509.self_sign(key, pair.names, chain)
            units.owe(self.wanted.run, pair.units)
            serving.put(pair, chain.read_bytes(), key.read_bytes(), "")
            print(f"{pair.title}: self-signed for the time being", file=sys.stderr)
        except (OSError, x509.UnfitError) as error:
            self.memory.failed(pair.title, f"not even self-signed: {_sentence(error)}", time.time())
        finally:
            key.unlink(missing_ok=True)


def _units(wanted: Wanted) -> list[Unit]:
    return list(dict.fromkeys(unit for pair in wanted.pairs for unit in pair.units))


@contextmanager
def _alone(wanted: Wanted) -> Iterator[int]:
    """Hold the lock: the timer, a deploy and an operator never work at once."""
    wanted.run.mkdir(0o755, parents=True, exist_ok=True)
    handle = os.open(wanted.run / "lock", os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle
    finally:
        os.close(handle)


def _settled(wanted: Wanted, pair: Pair) -> bool:
    """Whether a deploy has nothing to do: all is well, or was tried just now and services can start."""
    failure = Memory(wanted.run).failures.get(pair.title)
    now = time.time()
    try:
        leaf = x509.pair(pair.chain, pair.key)
    except x509.UnfitError:
        return False
    if serving.fault(pair, wanted.directory):
        return failure is not None and _just_applied(wanted, failure, now)
    return not leaf.due(x509.now()) or (failure is not None and failure.waits(now))


def _in_debt(wanted: Wanted) -> bool:
    """Whether a kill kept a service from being told of what it serves."""
    failures, now = Memory(wanted.run).failures, time.time()
    owed = units.owed(wanted.run, _units(wanted))
    return any(not (u.name in failures and _just_applied(wanted, failures[u.name], now)) for u in owed)


def _just_applied(wanted: Wanted, failure: Failure, now: float) -> bool:
    """Whether it was this deploy that failed, and not the timer since."""
    try:
        applied = (wanted.run / _APPLIED).stat().st_mtime
    except FileNotFoundError:
        return False
    # The kernel dates files by its last tick, a little early.
    return failure.last < applied + 1 and abs(now - applied) < _JUST_NOW


def _genuine(wanted: Wanted) -> int:
    status, failures = 0, Memory(wanted.run).failures
    for pair in wanted.pairs:
        if fault := serving.fault(pair, wanted.directory):
            failure = failures.get(pair.title)
            print(f"{pair.title}: {fault}; {_told(failure) if failure else 'not tried yet'}", file=sys.stderr)
            status = 1
    return status


def _state(wanted: Wanted, pair: Pair) -> dict[str, object]:
    """What is known of a pair, as data."""
    failure = Memory(wanted.run).failures.get(pair.title)
    found: dict[str, object] = {
        "certificate": pair.certificate,
        "algorithm": pair.algorithm,
        "fault": serving.fault(pair, wanted.directory),
        "failure": _told(failure) if failure else None,
    }
    with suppress(x509.UnfitError):
        leaf = x509.pair(pair.chain, pair.key)
        found |= {"issuer": leaf.issuer, "not_after": leaf.not_after.isoformat(), "due": leaf.due(x509.now())}
    return found


def _told(failure: Failure) -> str:
    since, again = (datetime.fromtimestamp(t, UTC) for t in (failure.since, failure.next))
    return f"renewal fails since {since:%Y-%m-%d %H:%M} UTC: {failure.reason} (next try at {again:%H:%M})"


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'writing'}: {error.strerror}"
    return " ".join(str(error).split())


def _write_metrics(wanted: Wanted, memory: Memory) -> None:
    """For the textfile collector of prometheus-node-exporter(1)."""
    found = [(pair, _measured(pair, memory)) for pair in wanted.pairs]
    lines = []
    for name, meaning in _METRICS.items():
        metric = f"mailwright_{name}_seconds"
        lines += [f"# HELP {metric} {meaning}", f"# TYPE {metric} gauge"]
        lines += [
            f'{metric}{{certificate="{pair.certificate}",algorithm="{pair.algorithm}"}} {values[name]:.0f}'
            for pair, values in found
            if name in values
        ]
    try:
        replace(wanted.metrics, "\n".join(lines) + "\n")
    except OSError as error:
        print(f"metrics: {_sentence(error)}", file=sys.stderr)


def _measured(pair: Pair, memory: Memory) -> dict[str, float]:
    failure = memory.failures.get(pair.title)
    values = {"acme_renewal_failed": failure.last if failure else 0.0}
    with suppress(x509.UnfitError, OSError):
        values["certificate_not_after"] = x509.pair(pair.chain, pair.key).not_after.timestamp()
        values["certificate_issued"] = pair.chain.lstat().st_mtime
    return values


if __name__ == "__main__":
    sys.exit(main())
