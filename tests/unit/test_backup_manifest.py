"""How two machines' paths are compared: every difference is found, and what changed later is told apart."""

import base64
import gzip
import json
import os
import socket
import subprocess
import time

import pytest

from mailwright.backup.manifest import compare, manifest
from mailwright.backup.snapshots import BackupError
from mailwright.model.role import Result


def here(command):
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    return Result(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def trees(tmp_path):
    """Two machines' trees under one path: the manifest of the second speaks of the first one's paths."""
    for name in ("first", "second"):
        top = tmp_path / name / "keys"
        (top / "brightpost.example").mkdir(parents=True)
        (top / "brightpost.example" / "private.pem").write_text("secret")
        (top / "brightpost.example" / "private.pem").chmod(0o640)
        (top / "odd \n'name").write_bytes(b"\xff")
        (top / "link").symlink_to("odd")
    return tmp_path


class Compare:
    """`compare` of the two trees, with a snapshot that was made after the original's last change."""

    def __init__(self, trees):
        self.trees = trees
        self.top = str(trees / "first" / "keys")
        time.sleep(0.05)  # the kernel dates with its last tick
        self.taken = time.time()

    @property
    def original(self):
        return manifest(here, [self.top])

    @property
    def restored(self):
        found = manifest(here, [self.top.replace("first", "second")])
        return {path.replace("/second/", "/first/"): entry for path, entry in found.items()}

    def __call__(self, taken=None):
        return compare(self.top, self.original, self.restored, self.taken if taken is None else taken)


@pytest.fixture
def compared(trees):
    return Compare(trees)


def lines(found):
    return [(finding.path.rpartition("/keys")[2], finding.what) for finding in found.findings]


def test_equal_trees_are_the_same_with_all_their_octets(compared):
    found = compared()
    assert (found.same, found.octets, found.findings, found.later, found.more) == (5, 7, (), (), ())


BREAK = {
    "content": lambda path: path.write_text("secreT"),
    "mode": lambda path: path.chmod(0o644),
    "owner": lambda path: os.chown(path, 1, -1),
    "group": lambda path: os.chown(path, -1, 1),
    "xattrs": lambda path: os.setxattr(path, "user.label", b"x"),
    "missing": lambda path: path.unlink(),
    "type": lambda path: (path.unlink(), path.symlink_to("elsewhere")),
}


@pytest.mark.parametrize("what", BREAK)
def test_every_kind_of_difference_is_found(compared, trees, what):
    if what in ("owner", "group") and os.geteuid():
        pytest.skip("needs root")
    try:
        BREAK[what](trees / "second" / "keys" / "brightpost.example" / "private.pem")
    except OSError as error:
        pytest.skip(f"not on this file system: {error}")
    assert lines(compared()) == [("/brightpost.example/private.pem", what)]


def test_nothing_of_a_content_is_told(compared, trees):
    (trees / "second" / "keys" / "brightpost.example" / "private.pem").write_text("other")
    (finding,) = compared().findings
    assert finding.line.endswith("private.pem: other content")


def test_a_mode_is_told_with_both_values(compared, trees):
    (trees / "second" / "keys" / "brightpost.example" / "private.pem").chmod(0o666)
    (finding,) = compared().findings
    assert finding.line.endswith("private.pem: other mode: 0666, and 0640 on the original")


def test_another_target_of_a_link_is_a_difference(compared, trees):
    link = trees / "second" / "keys" / "link"
    link.unlink()
    link.symlink_to("elsewhere")
    assert lines(compared()) == [("/link", "content")]


def test_what_the_original_changed_after_the_snapshot_is_counted_apart(compared, trees):
    (trees / "first" / "keys" / "brightpost.example" / "private.pem").write_text("newer")
    (trees / "first" / "keys" / "brightpost.example" / "new.pem").write_text("newer")
    found = compared()
    assert found.findings == ()
    assert sorted(path.rpartition("/")[2] for path in found.later) == ["new.pem", "private.pem"]


def test_what_the_original_deleted_after_the_snapshot_is_counted_apart(compared, trees):
    (trees / "first" / "keys" / "link").unlink()
    found = compared()
    assert (found.findings, found.more) == ((), ())
    assert [path.rpartition("/")[2] for path in found.later] == ["link"]


def test_what_only_the_restored_machine_has_is_no_fault(compared, trees):
    taken = compared.taken
    (trees / "second" / "keys" / "brightpost.example" / "made-by-the-deploy").touch()
    found = compared(taken)
    assert found.findings == ()
    assert [path.rpartition("/")[2] for path in found.more] == ["made-by-the-deploy"]


def test_a_declared_path_must_be_there_even_if_something_in_it_changed_later(compared, trees):
    (trees / "first" / "keys" / "new").touch()
    (trees / "second" / "keys").rename(trees / "second" / "elsewhere")
    found = compared()
    assert ("", "missing") in lines(found)
    assert ("/brightpost.example/private.pem", "missing") in lines(found)


def test_a_dumped_file_is_found_where_it_has_moved_to_and_its_ctime_does_not_count(compared, trees):
    first, second = trees / "first" / "keys", trees / "second" / "keys"
    for top, folder, name in ((first, "cur", "17.host:2,S"), (second, "new", "17.host")):
        (top / folder).mkdir()
        (top / folder / name).write_text("mail")
    for path in (first / "cur", first / "cur" / "17.host:2,S"):
        os.utime(path, (0, compared.taken - 60))
    found = compare(compared.top, compared.original, compared.restored, compared.taken, dumped=True)
    assert "17.host:2,S" not in str((found.findings, found.later, found.more))
    (second / "new" / "17.host").write_text("mali")
    found = compare(compared.top, compared.original, compared.restored, compared.taken, dumped=True)
    assert ("/cur/17.host:2,S", "content") in lines(found)
    (second / "new" / "17.host").unlink()
    found = compare(compared.top, compared.original, compared.restored, compared.taken, dumped=True)
    assert ("/cur/17.host:2,S", "missing") in lines(found)


def test_a_socket_belongs_to_no_backup(compared, trees):
    with socket.socket(socket.AF_UNIX) as listening:
        before = os.open(trees / "first" / "keys", os.O_RDONLY)
        try:
            listening.bind(f"/proc/self/fd/{before}/socket")
        finally:
            os.close(before)
        assert compared(time.time() + 1).findings == ()


def test_a_path_that_is_not_there_is_nothing(tmp_path):
    assert manifest(here, [str(tmp_path / "nowhere")]) == {}


@pytest.mark.parametrize(
    "answer",
    [
        Result(1, "", "python3: not found"),
        Result(0, "", ""),
        Result(0, "Welcome!", ""),
        Result(0, base64.b64encode(gzip.compress(json.dumps({"path": "/etc"}).encode())).decode(), ""),
    ],
)
def test_half_an_answer_is_no_answer(answer):
    with pytest.raises(BackupError, match="what lies below /etc cannot be read"):
        manifest(lambda _: answer, ["/etc"])
