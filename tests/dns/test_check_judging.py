"""What checks conclude from given facts: the cases that a small world cannot show."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import dns.dnssec
import dns.message
import dns.name
import dns.rdataset
import dns.rdatatype
import dns.zone
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256, Hash
from cryptography.hazmat.primitives.serialization import Encoding

from maildns.asking.authority import AskError, Server
from maildns.errors import RecordError
from maildns.judging.blocklist import Blocklist, distrust
from maildns.judging.check import State
from maildns.judging.dane import mismatch
from maildns.judging.delegation import Sight, judge_ns, judge_serials
from maildns.judging.dnssec import BogusError, Keys, Lasts, proved, read_anchors, trusted_keys
from maildns.judging.treewalk import aligned, organisation, policy_of
from maildns.policy.tlsa import Tlsa
from tests.dns.tlsworld import Identity, authority, leaf

NOW = datetime.now(UTC)
STAMP = NOW.timestamp()

# DNSSEC: a zone signed here, and answers made of it


class SignedZone:
    """`example.org.` with NSEC, answering like a server."""

    def __init__(self, content: str, *, days: float = 7) -> None:
        self.zone = dns.zone.from_text(
            f"@ 60 SOA ns hm 1 2 3 4 5\n{content}", "example.org.", relativize=False
        )
        key = ec.generate_private_key(ec.SECP256R1())
        self.key = dns.dnssec.make_dnskey(key.public_key(), dns.dnssec.Algorithm.ECDSAP256SHA256, flags=257)
        expiration = NOW + timedelta(days=days)
        with self.zone.writer() as txn:
            dns.dnssec.sign_zone(
                self.zone, txn, keys=[(key, self.key)], add_dnskey=True, dnskey_ttl=60,
                inception=NOW - timedelta(days=7), expiration=expiration,
            )  # fmt: skip

    @property
    def keys(self) -> Keys:
        answer = self.answer("example.org.", "DNSKEY")
        return trusted_keys("example.org.", answer, [self.key], STAMP)

    def answer(
        self, name: str, type_: str, *denied_by: str, rcode: str = "NOERROR", owner: str = ""
    ) -> dns.message.Message:
        """With the set from `owner` where a wildcard answers, and the NSEC records of `denied_by`."""
        answer = dns.message.make_response(dns.message.make_query(name, type_, want_dnssec=True))
        answer.index = None  # sections are filled by hand
        answer.set_rcode(dns.rcode.from_text(rcode))
        if not denied_by or owner:
            self._add(answer.answer, owner or name, type_, name)
        for each in denied_by:
            self._add(answer.authority, each, "NSEC", each)
        return answer

    def _add(self, section: list, owner: str, type_: str, name: str) -> None:
        rdtype = dns.rdatatype.from_text(type_)
        for found in (
            self.zone.get_rrset(owner, rdtype),
            self.zone.get_rrset(owner, dns.rdatatype.RRSIG, rdtype),
        ):
            if found:
                copy = found.copy()
                copy.name = dns.name.from_text(name)
                section.append(copy)


ZONE = SignedZone("""
@ 60 NS ns
a 60 A 192.0.2.1
b.c 60 A 192.0.2.2
*.w 60 A 192.0.2.3
sub 60 NS ns.elsewhere.example.
z 60 A 192.0.2.9
""")


MISSING = {"rcode": "NXDOMAIN"}


def judged(zone: SignedZone, name: str, type_: str, *denied_by: str, **how):
    return proved(zone.answer(name, type_, *denied_by, **how), name, type_, zone.keys, STAMP)


@pytest.mark.parametrize(
    ("name", "type_", "denied_by", "how"),
    [
        ("a.example.org.", "A", (), {}),
        ("a.example.org.", "MX", ("a.example.org.",), {}),
        ("c.example.org.", "A", ("a.example.org.",), {}),  # it exists only because b.c does
        ("nope.example.org.", "A", ("b.c.example.org.", "example.org."), MISSING),
        ("x.w.example.org.", "A", ("*.w.example.org.",), {"owner": "*.w.example.org."}),
        ("x.w.example.org.", "MX", ("*.w.example.org.",), {}),
    ],
)
def test_a_proof_is_accepted(name, type_, denied_by, how):
    judged(ZONE, name, type_, *denied_by, **how)


@pytest.mark.parametrize(
    ("name", "type_", "denied_by", "how", "why"),
    [
        ("a.example.org.", "A", ("a.example.org.",), {}, "do not prove"),  # the bitmap has A
        ("a.example.org.", "A", ("example.org.",), MISSING, "do not prove"),  # next is not past
        ("nope.example.org.", "A", ("b.c.example.org.",), MISSING, "do not prove"),  # a wildcard might
        ("y.sub.example.org.", "A", ("sub.example.org.",), MISSING, "do not prove"),  # not its to deny
        ("x.w.example.org.", "A", (), {"owner": "*.w.example.org."}, "answered by a wildcard"),
        ("x.w.example.org.", "A", ("z.example.org.",), {"owner": "*.w.example.org."}, "by a wildcard"),
        ("nope.example.org.", "A", ("gone.example.org.",), MISSING, "denial is missing"),
    ],
)  # fmt: skip
def test_what_proves_nothing_is_bogus(name, type_, denied_by, how, why):
    with pytest.raises(BogusError, match=why):
        judged(ZONE, name, type_, *denied_by, **how)


def test_signatures_end():
    with pytest.raises(BogusError, match="expired"):
        _ = SignedZone("a 60 A 192.0.2.1\n@ 60 NS ns", days=-1).keys


def test_only_the_key_that_is_named_vouches():
    other = SignedZone("@ 60 NS ns")
    with pytest.raises(BogusError, match="no DNSKEY of example"):
        trusted_keys("example.org.", ZONE.answer("example.org.", "DNSKEY"), [other.key], STAMP)


def test_a_changed_record_is_bogus():
    answer = ZONE.answer("a.example.org.", "A")
    answer.answer[0] = dns.rrset.from_text("a.example.org.", 60, "IN", "A", "192.0.2.66")
    with pytest.raises(BogusError, match="verify failure"):
        proved(answer, "a.example.org.", "A", ZONE.keys, STAMP)


@pytest.mark.parametrize(("left", "soon"), [(1.5, False), (1.3, True), (-1, True)])
def test_a_signature_ends_soon_when_a_tenth_of_its_life_is_left(left, soon):
    day = 86400
    assert Lasts(0, 14 * day).ends_soon((14 - left) * day) is soon


@pytest.mark.parametrize("text", ["example.org. IN A 192.0.2.1", "example.org. IN DS x", "\x00"])
def test_what_is_no_trust_anchor_is_one_line(text):
    with pytest.raises(RecordError, match="trust anchors: "):
        read_anchors(text)


# DANE

CA = authority("CA")
HOST = "mx.example.org"
OTHER = leaf("other.example.org", CA)


def tlsa(identity: Identity, usage: int, matching: int = 1) -> Tlsa:
    der = identity.certificate.public_bytes(Encoding.DER)
    digest = Hash(SHA256())
    digest.update(der)
    return Tlsa(usage, 0, matching, digest.finalize().hex() if matching else der.hex())


def chain(*identities: Identity) -> list[bytes]:
    return [each.certificate.public_bytes(Encoding.DER) for each in identities]


@pytest.mark.parametrize(
    ("records", "shown", "why"),
    [
        ([tlsa(CA, 2)], (leaf(HOST, CA), CA), None),
        ([tlsa(CA, 2, 0)], (leaf(HOST, CA), CA), None),
        ([tlsa(CA, 2)], (leaf(HOST, CA),), "no record fits"),  # the anchor must be shown
        ([tlsa(CA, 2)], (leaf(HOST, authority("x")), CA), "is not signed by"),
        ([tlsa(CA, 2)], (leaf(HOST, CA, lasts=-timedelta(days=1)), CA), "is not valid now"),
        ([tlsa(CA, 2)], (OTHER, CA), f"not for {HOST}"),
        ([tlsa(OTHER, 2)], (OTHER, CA), f"not for {HOST}"),
        ([tlsa(CA, 2)], (leaf("*.example.org", CA), CA), None),
        ([tlsa(CA, 2)], (leaf("*.org", CA), CA), f"not for {HOST}"),
        ([tlsa(CA, 3)], (leaf(HOST, CA), CA), "no record fits"),
        ([tlsa(CA, 1), tlsa(CA, 0)], (leaf(HOST, CA), CA), "no record has usage 2 or 3"),
        ([tlsa(CA, 3)], (), "shows no certificate"),
    ],
)
def test_dane_by_an_authority_needs_the_whole_way_to_it(records, shown, why):
    found = mismatch(records, chain(*shown), HOST, NOW)
    assert found == why if why is None else why in (found or "")


def test_dane_by_the_servers_own_key_asks_for_neither_name_nor_dates():
    expired = leaf("anything.example", authority("x"), lasts=-timedelta(days=1))
    assert mismatch([tlsa(expired, 3), tlsa(CA, 3)], chain(expired), HOST, NOW) is None


# DMARC


def texts(**records: str):
    table = {f"_dmarc.{name.replace('_', '.')}.": text for name, text in records.items()}
    return lambda name: (table[name],) if name in table else ()


def test_a_subdomain_falls_back_to_its_organisation():
    world = texts(example_org="v=DMARC1; p=reject; sp=quarantine")
    found = policy_of("news.example.org.", world)
    assert (found.domain, found.policy_for("news.example.org.")) == ("example.org.", "quarantine")
    assert policy_of("example.org.", world).policy_for("example.org.") == "reject"
    assert policy_of("elsewhere.example.", world) is None


def test_the_organisation_is_the_highest_record_unless_one_says_where_it_is():
    plain = texts(example_org="v=DMARC1; p=none", news_example_org="v=DMARC1; p=none")
    assert organisation("a.news.example.org.", plain) == "example.org."
    suffix = texts(org="v=DMARC1; p=none; psd=y", news_example_org="v=DMARC1; p=none")
    assert organisation("a.news.example.org.", suffix) == "example.org."
    alone = texts(example_org="v=DMARC1; p=none", news_example_org="v=DMARC1; p=none; psd=n")
    assert organisation("a.news.example.org.", alone) == "news.example.org."


def test_relaxed_alignment_is_by_organisation_and_strict_by_name():
    world = texts(example_org="v=DMARC1; p=none")
    assert aligned("example.org.", "bounce.example.org.", strict=False, texts=world)
    assert not aligned("example.org.", "bounce.example.org.", strict=True, texts=world)
    assert not aligned("example.org.", "example.net.", strict=False, texts=world)


def test_the_walk_ends_where_a_record_says_that_it_does():
    world = texts(news_example_org="v=DMARC1; p=none; psd=n")
    asked: list[str] = []
    policy_of("a.news.example.org.", lambda name: asked.append(name) or world(name))
    assert asked == ["_dmarc.a.news.example.org.", "_dmarc.news.example.org."]


def test_the_walk_asks_at_most_eight_questions():
    asked: list[str] = []
    policy_of("a.b.c.d.e.f.g.h.i.example.org.", lambda name: asked.append(name) or ())
    assert len(asked) == 8
    assert asked[1] == "_dmarc.e.f.g.h.i.example.org."


# Blocklists


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        ("192.0.2.99", "99.2.0.192.bl.example."),
        ("2001:db8::1", f"1.{'0.' * 23}8.b.d.0.1.0.0.2.bl.example."),
        ("example.org", "example.org.bl.example."),
    ],
)
def test_the_name_to_ask_a_list_for(entry, name):
    assert Blocklist("bl.example.", "addresses").name(entry) == name


def test_a_list_is_asked_only_for_what_it_lists():
    assert not Blocklist("bl.example.", "addresses").takes("2001:db8::1")
    assert Blocklist("bl.example.", "addresses", ipv6=True).takes("2001:db8::1")
    assert not Blocklist("bl.example.", "addresses").takes("example.org")
    assert not Blocklist("bl.example.", "domains").takes("192.0.2.1")
    assert Blocklist("bl.example.", "domains", listed="listed.example").tests("x.org")[0] == "listed.example"
    assert Blocklist("bl.example.", "addresses", ipv6=True).tests("2001:db8::1")[0] == "::ffff:7f00:2"


def test_a_list_that_nobody_answers_for_is_not_believed():
    bl = Blocklist("bl.example.", "addresses")
    said = frozenset({"127.0.0.2"})
    assert distrust(bl, said, frozenset()) is None
    assert distrust(bl, AskError("the resolver refuses"), frozenset()) == "the resolver refuses"
    assert "refuses to be asked" in distrust(bl, frozenset({"127.0.0.1"}), frozenset())


# Delegation


def sight(number: int, *ns: str, serial: int = 1) -> Sight:
    return Sight(Server(f"ns{number}.example.", f"192.0.2.{number}"), frozenset(ns), serial)


def test_servers_that_name_different_servers_are_a_fault():
    verdict = judge_ns("example.", None, [sight(1, "ns1."), sight(2, "ns1.", "ns2.")])
    assert verdict.state is State.FAULT
    assert "ns2.example (192.0.2.2) says ns1., ns2." in verdict.sentence


def test_a_parent_that_also_has_the_zone_shows_no_delegation():
    assert judge_ns("example.", None, [sight(1, "ns1.")]).state is State.OK


def test_serials_that_differ_name_who_is_behind():
    verdict = judge_serials("example.", [sight(1, serial=7), sight(2, serial=6)], 10)
    assert (verdict.state, "ns2.example (192.0.2.2) has 6" in verdict.sentence) == (State.FAULT, True)
