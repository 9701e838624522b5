"""`mailwright dns check` on a whole fleet: DNSSEC, policies over HTTPS, certificates on port 25 and all."""

from __future__ import annotations

import pytest

from maildns.judging.check import State
from mailwright.dnscheck import check_site


@pytest.mark.proof("`mailwright dns check` finds all well in the lab, DNSSEC, MTA-STS and TLSA among it")
def test_all_that_the_world_sees_of_the_lab_is_well(site, evidence):
    verdicts = list(check_site(site))
    assert [v for v in verdicts if v.state is not State.OK] == []
    kinds = {verdict.kind for verdict in verdicts}
    assert kinds >= {"records", "delegation", "dnssec", "fcrdns", "spf", "dmarc"}
    evidence(f"{len(verdicts)} verdicts of {len(kinds)} kinds")
