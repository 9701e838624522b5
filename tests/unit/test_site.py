"""The two passes by which a machine's desired state is computed."""

from __future__ import annotations

import pytest

from mailwright.model.errors import NeedsError
from mailwright.model.fleet import Fleet
from mailwright.model.needs import Directory, File, Needs, Package, Port, Unit
from mailwright.model.role import Check, Role, Settings
from mailwright.model.site import Site

PORT = Port(25, "tcp", "public", "mail")


def nothing(_):
    return Needs()


def site_of(*roles):
    machine = {
        "name": "m1",
        "fqdn": "m1.mailbox.example",
        "ipv4": "203.0.113.1",
        "roles": {r.name: {} for r in roles},
    }
    owner = {"name": "Test", "postmaster": "postmaster@mailbox.example"}
    fleet = Fleet.model_validate({"owner": owner, "machines": [machine]})
    return Site(fleet, roles, secrets=None)


def plan_of(*roles):
    site = site_of(*roles)
    return site.plan(site.fleet.machine("m1"))


def role(name, needs=nothing, files=nothing, **more):
    return Role(name, Settings, apply=lambda _: None, needs=needs, files=files, after=(), **more)


def test_the_second_pass_sees_what_all_roles_need():
    """Those that come later in the order too: a firewall is among the first."""
    firewall = role(
        "firewall", files=lambda ctx: Needs(files=(File("/rules", repr(ctx.merged.ports).encode()),))
    )
    mail = role("mail", needs=lambda _: Needs(ports=(PORT,)))
    (file,) = plan_of(firewall, mail).merged.files
    assert file.content == repr((PORT,)).encode()


def test_the_first_pass_sees_no_other_role():
    seen = []
    plan_of(role("a", lambda ctx: seen.append(ctx.merged) or Needs(packages=(Package("aa"),))), role("b"))
    assert seen == [Needs()]


def test_apply_and_checks_see_their_own_needs_with_files_and_the_sum():
    a = role("a", lambda _: Needs(packages=(Package("aa"),)), lambda _: Needs(files=(File("/a", b""),)))
    b = role("b", lambda _: Needs(packages=(Package("bb"),)))
    plan = plan_of(a, b)
    assert plan.contexts["a"].own == Needs(packages=(Package("aa"),), files=(File("/a", b""),))
    assert plan.contexts["b"].merged == plan.merged == plan.by_role["a"] + plan.by_role["b"]
    assert plan.contexts["b"].role == "b"


@pytest.mark.parametrize("late", [Needs(ports=(PORT,)), Needs(units=(Unit("a.service"),))])
def test_what_comes_too_late_is_refused_with_the_role_s_name(late):
    with pytest.raises(
        NeedsError, match=r"role a: its files\(\) says (ports|units), which belong into needs"
    ):
        plan_of(role("a", files=lambda _: late))


def test_roles_that_contradict_each_other_are_refused():
    a = role("a", files=lambda _: Needs(directories=(Directory("/x"),)))
    b = role("b", files=lambda _: Needs(directories=(Directory("/x", mode=0o700),)))
    with pytest.raises(NeedsError, match="directories /x: mode"):
        plan_of(a, b)


def test_a_role_that_a_machine_lacks_is_not_asked():
    site = site_of(role("a"))
    asked = role("b", needs=lambda _: pytest.fail("asked"))
    plan = Site(site.fleet, (*site.roles, asked), site.secrets).plan(site.fleet.machine("m1"))
    assert [r.name for r in plan.roles] == ["a"]


def test_checks_are_named_by_their_role():
    check = Check("answers", "true", lambda _: None, "none")
    assert plan_of(role("a", checks=lambda _: [check])).checks() == (("a", check),)
