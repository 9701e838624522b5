"""What the controller meets with at a machine's ports, and what that says of the machine."""

import socket
import threading
from contextlib import contextmanager

import pytest

from mailwright.model.errors import UnknownError
from mailwright.model.needs import Needs, Port
from mailwright.model.visit import Reception, Visit
from mailwright.verify import outside
from mailwright.verify.derive import expectations
from mailwright.verify.expectation import Evidence
from mailwright.verify.visiting import visit, visits

HERE = "203.0.113.200"
PORTS = Needs(
    ports=(
        Port(22, "tcp", "admin", "SSH"),
        Port(25, "tcp", "public", "mail"),
        Port(587, "tcp", "public", "submission"),
        Port(8404, "tcp", "admin", "statistics"),
        Port(10026, "tcp", ("m2",), "a queue"),
        Port(53, "tcp", "local", "resolver"),
    )
)
M2 = {"name": "m2", "fqdn": "m2.brightpost.example", "ipv4": "203.0.113.12"}


@pytest.fixture
def expected(plan_of):
    """Returns a function: parts of the fleet to the expectations about ports, by name."""

    def outside(machine=None, **fleet):
        plan = plan_of(needs=PORTS, machine={"ipv6": None} | (machine or {}), machines=[M2], **fleet)
        return {e.name: e for e in expectations(plan) if e.name.startswith("outside-")}

    return outside


def judged(expectation, own=HERE, otherwise="open", **outcomes):
    """The judgement when ports (`p25="silent"`) show something; all others show `otherwise`."""
    other = Visit("203.0.113.11", 465)
    seen = {v: Reception(outcomes.get(f"p{v.port}", otherwise), own) for v in (other, *expectation.visits)}
    fault = expectation.judge(Evidence(None, receptions=seen))
    return fault and fault.found


def test_every_port_but_ssh_is_looked_at_from_outside(expected):
    numbers = (25, 587, 8404, 10026, 53)
    assert list(expected()) == [f"outside-{number}/tcp" for number in numbers]


def test_silence_that_is_expected_is_not_waited_for_long(expected):
    patience = {name: e.visits[0].patience for name, e in expected().items()}
    assert patience["outside-53/tcp"] < patience["outside-587/tcp"]


def test_a_public_port_must_answer(expected):
    port = expected()["outside-587/tcp"]
    assert judged(port) is None
    for outcome, word in (("refused", "refuses"), ("silent", "does not answer")):
        found = judged(port, p587=outcome)
        assert found == f"203.0.113.11 port 587 {word}, while others of its ports answer"


def test_where_no_port_answers_nothing_is_known_of_the_machine(expected):
    with pytest.raises(UnknownError, match="the network between"):
        judged(expected()["outside-587/tcp"], otherwise="silent")
    with pytest.raises(UnknownError, match="there is no way"):
        judged(expected()["outside-587/tcp"], otherwise="unreachable")


def test_port_25_is_shut_by_many_networks_so_that_silence_is_unknown(expected):
    with pytest.raises(UnknownError):
        judged(expected()["outside-25/tcp"], p25="silent")


@pytest.mark.parametrize("number", [10026, 53])
def test_a_port_for_others_must_not_answer_the_controller(expected, number):
    port = expected()[f"outside-{number}/tcp"]
    assert judged(port).endswith(f"port {number} lets the controller in, from {HERE}")
    assert judged(port, **{f"p{number}": "silent"}) is None
    assert judged(port, **{f"p{number}": "refused"}) is None


def test_a_controller_that_belongs_to_the_audience_is_answered(expected):
    assert judged(expected()["outside-10026/tcp"], own="203.0.113.12") is None
    port = expected(networks={"admin": ["203.0.113.192/28"]})["outside-8404/tcp"]
    assert judged(port) is None
    assert "does not answer" in judged(port, p8404="silent")
    stranger = judged(port, own="203.0.113.5")
    assert stranger == "203.0.113.11 port 8404 lets the controller in, from 203.0.113.5"


def test_behind_a_network_that_translates_addresses_nobody_can_tell(expected):
    port = expected(networks={"admin": ["203.0.113.192/28"]})["outside-8404/tcp"]
    for own in ("192.168.1.5", "100.64.0.9"):  # at home; behind a provider's NAT (RFC 6598)
        assert judged(port, own=own) is None


def test_one_audience_that_admits_is_enough(expected):
    port = expected(networks={"admin": ["203.0.113.192/28"]})["outside-8404/tcp"]
    fleet = port.judge.args[0]
    for others in ("clients", "friends", "partners", "probes"):  # a set has them in any order
        assert outside._admitted(fleet, frozenset({"admin", others}), HERE, "203.0.113.11") is True


def test_a_closed_machine_lets_nobody_in(expected):
    port = expected(machine={"closed": True})["outside-587/tcp"]
    assert judged(port).endswith("lets the controller in, from 203.0.113.200")
    assert judged(port, p587="silent") is None


@pytest.mark.parametrize(("unreached", "left"), [([25], {587, 8404, 10026, 53}), (["ipv4"], set())])
def test_what_the_controllers_network_hides_is_not_asked(expected, unreached, left):
    found = expected(verify={"unreached": unreached})
    assert {int(name.partition("-")[2].partition("/")[0]) for name in found} == left


# --- visits, to a server of our own on the loopback


@contextmanager
def serving(*replies):
    """A server that greets with the first reply and answers each line with the next; yields its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as lines:
            for reply in replies:
                connection.sendall(reply)
                if not lines.readline():
                    return

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    with listener:
        yield listener.getsockname()[1]
    thread.join(5)


def test_a_dialogue_takes_its_turns_and_keeps_whole_replies():
    with serving(b"220 m1 ESMTP\r\n", b"250-m1\r\n250-PIPELINING\r\n250 DSN\r\n", b"221 bye\r\n") as port:
        seen = visit(Visit("127.0.0.1", port, "smtp", say=("EHLO a", "QUIT")))
    assert seen.outcome == "open"
    assert seen.own == "127.0.0.1"
    assert seen.replies == ("220 m1 ESMTP", "250-m1\n250-PIPELINING\n250 DSN", "221 bye")


def test_a_server_that_hangs_up_or_has_no_tls_is_told():
    with serving(b"220 m1 ESMTP\r\n", b"421 4.3.2 no\r\n") as port:
        seen = visit(Visit("127.0.0.1", port, "smtp", say=("EHLO a", "QUIT", "NOOP")))
    assert (seen.replies[-1], bool(seen.trouble)) == ("421 4.3.2 no", True)
    with serving(b"220 m1 ESMTP\r\n", b"250 m1\r\n", b"502 5.5.1 what\r\n") as port:
        seen = visit(Visit("127.0.0.1", port, "smtp", "starttls"))
    assert (seen.version, seen.trouble) == ("", "STARTTLS is refused")
    with serving(b"220 no TLS here\r\n") as port:
        seen = visit(Visit("127.0.0.1", port, "smtp", "implicit"))
    assert (seen.version, "SSL" in seen.trouble) == ("", True)


def test_a_closed_port_refuses_and_each_visit_is_made_once():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    wanted = Visit("127.0.0.1", port)
    assert {v: r.outcome for v, r in visits([wanted, wanted]).items()} == {wanted: "refused"}


def test_what_took_too_long_or_never_began_is_no_verdict():
    for reception in (Reception("silent"), Reception("open", late=True)):
        with pytest.raises(UnknownError):
            reception.require()
