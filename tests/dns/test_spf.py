"""Our SPF evaluator says what RFC 7208 says, case by case, and what pyspf and checkdmarc say."""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_address

import checkdmarc.spf
import checkdmarc.utils
import dns.resolver
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maildns.policy.spf import LookupFailedError, Result, SpfSyntaxError, StaticLookup, check_host, parse
from maildns.policy.spf.count import count_lookups
from maildns.records import to_rdata
from tests.dns.spf_corpus import CASES, CLIENT, Case, at_org, many, ours, records, terms
from tests.dns.spf_pyspf import ask

UNDECIDED = (Result.NONE, Result.TEMPERROR, Result.PERMERROR)


def test_the_corpus_is_large_and_its_cases_have_names_of_their_own():
    assert len(CASES) >= 200
    assert [name for name, count in Counter(c.name for c in CASES).items() if count > 1] == []


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c.section}-{c.name}")
def test_we_conclude_what_the_rfc_says(case):
    found = ours(case)
    assert found.result == case.result, found.reason
    assert case.explanation in (None, found.explanation)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_pyspf_concludes_the_same_or_what_the_case_says_it_does(case):
    theirs = ask(case.records, case.failing, case.ip, case.sender, case.helo)
    assert theirs.result == (case.pyspf or case.result)
    if case.pyspf:
        assert case.pyspf != case.result
        return
    mine = ours(case)
    assert theirs.explanation == mine.explanation
    if mine.result not in UNDECIDED:
        assert theirs.lookups == (mine.lookups if case.pyspf_lookups is None else case.pyspf_lookups)


class TableResolver:
    """What checkdmarc asks instead of the world."""

    lifetime = 1.0

    def __init__(self, lookup: StaticLookup) -> None:
        self._lookup = lookup

    def resolve(self, name, rdtype, **_):
        try:
            values = self._lookup(str(name).lower().removesuffix(".") + ".", str(rdtype))
        except LookupFailedError:
            raise dns.resolver.NoNameservers from None
        if not values:
            raise dns.resolver.NoAnswer
        return [to_rdata(str(rdtype), value) for value in values]


def by_checkdmarc(text: str, lookup: StaticLookup) -> int | None:
    """checkdmarc's count; `None` where it refuses the record."""
    checkdmarc.utils.DNS_CACHE.clear()
    resolver = TableResolver(lookup)
    try:
        return checkdmarc.spf.parse_spf_record(text, "example.org", resolver=resolver)["dns_lookups"]
    except checkdmarc.spf.SPFTooManyDNSLookups:
        return 11
    except checkdmarc.spf.SPFError:
        return None


def countable(case: Case) -> int | None:
    """Our count of a case's record; `None` where it has none that can be read to the end."""
    lookup = StaticLookup(case.records, case.failing)
    texts = [t for t in case.records["example.org", "TXT"] if t.lower().startswith("v=spf1")]
    try:
        return min(11, count_lookups(texts[0], "example.org", lookup).lookups) if len(texts) == 1 else None
    except (SpfSyntaxError, LookupFailedError):
        return None


def test_checkdmarc_counts_the_same_lookups():
    compared = []
    for case in CASES:
        (text, *_) = case.records["example.org", "TXT"]
        mine, theirs = countable(case), by_checkdmarc(text, StaticLookup(case.records, case.failing))
        if mine is not None and theirs is not None:
            compared.append((case.name, mine, theirs))
    # Too many MX hosts end in the same error of checkdmarc as too many lookups.
    assert [c[0] for c in compared if c[1] != c[2]] == [c.name for c in CASES if "eleven-mx" in c.name]
    assert len(compared) > 150
    assert {n for _, n, _ in compared} >= {0, 1, 2, 9, 10, 11}


def test_the_count_names_what_costs_most():
    lookup = StaticLookup(
        {("a.example.net", "TXT"): ["v=spf1 a mx include:b.example.net ~all"],
         ("b.example.net", "TXT"): ["v=spf1 exists:%{i}.example.net redirect=%{l}.example.net"]}
    )  # fmt: skip
    cost = count_lookups("v=spf1 mx include:a.example.net -all a", "example.org.", lookup)
    assert cost.terms == (("mx", 1), ("include:a.example.net", 6))
    assert cost.sentence == "7 of 10 lookups (include:a.example.net 6, mx 1)"
    assert not cost.too_much


@pytest.mark.parametrize(
    ("zone", "said"),
    [
        ("a.example.net TXT v=spf1 include:example.org -all", "example.org includes a.example.net includes"),
        ("", "a.example.net has no SPF records"),
        ("a.example.net TXT v=spf1 -all\na.example.net TXT v=spf1", "a.example.net has 2 SPF records"),
        ("a.example.net TXT v=spf1 nonsense", "a.example.net: "),
    ],
)
def test_what_cannot_be_counted_says_where(zone, said):
    with pytest.raises(SpfSyntaxError, match=said):
        count_lookups("v=spf1 include:a.example.net", "example.org", StaticLookup(records(zone)))


def test_the_answer_says_whose_directive_decided_and_what_it_took():
    case = Case("x", at_org("v=spf1 a:other.example.org redirect=client.example.net"), "pass", "")
    found = ours(case)
    assert (found.mechanism, found.domain) == ("ip4:192.0.2.10", "client.example.net")
    assert found.reason == "192.0.2.10 matches ip4:192.0.2.10 of client.example.net"
    assert (found.lookups, found.voids) == (2, 0)
    found = ours(Case("x", at_org("v=spf1 a:gone.example.org include:yes.example.net -all"), "pass", ""))
    assert (found.mechanism, found.domain, found.voids) == ("include:yes.example.net", "example.org", 1)


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ("v=spf1 nonsense", "example.org: not a mechanism of RFC 7208: 'nonsense'"),
        (
            "v=spf1 include:gone.example.net",
            "example.org includes gone.example.net., which has no SPF record",
        ),
        ("v=spf1 include:example.org", "include:example.org of example.org is lookup 11"),
        ("v=spf1 a:1.example.org a:2.example.org a:3.example.org", "3.example.org. A gives nothing"),
        ("v=spf1 a:slow.example.net", "slow.example.net. A: no answer"),
    ],
)
def test_an_error_names_its_cause(policy, said):
    assert ours(Case("x", at_org(policy), "", "")).reason.startswith(said)


def test_the_clock_and_the_receiver_show_in_explanations():
    zone = at_org("v=spf1 -all exp=exp.example.org", "exp.example.org TXT %{t} at %{R}")
    lookup = StaticLookup(records(zone))
    found = check_host(
        ip_address(CLIENT), "example.org", "a@example.org", "h", lookup,
        receiver="mx example", clock=lambda: 12.9,
    )  # fmt: skip
    assert found.explanation == "12 at mx%20example"


PTR = "10.2.0.192.in-addr.arpa"


@pytest.mark.parametrize(("names", "asked"), [(10, 10), (11, 10)])
def test_no_more_than_ten_names_of_a_reverse_lookup_are_asked_about(names, asked):
    table = records(many(f"{PTR} PTR p#.example.net.\np#.example.net A 198.51.100.#", names))
    table["example.org", "TXT"] = ["v=spf1 ptr -all"]
    questions: list[tuple[str, str]] = []
    static = StaticLookup(table)

    def lookup(name: str, type_: str) -> tuple[str, ...]:
        questions.append((name, type_))
        return static(name, type_)

    check_host(ip_address(CLIENT), "example.org", "a@example.org", "h", lookup)
    assert sum(type_ == "A" for _, type_ in questions) == asked


def test_the_explanation_of_an_include_is_not_even_asked_for():
    zone = at_org(
        "v=spf1 include:one.example.net -all",
        "one.example.net TXT v=spf1 -all exp=exp.example.net\nexp.example.net TXT theirs",
    )
    static, asked = StaticLookup(records(zone)), []

    def lookup(name: str, type_: str) -> tuple[str, ...]:
        asked.append(name)
        return static(name, type_)

    check_host(ip_address(CLIENT), "example.org", "a@example.org", "h", lookup)
    assert asked == ["example.org.", "one.example.net."]


@settings(deadline=None, max_examples=150)
@given(st.text(alphabet="%{}dliprcth0123-=.:/ \tamxsall?~+ä\udc80", max_size=60))
def test_any_text_is_judged_and_none_breaks_the_evaluator(text):
    zone = {("example.org", "TXT"): ["v=spf1 " + text, "x"]}
    found = check_host(
        ip_address(CLIENT), "example.org", f"{text}@example.org", text, StaticLookup(zone), clock=float
    )
    assert found.result in set(Result)
    assert "\n" not in found.reason


def test_a_long_policy_of_somebody_who_means_harm_is_read_in_no_time():
    for hostile in (
        "a:" + "a" * 60_000 + "!",
        "exists:%{d" + "9" * 60_000 + "}",
        "/" * 60_000,
        "a/" * 30_000,
    ):
        with pytest.raises(SpfSyntaxError):
            parse(f"v=spf1 {hostile} {terms('moo', 1)}")


NAMES = ("example.org", "b.example.org", "c.example.org", "d.example.org")
HERE, THERE = st.sampled_from(["192.0.2.10", "192.0.2.99"]), st.sampled_from(["198.51.100.7", "203.0.113.1"])


def directives(targets: tuple[str, ...]) -> st.SearchStrategy[str]:
    """One directive that asks about any name and includes one of `targets`."""
    name = st.sampled_from([*NAMES, "empty.example.org"])
    plain = [
        st.just("all"),
        st.just("a"),
        st.just("mx/24"),
        st.just("ptr"),
        st.builds("ip4:{}".format, HERE | THERE),
        st.builds("ip4:{}/{}".format, HERE | THERE, st.integers(0, 32)),
        st.just("ip6:2001:db8::/32"),
        st.builds("a:{}/{}".format, name, st.integers(20, 32)),
        st.builds("mx:{}".format, name),
        st.builds("ptr:{}".format, name),
        st.builds("exists:{}".format, name),
        st.just("exists:%{ir}.%{l1r-}.%{d2}"),
        st.sampled_from(["nonsense", "ip4:192.0.2.300", "a:x"]),
    ]
    if targets:
        plain += [st.builds("include:{}".format, st.sampled_from(targets))] * 3
    return st.builds("{}{}".format, st.sampled_from(["", "-", "~", "?", "+"]), st.one_of(plain))


@st.composite
def worlds(draw, *, circles: bool):
    """Four domains with policies, addresses and exchangers; without circles, an include only looks down."""
    table: dict[tuple[str, str], list[str]] = {}
    for i, name in enumerate(NAMES):
        targets = tuple(n for n in (NAMES if circles else NAMES[i + 1 :]) if n != name)
        chosen = draw(st.lists(directives(targets), max_size=4 if circles else 2))
        if not circles and targets:
            chosen += draw(st.sampled_from([[], [f"redirect={targets[0]}"]]))
        chosen += draw(st.sampled_from([[], ["moo=%{d}"]]))
        table[name, "TXT"] = [" ".join(["v=spf1", *chosen])]
        table[name, "A"] = [draw(HERE | THERE)]
        table[name, "MX"] = [
            f"10 {n}." for n in draw(st.lists(st.sampled_from(NAMES), unique=True, min_size=1))
        ]
    table[PTR, "PTR"] = [f"{n}." for n in draw(st.lists(st.sampled_from(NAMES), unique=True))]
    return table


def agree(table: dict[tuple[str, str], list[str]]) -> None:
    sender = "strong-bad@example.org"
    mine = check_host(ip_address(CLIENT), "example.org", sender, "h", StaticLookup(table))
    theirs = ask({k: v for k, v in table.items() if v}, (), CLIENT, sender, "h")
    assert mine.result == theirs.result, (mine, table)


@settings(deadline=None, max_examples=150)
@given(worlds(circles=True))
def test_random_policies_that_include_each_other_are_judged_as_pyspf_judges_them(table):
    agree(table)


@settings(deadline=None, max_examples=150)
@given(worlds(circles=False))
def test_random_policies_that_redirect_are_judged_as_pyspf_judges_them(table):
    agree(table)
