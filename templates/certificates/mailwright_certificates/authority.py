"""Certificates asked of the authority, by certbot.

certbot gets a signing request and no say in keys or files (`certonly --csr`): the key is ours and may be
announced before it is used, and what comes back is judged before anything is served.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

from mailwright_certificates import x509
from mailwright_certificates.wanted import Pair, Wanted

_SYSTEM_ROOTS = Path("/etc/ssl/certs/ca-certificates.crt")
_PATIENCE = 900
"""Seconds: DNS servers may take ten minutes to agree, and the authority has its own pace."""
_FAREWELL = 60
"""Seconds that certbot has to take its proofs back when its time is over."""
_STALE_NONCES = 2
"""Runs more when the authority refuses a nonce, which says nothing against the request (RFC 8555 6.5).
certbot itself asks once more each time; an authority under load may refuse twice in a row."""
_NOISE = re.compile(
    r"Saving debug log|Ask for help|See the logfile|Hint:|An unexpected error occurred"
    r"|Some challenges have failed|Certbot failed to authenticate|Please see the logfile"
    r"|Requesting a certificate|Account registered|Waiting \d+ seconds|Unsafe permissions"
    r"|Performing the following|Cleaning up|\W*$"
)
"""How lines begin that certbot(1) prints around what the authority or a DNS server said."""
_PROBLEM = re.compile(r"urn:ietf:params:acme:error:(\w+)")


class RefusedError(Exception):
    """There is no certificate; the message says why, in a line."""


def obtain(wanted: Wanted, pair: Pair, lock: int) -> tuple[bytes, bytes]:
    """Return a new chain and its key (PEM), which belong together and have all names.

    What was obtained and could not be served (a kill, a full disk) is taken before another is asked for.

    Raises:
        RefusedError: the authority gives none, or not one that may be served.
        OSError: there is no room to work.
    """
    folder = wanted.home / "new" / f"{pair.certificate}-{pair.algorithm}"
    chain, key = folder / "fullchain.pem", folder / "privkey.pem"
    if _waiting(wanted, pair, folder):
        return chain.read_bytes(), key.read_bytes()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(0o700, parents=True)
    try:
        if pair.given:
            key.write_bytes(pair.given.read_bytes())
        else:
            x509.make_key(key, pair.algorithm)
        x509.request(key, pair.names, folder / "request.der")
        _ask(wanted, folder, lock)
        leaf = x509.pair(chain, key)
        x509.verified(chain.read_bytes())
    except x509.UnfitError as error:
        raise RefusedError(str(error)) from None
    if lacking := leaf.lacking(pair.names):
        raise RefusedError(f"{wanted.directory} sent a certificate without {', '.join(lacking)}")
    if why := x509.expires(leaf, x509.now()):
        raise RefusedError(f"{wanted.directory} sent a certificate that is {why}")
    (folder / "origin").write_text(wanted.directory)
    return chain.read_bytes(), key.read_bytes()


def forget(wanted: Wanted, pair: Pair) -> None:
    """What was obtained is served, or is not wanted any more."""
    shutil.rmtree(wanted.home / "new" / f"{pair.certificate}-{pair.algorithm}", ignore_errors=True)


def _waiting(wanted: Wanted, pair: Pair, folder: Path) -> bool:
    """Whether a whole and wanted pair lies there."""
    chain, key = folder / "fullchain.pem", folder / "privkey.pem"
    try:
        if (folder / "origin").read_text() != wanted.directory:
            return False
        leaf = x509.pair(chain, key)
        if pair.given and not x509.same_key(key, pair.given):
            return False
    except (OSError, x509.UnfitError):
        return False
    return not leaf.lacking(pair.names) and not leaf.due(x509.now())


def _ask(wanted: Wanted, folder: Path, lock: int) -> None:
    """Run certbot; once more with a new account if the authority has forgotten ours."""
    said = _with_fresh_nonces(wanted, folder, lock)
    if said is not None and _problem(wanted) == "accountDoesNotExist":
        server = urlsplit(wanted.directory)
        shutil.rmtree(
            wanted.home / "config" / "accounts" / f"{server.netloc}{server.path}", ignore_errors=True
        )
        said = _with_fresh_nonces(wanted, folder, lock)
    if said is not None:
        raise RefusedError(reason(said))


def _with_fresh_nonces(wanted: Wanted, folder: Path, lock: int) -> str | None:
    """Run certbot until it is not a nonce that is refused; what it said when it failed."""
    said = _certbot(wanted, folder, lock)
    for _ in range(_STALE_NONCES):
        if said is None or _problem(wanted) != "badNonce":
            break
        said = _certbot(wanted, folder, lock)
    return said


def _problem(wanted: Wanted) -> str | None:
    """The last problem that the authority named (RFC 8555 6.7); certbot logs it and does not print it.

    Those before it certbot has got over by itself.
    """
    try:
        log = (wanted.home / "logs" / "letsencrypt.log").read_text(errors="replace")
    except OSError:
        return None
    return next(reversed(_PROBLEM.findall(log)), None)


def _certbot(wanted: Wanted, folder: Path, lock: int) -> str | None:
    """Run certbot once; what it said when it failed."""
    for name in ("fullchain.pem", "cert.pem", "chain.pem"):
        (folder / name).unlink(missing_ok=True)  # it refuses to write over any
    command = [
        *("certbot", "certonly", "--non-interactive", "--agree-tos", "--no-eff-email"),
        *(("--email", wanted.email) if wanted.email else ("--register-unsafely-without-email",)),
        *("--server", wanted.directory, *wanted.challenge, "--max-log-backups", "20"),
        *("--config-dir", wanted.home / "config", "--work-dir", wanted.home / "work"),
        *("--logs-dir", wanted.home / "logs", "--csr", folder / "request.der"),
        *("--fullchain-path", folder / "fullchain.pem"),
        *("--cert-path", folder / "cert.pem", "--chain-path", folder / "chain.pem"),
    ]
    # certbot keeps our lock open: should we be killed, the next run waits until it has ended.
    with subprocess.Popen(
        [str(word) for word in command],
        env=os.environ | wanted.environment | _trust(wanted),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=(lock,),
        umask=0o077,
    ) as process:
        try:
            said = process.communicate(timeout=_PATIENCE)[0].decode(errors="replace")
        except subprocess.TimeoutExpired:
            _end(process)
            raise RefusedError(f"certbot had no answer of {wanted.directory} within {_PATIENCE} s") from None
    return said or f"certbot ended with status {process.returncode}" if process.returncode != 0 else None


def _end(process: subprocess.Popen[bytes]) -> None:
    """Have certbot clean up and end, or end it."""
    process.terminate()
    try:
        process.communicate(timeout=_FAREWELL)
    except subprocess.TimeoutExpired:
        process.kill()


def _trust(wanted: Wanted) -> dict[str, str]:
    """What TLS servers are verified by: the world's roots, and those of a private authority beside them."""
    if wanted.authority_ca is None:
        return {}
    bundle = wanted.run / "roots.pem"
    world = _SYSTEM_ROOTS.read_bytes() if _SYSTEM_ROOTS.exists() else b""
    bundle.write_bytes(world + wanted.authority_ca.read_bytes())
    return {"REQUESTS_CA_BUNDLE": str(bundle)}


def reason(said: str) -> str:
    """The one line of certbot's output that an operator needs: what the authority or the DNS server said."""
    lines = [line.strip() for line in said.splitlines()]
    details = [line.removeprefix("Detail:").strip() for line in lines if line.startswith("Detail:")]
    telling = list(dict.fromkeys(details)) or [line for line in lines if not _NOISE.match(line)][-2:]
    text = " ".join(" ".join(telling or lines[-1:]).split())
    return "".join(c if c.isprintable() else "?" for c in text)[:400] or "certbot failed and said nothing"
