"""The order of a rolling run: no batch empties a pool, every machine has its turn once."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailwright.model.crosspools import pools as mistakes
from mailwright.rolling.order import alone_in, batches, members
from tests.unit.rolling_world import fleet, pool

EVERYBODY = ("out1", "out2", "out3", "lb1", "lb2", "mx1", "util1")


def test_the_standby_comes_first_then_the_active_balancer_then_the_others_in_the_order_of_the_file():
    order = batches(fleet(), EVERYBODY, holding={"lb1": 2})
    assert order == (("lb2",), ("lb1",), ("out1",), ("out2",), ("out3",), ("mx1",), ("util1",))


def test_balancers_that_hold_nothing_yet_go_in_the_order_of_the_file():
    assert batches(fleet(), ("lb2", "lb1")) == (("lb1",), ("lb2",))


def test_balancers_are_never_changed_together_and_never_with_others():
    order = batches(fleet(), EVERYBODY, 9, holding={"lb1": 1, "lb2": 1})
    assert order == (("lb1",), ("lb2",), ("out1", "out2"), ("out3", "mx1", "util1"))


def test_a_batch_leaves_as_many_members_as_the_pool_keeps():
    assert batches(fleet(5, keep=3), ("out1", "out2", "out3"), 3) == (("out1", "out2"), ("out3",))


def test_who_is_out_of_the_traffic_is_healed_first_and_counts_as_missing():
    assert batches(fleet(), ("out1", "out2", "out3"), out={"out3"})[0] == ("out3",)
    assert batches(fleet(), ("out1", "out2"), 2, out={"out3"}) == (("out1",), ("out2",))


def test_a_pool_balanced_by_the_dns_alone_is_not_emptied_either():
    by_name = pool("mail", 102, ["mx1", "util1"], balancers=[], ipv4=None)
    assert batches(fleet(more=[by_name]), ("mx1", "util1"), 2) == (("mx1",), ("util1",))


def test_only_a_pool_without_a_machine_to_spare_is_served_by_one_alone():
    assert [p.name for p in alone_in(fleet(), "mx1")] == ["incoming"]
    assert [p.name for p in alone_in(fleet(1), "out1")] == ["outgoing"]
    assert alone_in(fleet(), "out1") == ()
    assert alone_in(fleet(), "util1") == ()


@pytest.mark.parametrize(("keep", "wrong"), [(1, False), (2, False), (3, True), (4, True)])
def test_a_pool_that_keeps_all_of_its_members_is_a_mistake(keep, wrong):
    found = [what for where, what in mistakes(fleet(keep=keep)) if where == ("pools", 0, "keep_serving")]
    said = f"{keep} of 3 members: none could ever be drained; leave one to spare"
    assert found == ([said] if wrong else [])


@settings(deadline=None)
@given(
    sending=st.integers(1, 6),
    keep=st.integers(1, 4),
    size=st.integers(1, 5),
    holding=st.dictionaries(st.sampled_from(["lb1", "lb2"]), st.integers(0, 4)),
    data=st.data(),
)
def test_no_batch_empties_a_pool_and_every_machine_has_its_turn_once(sending, keep, size, holding, data):
    site = fleet(sending, keep=keep)
    names = [m.name for m in site.machines]
    chosen = data.draw(st.sets(st.sampled_from(names)))
    out = data.draw(st.sets(st.sampled_from([f"out{i}" for i in range(1, sending + 1)])))
    order = batches(site, chosen, size, holding=holding, out=out)
    assert sorted(name for batch in order for name in batch) == sorted(chosen)
    assert all(0 < len(batch) <= size for batch in order)
    assert order == batches(site, sorted(chosen, reverse=True), size, holding=holding, out=sorted(out))
    assert [b for batch in order[: len({"lb1", "lb2"} & chosen)] for b in batch] == sorted(
        {"lb1", "lb2"} & chosen, key=lambda name: (holding.get(name, 0), name)
    )
    for each in site.pools:
        for batch in order:
            taken = members(site, each) & set(batch)
            left = members(site, each) - taken - out
            assert len(taken) <= 1 or len(left) >= each.keep_serving, (each.name, batch)
