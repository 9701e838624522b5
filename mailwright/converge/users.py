"""Accounts with fixed numbers, their groups and SSH keys. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mailwright.converge.files import Changes, compare
from mailwright.converge.files import apply as apply_files
from mailwright.converge.shell import words
from mailwright.model.needs import Directory, File, Group, Needs, User, merge
from mailwright.observe.state import GroupState, Observation, UserState


@dataclass(frozen=True)
class Plan:
    """What differs: commands for the accounts, and their key files."""

    commands: tuple[str, ...]
    lines: tuple[str, ...]
    """What will change, one line each."""
    keys: Changes
    obstacles: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.commands or self.keys or self.obstacles)


def decide(users: Iterable[User], seen: Observation, *, packages_are_there: bool) -> Plan:
    """Compare the accounts with what was seen.

    Accounts come before packages, so that a package finds its account with the number the fleet chose;
    a supplementary group that a package brings can be joined only afterwards.
    """
    users = tuple(users)
    draft = _Draft(seen)
    wanted = {u.primary_group: u for u in users}
    for group, user in wanted.items():
        draft.group(group, user)
    for brought in (group for user in users for group in user.brings):
        draft.brought(brought)
    for user in users:
        known = frozenset(seen.groups) | frozenset(wanted)
        absent = [g for g in user.groups if g not in known]
        if absent and packages_are_there:
            draft.obstacles.append(f"user {user.name}: there is no group {', '.join(absent)} to be in")
        draft.user(user, tuple(g for g in user.groups if g in known))
    return Plan(tuple(draft.commands), tuple(draft.lines), compare(keys(users), seen), tuple(draft.obstacles))


_BY_HAND = "its files would lose their owner, so change it by hand (usermod, groupmod, chown)"


@dataclass
class _Draft:
    """A plan in the making."""

    seen: Observation
    commands: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    obstacles: list[str] = field(default_factory=list)

    def group(self, name: str, user: User) -> None:
        """See to the primary group of `user`."""
        state = self.seen.groups.get(name)
        if state is None:
            number = ["-g", str(user.gid)] if user.gid is not None else []
            self.commands.append(words("groupadd", *(["-r"] if user.system else []), *number, name))
            self.lines.append(f"group {name}: new")
        elif user.found == "refuse" and user.gid is not None and state.gid != user.gid:
            self.obstacles.append(
                f"group {name} has the number {state.gid} and should have {user.gid}: {_BY_HAND}"
            )

    def brought(self, group: Group) -> None:
        """See to a group that a package would make without a number of ours."""
        if group.name not in self.seen.groups:
            self.commands.append(words("groupadd", "-r", "-g", str(group.gid), group.name))
            self.lines.append(f"group {group.name}: new")

    def user(self, user: User, groups: tuple[str, ...]) -> None:
        """See to an account; `groups` are those it can join by now."""
        state = self.seen.users.get(user.name)
        if state is None:
            self.commands.append(_useradd(user, groups))
            self.lines.append(f"user {user.name}: new")
        elif user.found == "refuse" and user.uid is not None and state.uid != user.uid:
            self.obstacles.append(
                f"user {user.name} has the number {state.uid} and should have {user.uid}: {_BY_HAND}"
            )
        elif options := _amendments(user, groups, state, self.seen.groups):
            self.commands.append(words("usermod", *options, user.name))
            self.lines.append(f"user {user.name}: usermod {' '.join(options)}")


def _useradd(user: User, groups: tuple[str, ...]) -> str:
    options = ["-g", user.primary_group, "-d", user.home, "-s", user.shell]
    options += ["-u", str(user.uid)] if user.uid is not None else []
    options += ["-G", ",".join(groups)] if groups else []
    # `*` is no password, but unlike useradd's `!` no locked account either: sshd without PAM refuses those.
    options += ["-r", "-M"] if user.system else ["-m", "-p", "*"]
    return words("useradd", *options, user.name)


def _amendments(
    user: User, groups: tuple[str, ...], state: UserState, known: Mapping[str, GroupState]
) -> list[str]:
    missing = [g for g in groups if g not in known or user.name not in known[g].members]
    options = ["-aG", ",".join(missing)] if missing else []
    primary = known.get(user.primary_group)
    if user.name != "root" and primary is not None and state.gid != primary.gid:
        options += ["-g", user.primary_group]
    # A service's home and shell are its package's business.
    if not user.system:
        options += ["-s", user.shell] if state.shell != user.shell else []
        options += ["-d", user.home] if state.home != user.home else []
    return options


def keys(users: Iterable[User]) -> Needs:
    """The needs that an account's SSH keys amount to."""
    return merge(
        Needs(
            directories=(Directory(u.ssh_directory, u.name, u.primary_group, 0o700),),
            files=(
                File(
                    u.authorized_keys,
                    "".join(f"{key}\n" for key in u.keys).encode(),
                    u.name,
                    u.primary_group,
                    0o600,
                ),
            ),
        )
        for u in users
        if u.managed_keys
    )


def apply(plan: Plan) -> str:
    """Return the shell text that makes the accounts and then their keys."""
    return "\n".join([*plan.commands, *([apply_files(plan.keys)] if plan.keys else [])])
