"""Pins the resolver's configuration; the lab proves that it resolves and validates."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from mailwright.model.errors import MailwrightError, UnknownError
from mailwright.model.role import Result
from roles import unbound

DIGEST = "1a" * 32


@pytest.fixture
def config(plan_of, content_of, tmp_path):
    """Returns a function: settings to the configuration's lines without indentation."""

    def lines(**settings):
        text = content_of(plan_of(unbound.ROLE, settings={"unbound": settings}), unbound.CONFIG)
        if shutil.which("unbound-checkconf"):
            file = tmp_path / "unbound.conf"
            file.write_text(text)
            subprocess.run(["unbound-checkconf", file], check=True, capture_output=True)
        return [line.strip() for line in text.splitlines()]

    return lines


def test_it_listens_on_the_loopback_only(config):
    lines = config()
    assert [x for x in lines if x.startswith("interface")] == ["interface: 127.0.0.1", "interface: ::1"]
    allowed = [x.split()[1] for x in lines if x.startswith("access-control")]
    assert allowed == ["127.0.0.0/8", "::1"]


def test_forwarded_zones_pass_unbounds_own_answers(config):
    zone = "100.51.198.in-addr.arpa"
    lines = config(forward={zone: ["203.0.113.53", "2001:db8::53"]})
    assert f'local-zone: "{zone}." transparent' in lines
    assert lines[lines.index("forward-zone:") + 1 :][:3] == [
        f'name: "{zone}."',
        "forward-addr: 203.0.113.53",
        "forward-addr: 2001:db8::53",
    ]


def test_trust_anchors_are_read_as_a_zone_file(config, tmp_path):
    anchors = tmp_path / "anchors"
    anchors.write_text(f"; ours\nexample. 3600 IN DS 1 13 2 (\n  {DIGEST} )\n")
    assert f'trust-anchor: "example. IN DS 1 13 2 {DIGEST}"' in config(trust_anchors=str(anchors))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "No such file"),
        ("example. IN A 203.0.113.1\n", "no DS or DNSKEY"),
        ("not a zone file\n", "anchors: "),
        (b"\xff\xfe\x00", "anchors: "),
    ],
)
def test_a_damaged_anchor_file_is_told_by_name(config, tmp_path, content, says):
    file = tmp_path / "anchors"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(MailwrightError, match=says):
        config(trust_anchors=str(file))


def test_the_ad_bit_is_believed(plan_of):
    assert "options edns0 trust-ad" in unbound.render("unbound/resolv.conf.j2").decode()
    assert "/etc/resolv.conf" not in {f.path for f in plan_of(unbound.ROLE).merged.files}


def test_an_answer_without_ad_is_a_fault():
    answer = ";; ->>HEADER<<- opcode: QUERY, status: {}, id: 1\n;; flags: qr rd ra{}; QUERY: 1\n"
    assert unbound._validated(Result(0, answer.format("NOERROR", " ad"), "")) is None
    assert "no AD flag" in unbound._validated(Result(0, answer.format("NOERROR", ""), ""))
    assert "SERVFAIL" in unbound._validated(Result(0, answer.format("SERVFAIL", ""), ""))
    assert "nothing" in unbound._validated(Result(9, "", ""))


HEADER = ";; ->>HEADER<<- opcode: QUERY, status: {}, id: 1\n;; flags: qr rd ra; QUERY: 1\n"


def both(checked, unchecked):
    return Result(0, HEADER.format(checked) + HEADER.format(unchecked), "")


def forged(plan_of, tmp_path, **settings):
    """The check of forged answers, or None; with `anchors` there are trust anchors."""
    if settings.pop("anchors", False):
        file = tmp_path / "anchors"
        file.write_text(f"example. DS 12345 13 2 {DIGEST}\n")
        settings |= {"trust_anchors": str(file), "forward": {"example.": ["203.0.113.53"]}}
    plan = plan_of(unbound.ROLE, settings={"unbound": settings})
    return next((c for _, c in plan.checks() if c.name == "a forged answer is refused"), None)


def test_what_is_forged_must_fail_and_only_for_that_reason(plan_of, tmp_path):
    check = forged(plan_of, tmp_path)
    assert check.judge(both("SERVFAIL", "NOERROR")) is None
    assert check.judge(both("NOERROR", "NOERROR")) == "the resolver passes it on"


@pytest.mark.parametrize(
    "result",
    [
        both("SERVFAIL", "SERVFAIL"),  # nobody answers for the name today
        both("NXDOMAIN", "NXDOMAIN"),  # there is none such any more
        Result(9, ";; communications error to 127.0.0.1#53: timed out\n", ""),
        Result(9, "", ""),
    ],
)
def test_without_a_forged_answer_nothing_is_proved(plan_of, tmp_path, result):
    with pytest.raises(UnknownError):
        forged(plan_of, tmp_path).judge(result)


def test_the_forged_name_is_the_operators_choice(plan_of, tmp_path):
    assert "dnssec-failed.org." in forged(plan_of, tmp_path).command
    assert "bogus.example." in forged(plan_of, tmp_path, bogus="bogus.example", anchors=True).command
    assert forged(plan_of, tmp_path, anchors=True) is None, "the root's names are not for this resolver"


def test_a_resolver_that_takes_too_long_is_not_seen_to_be_wrong():
    with pytest.raises(UnknownError):
        unbound._validated(Result(9, ";; communications error to 127.0.0.1#53: timed out\n", ""))
