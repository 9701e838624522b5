"""Pins what a machine does about its certificates when certbot gives it good ones, bad ones, or none.

certbot here is a program of the test that signs requests, so that what is judged is ours.
"""

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

PROGRAM = Path(__file__).parents[2] / "templates" / "certificates"
DIRECTORY = "https://ca.example/dir"
NAMES = ["out1.brightpost.example", "smtp.brightpost.example"]

CERTBOT = """#!/bin/sh
# As certbot certonly --csr: signs, and writes the three files; DOES says what goes wrong.
set -e
echo asked >>"$HERE/asked"
env >"$HERE/environment"
while [ $# -gt 0 ]; do
  case $1 in
    --csr) csr=$2 ;; --logs-dir) logs=$2 ;; --fullchain-path) chain=$2 ;; --cert-path) leaf=$2 ;;
  esac
  shift
done
does=$(cat "$HERE/does")
case $does in
  refuse)
    mkdir -p "$logs"
    {
      echo 'Retrying request after error: urn:ietf:params:acme:error:badNonce :: stale'
      echo 'acme.messages.Error: urn:ietf:params:acme:error:rateLimited :: slowly'
    } >"$logs/letsencrypt.log"
    echo 'Saving debug log to /x'
    echo '  Detail: rate limited'
    echo 'Ask for help' >&2
    exit 1 ;;
  forgot*)
    echo "${does#forgot}" >"$HERE/does"
    mkdir -p "$logs"
    echo 'urn:ietf:params:acme:error:accountDoesNotExist :: unknown' >"$logs/letsencrypt.log"
    echo 'An unexpected error occurred:' 'Account x not found.'
    exit 1 ;;
  stale*)
    echo "${does#stale}" >"$HERE/does"
    mkdir -p "$logs"
    echo 'urn:ietf:params:acme:error:badNonce :: stale' >"$logs/letsencrypt.log"
    echo 'JWS has an invalid anti-replay nonce: x'
    exit 1 ;;
  hang)
    trap 'rm "$HERE/proof"; exit 1' TERM
    touch "$HERE/proof"
    sleep 60 >/dev/null 2>&1 & wait ;;
  others) names=DNS:other.example ;;
  *) names=$(sed 's/^/DNS:/' "$HERE/names" | paste -sd,) ;;
esac
cd "$HERE"
printf 'subjectAltName=%s\\n' "$names" >extension
openssl x509 -req -inform DER -in "$csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days "$(cat days)" \\
  -extfile extension -out "$leaf" 2>/dev/null
[ "$does" != otherkey ] || cp ca.pem "$leaf"
cat "$leaf" ca.pem >"$chain"
[ "$does" != badchain ] || cat "$leaf" stranger.pem >"$chain"
"""
SYSTEMCTL = """#!/bin/sh
echo "$@" >>"$HERE/systemctl"
"""


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A machine in a folder."""
    return Desk(tmp_path, monkeypatch)


class Desk:
    def __init__(self, here, monkeypatch):
        self.here, self.served = here, here / "served" / "smtp"
        self.served.mkdir(parents=True)
        tools = here / "bin"
        tools.mkdir()
        for name, text in (("certbot", CERTBOT), ("systemctl", SYSTEMCTL)):
            (tools / name).write_text(text)
            (tools / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
        monkeypatch.setenv("HERE", str(here))
        for name in ("ca", "stranger"):
            authority(here / name)
        self.names(NAMES)
        self.does("ok")
        (here / "days").write_text("90")
        self.configure()

    def configure(self, **more):
        pairs = [
            {
                "algorithm": algorithm,
                "chain": str(self.served / f"{prefix}fullchain.pem"),
                "key": str(self.served / f"{prefix}privkey.pem"),
                "given": more.get("given"),
            }
            for algorithm, prefix in more.get("algorithms", (("ecdsa", ""),))
        ]
        unit = {"name": "postfix.service", "reload": True, "check": more.get("check", "")}
        group = subprocess.run(["id", "-gn"], capture_output=True, text=True, check=True).stdout.strip()
        certificate = {"name": "smtp", "names": NAMES, "group": group, "pairs": pairs, "units": [unit]}
        data = {
            "directory": more.get("directory", DIRECTORY),
            "email": None,
            "authority_ca": more.get("authority_ca"),
            "challenge": ["--authenticator", "standalone"],
            "environment": {"AWS_SHARED_CREDENTIALS_FILE": "/nowhere"},
            "certificates": [certificate],
            "home": str(self.here / "home"),
            "run": str(self.here / "run"),
            "metrics": str(self.here / "metrics" / "certificates.prom"),
            "taken": str(self.here / "taken"),
        }
        (self.here / "acme.json").write_text(json.dumps(data))

    def does(self, what):
        (self.here / "does").write_text(what)

    def names(self, names):
        (self.here / "names").write_text("\n".join(names))

    def run(self, *arguments, **more):
        argv = [sys.executable, "-m", "mailwright_certificates", "--config", self.here / "acme.json"]
        env = os.environ | {"PYTHONPATH": str(PROGRAM)} | more
        return subprocess.run([*argv, *arguments], env=env, capture_output=True, text=True, check=False)

    @property
    def pair(self):
        return tuple((self.served / name).read_bytes() for name in ("fullchain.pem", "privkey.pem"))

    @property
    def state(self):
        return json.loads(self.run("--state").stdout)[0]

    @property
    def asked(self):
        file = self.here / "asked"
        return len(file.read_text().splitlines()) if file.exists() else 0

    @property
    def reloads(self):
        file = self.here / "systemctl"
        return file.read_text().splitlines().count("reload postfix.service") if file.exists() else 0

    def serve(self, pair, how):
        """Serve a pair that is not wanted: of another mode of the role, or of a former authority."""
        if how == "links":
            self.stale()
            return
        for name, content in zip(("fullchain.pem", "privkey.pem"), pair, strict=True):
            (self.served / name).unlink()
            (self.served / name).write_bytes(content)

    def killed_at(self, effect):
        """Run until so many effects; 9 once killed, 0 where it came to its end before."""
        argv = [sys.executable, "-c", KILLED, str(effect), self.here / "acme.json"]
        env = os.environ | {"PYTHONPATH": str(PROGRAM)}
        return subprocess.run(argv, env=env, capture_output=True, check=False).returncode

    @property
    def whole(self):
        """Whether chain and key belong together."""
        chain, key = self.pair
        leaf = x509.load_pem_x509_certificate(chain)
        return leaf.public_key() == load_pem_private_key(key, None).public_key()

    def forward(self, seconds):
        """What is remembered happened so much longer ago."""
        file = self.here / "run" / "failures.json"
        kept = json.loads(file.read_text())
        for each in kept.values():
            each |= {"since": each["since"] - seconds, "last": each["last"] - seconds}
        file.write_text(json.dumps(kept))

    def stale(self):
        """What is served is of another authority."""
        (self.served / ".ecdsa" / "origin").write_text("https://former.example/dir")


def authority(name):
    made = f"-keyout {name}.key -out {name}.pem -days 365 -subj /CN={name.name}"
    subprocess.run(
        f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes {made}".split(),
        check=True,
        capture_output=True,
    )


def test_a_certificate_is_asked_for_once_and_then_left_alone(desk):
    assert desk.run().returncode == 0
    first = desk.pair
    assert desk.state["fault"] is None
    assert desk.run().returncode == 0
    assert (desk.pair, desk.asked, desk.reloads) == (first, 1, 1)
    assert (desk.served / "privkey.pem").stat().st_mode & 0o777 == 0o640
    assert desk.run("--settled").returncode == desk.run("--genuine").returncode == 0


def test_the_last_third_of_the_lifetime_is_for_renewal(desk):
    desk.run()
    (desk.served / "fullchain.pem").write_bytes(dated(desk, age=6, left=4))
    assert not desk.state["due"]
    (desk.served / "fullchain.pem").write_bytes(dated(desk, age=8, left=2))
    before = desk.pair
    assert desk.state["due"]
    assert desk.state["fault"] is None
    desk.does("refuse")
    assert desk.run("--apply").returncode == 1
    assert desk.run("--settled").returncode == desk.run("--genuine").returncode == 0  # a deploy goes on
    assert desk.pair == before
    desk.does("ok")
    assert desk.run("--apply").returncode == 0
    assert desk.pair != before
    assert not desk.state["due"]


def dated(desk, age, left):
    """A chain for the key in use, so many days old and with so many left."""
    key = load_pem_private_key(desk.pair[1], None).public_key()
    issuer = x509.load_pem_x509_certificate((desk.here / "ca.pem").read_bytes())
    signer = load_pem_private_key((desk.here / "ca.key").read_bytes(), None)
    times = (datetime.now(UTC) - timedelta(days=age), datetime.now(UTC) + timedelta(days=left))
    names = x509.SubjectAlternativeName([x509.DNSName(name) for name in NAMES])
    made = x509.CertificateBuilder(issuer.subject, x509.Name([]), key, 7, *times).add_extension(
        names, critical=True
    )
    return made.sign(signer, hashes.SHA256()).public_bytes(Encoding.PEM)


@pytest.mark.parametrize(
    ("does", "says"),
    [
        ("refuse", "rate limited"),
        ("others", "without out1.brightpost.example, smtp.brightpost.example"),
        ("otherkey", "the key is not that of the certificate"),
        ("badchain", "was not issued by the next one"),
    ],
)
def test_what_may_not_be_served_leaves_the_old_pair_and_says_why(desk, does, says):
    desk.run()
    before, reloads = desk.pair, desk.reloads
    desk.stale()
    desk.does(does)
    done = desk.run()
    assert done.returncode == 1
    assert says in done.stderr.splitlines()[-1]
    assert (desk.pair, desk.reloads) == (before, reloads)
    assert says in desk.state["failure"]
    assert says in desk.run("--genuine").stderr
    metrics = (desk.here / "metrics" / "certificates.prom").read_text()
    assert 'renewal_failed_seconds{certificate="smtp",algorithm="ecdsa"} 0' not in metrics
    desk.does("ok")
    assert desk.run("--apply").returncode == 0
    assert desk.pair != before
    assert desk.state["failure"] is None


def test_the_timer_does_not_hammer_and_a_deploy_asks_at_once(desk):
    desk.run()
    desk.stale()
    desk.does("refuse")
    asked = desk.asked
    for _ in range(3):
        assert desk.run().returncode == 1  # it keeps saying so
    assert desk.asked == asked + 1
    assert desk.run("--apply").returncode == 1
    assert desk.run("--force", "smtp").returncode == 1
    assert desk.asked == asked + 3


def test_deploys_that_fail_do_not_make_the_timer_wait_longer(desk):
    desk.does("refuse")
    for _ in range(3):
        desk.run("--apply")
    assert 3590 < failure(desk)["wait"] <= 3600
    desk.forward(3601)
    desk.run()
    assert 7190 < failure(desk)["wait"] <= 7200


def test_a_clock_that_is_set_back_does_not_put_the_next_try_off(desk):
    desk.does("refuse")
    desk.run()
    desk.forward(-400 * 86400)  # it failed while the clock was more than a year ahead
    desk.does("ok")
    assert desk.run().returncode == 0


def failure(desk):
    (found,) = json.loads((desk.here / "run" / "failures.json").read_text()).values()
    script = (
        "import sys; from mailwright_certificates.memory import *; f = Memory(Path(sys.argv[1])).failures"
    )
    argv = [sys.executable, "-c", f"{script}; print(*(each.next for each in f.values()))", desk.here / "run"]
    env = os.environ | {"PYTHONPATH": str(PROGRAM)}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=True)
    return found | {"wait": float(done.stdout) - time.time()}


def test_a_first_deploy_without_the_authority_serves_something_and_says_so(desk):
    desk.does("refuse")
    assert desk.run("--settled").returncode == 1
    desk.run("--apply")
    assert desk.state["fault"] == "it is self-signed"
    assert desk.run("--settled").returncode == 0  # the deploy goes on
    done = desk.run("--genuine")  # and ends red
    assert done.returncode == 1
    assert "rate limited" in done.stderr
    desk.does("ok")
    assert desk.run("--apply").returncode == 0
    assert desk.state["fault"] is None


def test_what_failed_since_the_last_deploy_is_tried_by_the_next(desk):
    desk.run("--apply")
    os.utime(desk.here / "run" / "applied", (time.time() - 5,) * 2)  # and then, within the minute:
    desk.does("refuse")
    (desk.served / "privkey.pem").unlink()
    assert desk.run().returncode == 1
    assert desk.run("--settled").returncode == 1


def test_a_forced_renewal_draws_a_new_key_and_reloads(desk):
    desk.run()
    before = desk.pair
    assert desk.run("--force", "smtp").returncode == 0
    assert desk.pair[1] != before[1]
    assert desk.reloads == 2
    assert (desk.here / "taken" / "postfix.service").exists()
    done = desk.run("--force", "smpt")
    assert (done.returncode, done.stderr) == (1, "no certificate smpt; there is smtp\n")


def test_a_service_with_a_broken_configuration_is_not_reloaded_until_it_is_mended(desk):
    desk.configure(check="echo no such map; false")
    assert "no such map" in desk.run().stderr
    assert desk.reloads == 0
    desk.configure(check="true")
    assert desk.run().returncode == 0
    assert desk.reloads == 1


def test_a_known_key_is_used_and_a_tampered_one_replaced(desk):
    given = desk.here / "given.pem"
    subprocess.run(
        ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", given],
        check=True,
    )
    desk.configure(given=str(given))
    assert desk.run().returncode == 0
    assert desk.pair[1] == given.read_bytes()
    (desk.served / "privkey.pem").write_text("tampered")
    assert desk.run().returncode == 0
    assert desk.pair[1] == given.read_bytes()


def test_rsa_stands_beside_ecdsa(desk):
    desk.configure(algorithms=(("ecdsa", ""), ("rsa", "rsa-")))
    assert desk.run().returncode == 0
    shown = subprocess.run(
        ["openssl", "x509", "-in", desk.served / "rsa-fullchain.pem", "-noout", "-text"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert "rsaEncryption" in shown
    assert desk.state["algorithm"] == "ecdsa"
    assert desk.run("--genuine").returncode == 0


def test_an_account_that_the_authority_forgot_is_made_anew(desk):
    desk.does("forgotstale")
    account = desk.here / "home" / "config" / "accounts" / "ca.example" / "dir"
    account.mkdir(parents=True)
    assert desk.run().returncode == 0
    assert not account.exists()
    assert desk.asked == 3  # a nonce was refused, too


def test_a_nonce_that_the_authority_refuses_is_no_reason_to_wait(desk):
    desk.does("stalestale")
    assert desk.run().returncode == 0
    assert desk.asked == 3


def test_an_authority_that_refuses_every_nonce_is_left_in_peace(desk):
    desk.does("stalestalestalestale")
    assert desk.run().returncode == 1
    assert desk.asked == 3


def test_a_private_authority_is_verified_by_its_own_root_beside_the_worlds(desk):
    desk.configure(authority_ca=str(desk.here / "ca.pem"))
    desk.run()
    environment = (desk.here / "environment").read_text().splitlines()
    bundle = desk.here / "run" / "roots.pem"
    assert f"REQUESTS_CA_BUNDLE={bundle}" in environment
    assert (desk.here / "ca.pem").read_text() in bundle.read_text()
    assert "AWS_SHARED_CREDENTIALS_FILE=/nowhere" in environment


@pytest.mark.parametrize("served", ["plain files", "links"])
def test_a_kill_at_any_effect_leaves_a_whole_pair_and_is_healed(desk, served):
    desk.run()
    first = desk.pair
    effect, stride = 1, 1 if "MAILWRIGHT_KILLS" in os.environ else 6
    while True:
        desk.serve(first, served)
        if desk.killed_at(effect) == 0:
            break
        assert desk.whole, f"killed at effect {effect}"
        if desk.run("--settled").returncode != 0:  # as a deploy does
            assert desk.run("--apply").returncode == 0
        assert desk.whole
        assert desk.state["fault"] is None, f"killed at effect {effect}"
        assert not list((desk.here / "run" / "owed").iterdir()), f"killed at effect {effect}: not reloaded"
        effect += stride
    assert effect > 6


KILLED = """
import os, sys
from pathlib import Path
left = int(sys.argv[1])
def counted(owner, name):
    real = getattr(owner, name)
    def effect(*arguments, **more):
        global left
        left -= 1
        if not left:
            os._exit(9)
        return real(*arguments, **more)
    setattr(owner, name, effect)
for owner, name in ((Path, "replace"), (Path, "symlink_to"), (os, "fsync")):
    counted(owner, name)
sys.argv = ["x", "--apply", "--config", sys.argv[2]]
from mailwright_certificates.__main__ import main
main()
sys.exit(0)
"""


def test_a_certbot_that_hangs_is_told_to_end_so_that_it_takes_its_proofs_back(desk):
    desk.does("hang")
    script = """
import sys
from mailwright_certificates import authority
from mailwright_certificates.__main__ import main
authority._PATIENCE = 1
sys.argv = ["x", "--config", sys.argv[1]]
sys.exit(main())
"""
    argv = [sys.executable, "-c", script, desk.here / "acme.json"]
    env = os.environ | {"PYTHONPATH": str(PROGRAM)}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"certbot had no answer of {DIRECTORY} within 1 s" in done.stderr
    assert not (desk.here / "proof").exists()


def test_what_cannot_be_read_is_told_in_a_line(desk):
    config = desk.here / "acme.json"
    config.unlink()
    for arguments in (), ("--state",):
        done = desk.run(*arguments)
        assert (done.returncode, done.stderr) == (1, f"{config}: No such file or directory\n")


def test_everybody_may_read_the_metrics(desk):
    before = os.umask(0o077)
    try:
        desk.run()
    finally:
        os.umask(before)
    assert (desk.here / "metrics" / "certificates.prom").stat().st_mode & 0o777 == 0o644


def test_a_deploy_that_went_well_clears_the_failure_of_the_timer(desk):
    clears = "reset-failed mailwright-certificates.service"
    desk.does("refuse")
    desk.run("--apply")
    assert clears not in (desk.here / "systemctl").read_text().splitlines()
    desk.does("ok")
    desk.run("--apply")
    assert clears in (desk.here / "systemctl").read_text().splitlines()


def test_a_clock_that_is_a_little_late_does_not_refuse_what_is_new(desk):
    desk.run()
    leaf, above = (desk.here / f"{name}.pem" for name in ("early", "ca"))
    leaf.write_bytes(dated(desk, age=-1 / 1440, left=1))  # valid from the next minute on
    old = desk.here / "old.pem"
    old.write_bytes(dated(desk, age=3, left=-1))
    script = """
import sys
from pathlib import Path
from mailwright_certificates import x509
for name in sys.argv[2:]:
    try:
        x509.verified(Path(name).read_bytes() + Path(sys.argv[1]).read_bytes())
        print("good")
    except x509.UnfitError as error:
        print(error)
"""
    env = os.environ | {"PYTHONPATH": str(PROGRAM)}
    argv = [sys.executable, "-c", script, above, leaf, old]
    said = subprocess.run(argv, env=env, capture_output=True, text=True, check=True).stdout.splitlines()
    assert said == ["good", "a certificate of the chain was not issued by the next one, or has expired"]


def test_what_was_issued_before_a_kill_is_taken_and_not_asked_for_again(desk):
    desk.run()
    desk.stale()
    asked = desk.asked
    effect = 1
    while desk.asked == asked:  # the first effects are before the authority is asked
        assert desk.killed_at(effect) == 9
        effect += 1
    assert desk.state["fault"]
    assert desk.run("--apply").returncode == 0
    assert desk.state["fault"] is None
    assert desk.asked == asked + 1


def test_a_provisional_pair_asks_nobody_and_replaces_nothing(desk):
    assert desk.run("--provisional").returncode == 0
    assert not (desk.here / "asked").exists()
    assert (desk.served / "fullchain.pem").exists()
    assert desk.run("--genuine").returncode == 1
    desk.run("--apply")
    before = (desk.served / "fullchain.pem").read_bytes()
    assert desk.run("--provisional").returncode == 0
    assert (desk.served / "fullchain.pem").read_bytes() == before
