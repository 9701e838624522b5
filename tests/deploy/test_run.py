"""What a run asks of a machine, and what it does to it: counted and named exactly."""

from __future__ import annotations

import logging

import pytest
from pyinfra.context import ctx_host

from mailwright.converge import operations as op
from mailwright.converge import session
from mailwright.converge.recording import NAME as RECORD
from mailwright.model.errors import ConvergeError
from mailwright.model.needs import Absent, Directory, File, Needs, Package, Sysctl, Unit, User
from mailwright.model.role import Role, Settings
from mailwright.observe.state import key_of_test

SECRET = "correct horse battery staple"


def role(name, needs, *, test=None, validate=None, after=None):
    def apply(ctx):
        op.files(ctx, validate=validate)
        if test is not None:
            op.shell(ctx, "do something", f"touch {test}", unless=f"[ -e {test} ]", stdin=SECRET)
        op.units(ctx)
        if after is not None:
            after(ctx)

    return Role(name, Settings, apply, needs=lambda _: needs, after=())


def mail(name="mail", files=3, **more):
    unit = f"{name}.service"
    needs = Needs(
        packages=(Package(name),),
        users=(User(name, uid=5000, gid=5000),),
        directories=(Directory(f"/etc/{name}"),),
        files=(
            *(File(f"/etc/{name}/{n}.conf", b"x = 1\n") for n in range(files)),
            File(f"/etc/{name}/password", f"password={SECRET}\n".encode(), mode=0o600, secret=True),
        ),
        absent=(Absent(f"/etc/{name}/default.conf"),),
        sysctls=(Sysctl("net.ipv4.tcp_syncookies", "1", "A reason."),),
        units=(Unit(unit, reads=(f"/etc/{name}",)),),
    )
    return role(name, needs, **more)


@pytest.mark.parametrize(("roles", "files"), [(1, 3), (12, 60)])
def test_a_run_without_changes_costs_two_commands_however_many_roles_and_files(
    pyinfra, roles, files, pretend
):
    machine = pretend(tests={f"[ -e /r{n} ]": True for n in range(roles)})
    run = pyinfra(
        [mail(f"r{n}", files, test=f"/r{n}") if n == 0 else _other(n, files) for n in range(roles)],
        {"m1": (machine, None)},
    )
    assert run.changed("m1") == []
    assert machine.asked == ["look", "look"]


def _other(n, files):
    needs = Needs(
        files=tuple(File(f"/etc/r{n}/{i}.conf", b"x") for i in range(files)),
        units=(Unit(f"r{n}.service", reads=(f"/etc/r{n}",)),),
    )
    return role(f"r{n}", needs, test=f"/r{n}")


def test_the_first_look_asks_the_shell_tests_of_all_roles(pyinfra, pretend):
    machine = pretend(tests={"[ -e /a ]": True, "[ -e /b ]": True})
    roles = [role("a", Needs(), test="/a"), role("b", Needs(), test="/b")]
    run = pyinfra(roles, {"m1": (machine, None)})
    assert run.changed("m1") == []
    for test in machine.tests:
        assert machine.scripts[0].count(key_of_test(test)) == 2


def test_with_yes_nothing_is_foreseen_and_one_command_is_enough(pyinfra, pretend):
    machine = pretend()
    run = pyinfra([mail()], {"m1": (machine, None)}, yes=True)
    assert run.changed("m1") == []
    assert machine.asked == ["look"]


FIRST = (
    "machine: users",
    "machine: packages",
    "machine: kernel settings",
    "mail: files",
    "mail: do something",
    "mail: units",
)
"""The operations that change a bare machine."""


def test_a_run_that_is_about_one_role_leaves_everything_else_as_it_is(pyinfra, pretend):
    machine = pretend(met=False)
    run = pyinfra([mail("one"), mail("two")], {"m1": (machine, None)}, only=["two"])
    assert run.changed("m1") == ["two: files", RECORD]


def test_each_change_is_one_command_and_the_machine_is_looked_at_after_it(pyinfra, pretend):
    machine = pretend(met=False, learns=False)
    pyinfra([mail(test="/m")], {"m1": (machine, None)})
    changes = [title for title in machine.asked if title != "look"]
    assert [title for title in changes if title in FIRST] == list(FIRST)
    assert machine.asked == ["look"] + [asked for title in changes for asked in ("look", title)]


def test_a_dry_run_changes_nothing_and_names_what_would_change(pyinfra, pretend):
    machine = pretend(met=False)
    run = pyinfra([mail(test="/m")], {"m1": (machine, None)}, dry=True, verbose=1)
    assert machine.asked == ["look"]
    assert run.changed("m1") == list(FIRST)
    lines = ("user mail: new", "mail: installed", "/etc/mail/0.conf: new", "mail.service: enable, start")
    assert [line for line in lines if line not in run.log] == []


def test_a_dry_run_foresees_the_restart_that_a_changed_file_will_owe(pyinfra, pretend):
    machine = pretend()
    needs = Needs(files=(File("/etc/mail/a", b"old"),), units=(Unit("mail.service", reads=("/etc/mail",)),))
    wanted = Needs(files=(File("/etc/mail/a", b"new"),), units=needs.units)
    machine.needs = needs
    run = pyinfra([role("mail", wanted)], {"m1": (machine, None)}, dry=True, verbose=1)
    assert run.changed("m1") == ["mail: files", "mail: units"]
    assert "mail.service: restart (/etc/mail/a will change)" in run.log


def test_a_dry_run_foresees_a_restart_owed_by_a_later_role_once(pyinfra, pretend):
    machine = pretend(
        needs=Needs(files=(File("/etc/x/a", b"old"),), units=(Unit("x.service", reads=("/etc/x",)),))
    )
    first = role("first", Needs(units=machine.needs.units))
    later = role("later", Needs(files=(File("/etc/x/a", b"new"),)))
    run = pyinfra([first, later], {"m1": (machine, None)}, dry=True)
    assert run.changed("m1") == ["later: files", "machine: units that read what came later"]


def test_an_owed_restart_is_made_by_a_run_that_changes_no_file(pyinfra, pretend):
    machine = pretend(newer={"/etc/mail/1.conf"})
    run = pyinfra([mail()], {"m1": (machine, None)})
    assert run.changed("m1") == ["mail: units", RECORD]
    assert machine.asked == ["look", "look", "mail: units", "look", RECORD]
    assert "run restart mail.service" in machine.scripts[2]


def test_only_a_run_that_changes_something_is_recorded_with_what_it_found(pyinfra, pretend):
    machine = pretend(newer={"/etc/mail/1.conf"})
    pyinfra([mail()], {"m1": (machine, None)})
    before = [
        title for title, text in zip(machine.asked, machine.scripts, strict=True) if "before.new" in text
    ]
    assert before == ["mail: units"]
    machine.asked.clear()
    pyinfra([mail()], {"m1": (machine, None)})
    assert RECORD not in machine.asked


def test_a_machine_without_a_record_gets_one(pyinfra, pretend):
    machine = pretend(recorded=False)
    run = pyinfra([mail()], {"m1": (machine, None)})
    assert run.changed("m1") == [RECORD]


def test_a_failed_run_is_not_recorded(pyinfra, pretend):
    machine = pretend(newer={"/etc/mail/0.conf"}, fails={"mail: units": ["no"]})
    run = pyinfra([mail()], {"m1": (machine, None)})
    assert (run.failed, RECORD in machine.asked) == (["m1"], False)


def test_another_release_than_declared_is_left_alone_and_others_go_on(pyinfra, pretend):
    wrong, right = pretend(debian="13"), pretend(newer={"/etc/mail/0.conf"})
    run = pyinfra([mail()], {"m1": (wrong, None), "m2": (right, None)})
    assert wrong.asked == ["look"]
    assert run.failed == ["m1"]
    assert "the fleet says Debian 12, the machine is debian 13: nothing is done here" in run.log
    assert run.changed("m2") == ["mail: units", RECORD]


def test_another_release_is_left_alone_when_nothing_was_foreseen(pyinfra, pretend):
    machine = pretend(debian="11", met=False)
    run = pyinfra([mail()], {"m1": (machine, None)}, yes=True)
    assert machine.asked == ["look"]
    assert run.failed == ["m1"]


def test_a_login_that_is_not_root_is_refused(pyinfra, pretend):
    machine = pretend(uid=1000)
    run = pyinfra([mail()], {"m1": (machine, None)})
    assert run.failed == ["m1"]
    assert "not root" in run.log


def test_a_machine_without_an_answer_fails_alone(pyinfra, pretend):
    mute, fine = pretend(), pretend()
    mute.answer = lambda *_: (True, ["Last login: yesterday"])
    run = pyinfra([mail()], {"m1": (mute, None), "m2": (fine, None)})
    assert run.failed == ["m1"]
    assert "not whole; it said: Last login: yesterday" in run.log
    assert fine.asked == ["look", "look"]


@pytest.mark.parametrize("end", [EOFError(), OSError("reset by peer")])
def test_a_connection_that_ends_fails_its_machine_alone(pyinfra, pretend, end):
    cut, fine = pretend(newer={"/etc/mail/0.conf"}), pretend(newer={"/etc/mail/0.conf"})
    answer = cut.answer

    def cut_off(title, text):
        if title == "mail: units":
            raise end
        return answer(title, text)

    cut.answer = cut_off
    run = pyinfra([mail()], {"m1": (cut, None), "m2": (fine, None)})
    assert run.failed == ["m1"]
    assert run.changed("m2") == ["mail: units", RECORD]


def test_roles_of_different_machines_keep_their_operations_apart(pyinfra, pretend):
    """pyinfra merges operations that the same line called; ours all come out of one loop."""
    a, b = pretend(newer={"/etc/a/x"}), pretend(newer={"/etc/b/x"})
    roles = [
        role(n, Needs(files=(File(f"/etc/{n}/x", b""),), units=(Unit(f"{n}.service", reads=(f"/etc/{n}",)),)))
        for n in ("a", "b")
    ]
    run = pyinfra(roles, {"m1": (a, {"a"}), "m2": (b, {"b"})})
    assert run.changed("m1") == ["a: units", RECORD]
    assert run.changed("m2") == ["b: units", RECORD]
    assert all(len(meta.names) == 1 for meta in run.state.op_meta.values())


def test_a_failed_command_shows_its_output_without_secrets_and_stops_the_machine(pyinfra, pretend):
    said = ["/etc/mail/0.conf:1: what is x?", f"near {SECRET}"]
    machine = pretend(met=False, learns=False, fails={"mail: files": said})
    run = pyinfra([mail()], {"m1": (machine, None)}, secrets={"submission/shop": SECRET})
    assert run.failed == ["m1"]
    assert "what is x?" in run.log
    assert "near ***" in run.log
    assert SECRET not in run.log
    assert machine.asked[-1] == "mail: files"


@pytest.mark.parametrize("options", [{}, {"dry": True, "diff": True}, {"diff": True}, {"verbose": 2}])
def test_secrets_travel_on_standard_input_only(pyinfra, options, capfd, caplog, pretend):
    machine = pretend(met=False, learns=False, says=(f"password={SECRET}",))
    run = pyinfra([mail(test="/m")], {"m1": (machine, None)}, secrets={"submission/shop": SECRET}, **options)
    out = capfd.readouterr()
    for place in (run.log, out.out, out.err, *machine.commands):
        assert SECRET not in place
    for record in caplog.records:
        assert SECRET not in record.getMessage()
    assert logging.getLogger("pyinfra").isEnabledFor(logging.DEBUG)
    for meta in run.state.op_meta.values():
        assert SECRET not in repr(vars(meta))


def test_a_diff_shows_text_and_hides_secrets(pyinfra, pretend):
    old = Needs(
        files=(
            File("/etc/mail/0.conf", b"x = 0\n"),
            File("/etc/mail/password", b"password=old\n", mode=0o600, secret=True),
        )
    )
    machine = pretend(
        needs=old, files={"/etc/mail/0.conf": b"x = 0\n", "/etc/mail/password": b"password=old\n"}
    )
    run = pyinfra([mail()], {"m1": (machine, None)}, dry=True, diff=True)
    assert "- x = 0" in run.log
    assert "+ x = 1" in run.log
    assert "/etc/mail/password: content" in run.log
    assert "password=" not in run.log
    assert machine.asked == ["look", "diff"]


def test_a_change_is_shown_once_though_pyinfra_asks_for_it_twice(pyinfra, pretend):
    machine = pretend(met=False, learns=False)
    run = pyinfra([mail()], {"m1": (machine, None)}, verbose=1)
    assert run.log.count("mail: files: /etc/mail/0.conf: new") == 1


def test_sudo_is_used_when_the_login_is_not_root(pyinfra, pretend):
    machine = pretend()
    run = pyinfra([mail()], {"m1": (machine, None)}, ssh_user="deploy")
    host = run.state.inventory.get_host("m1")
    assert host.data.get("_sudo") is True
    assert all(op.global_arguments["_sudo"] is True for op in run.state.ops[host].values())


def test_operations_outside_of_a_deploy_are_refused(pyinfra, pretend):
    run = pyinfra([], {"m1": (pretend(), None)})
    host = run.state.inventory.get_host("m1")
    session._sessions.pop(host)
    with ctx_host.use(host), pytest.raises(ConvergeError, match=r"deploy\(\)"):
        session.current()
