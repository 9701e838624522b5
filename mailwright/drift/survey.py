"""The survey: a POSIX-sh script that prints what a machine is like, a line `kind TAB key TAB value` a thing.

The script is kept on the host beside its answer, so that the same question is asked again: whatever the
fleet file or this program say by then, two answers compare line by line. It only reads.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mailwright.converge.users import keys
from mailwright.drift.places import CHANGING, paths_of, roots
from mailwright.model.needs import Needs
from mailwright.observe.places import SYSCTL_FILE
from mailwright.observe.script import proc_path

HEADER = "mailwright-survey\t1\t"
FOOTER = "mailwright-survey\tend\t"
LIMIT = 300
"""Seconds that a survey may take; one that was ended is not whole."""

ROUTING = (
    "net.ipv4.ip_forward",
    "net.ipv4.conf.all.rp_filter",
    "net.ipv4.conf.default.rp_filter",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ip_nonlocal_bind",
    "net.ipv6.conf.all.forwarding",
    "net.ipv6.conf.all.disable_ipv6",
    "net.ipv6.conf.all.accept_ra",
    "net.ipv6.ip_nonlocal_bind",
)
"""Kernel settings that matter for any machine on a network, beside those that roles set."""


@dataclass(frozen=True)
class Survey:
    """An answer: kind to key to value."""

    kinds: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    failed: frozenset[str] = frozenset()
    """Kinds of which the machine could not say all: what is missing from them is not known to be missing."""

    def of(self, kind: str) -> Mapping[str, str]:
        """All of a kind."""
        return self.kinds.get(kind, {})


def parse(text: str) -> Survey | None:
    """Read an answer; nothing if it is not whole."""
    lines = text.split("\n")
    if HEADER not in lines or FOOTER not in lines:
        return None
    kinds: dict[str, dict[str, str]] = {}
    for line in lines:
        kind, _, rest = line.partition("\t")
        key, tab, value = rest.partition("\t")
        if tab and kind != "mailwright-survey":
            kinds.setdefault(kind, {})[key] = value
    return Survey(kinds, frozenset(kinds.pop("failed", {})))


def asking(file: str) -> str:
    """Return the shell command that prints the answer to the script in `file`."""
    return f"timeout -k 5 {LIMIT} sh {file}"


def script(needs: Needs) -> str:
    """Return the script for a machine with these needs. Feed it to `sh`, as root."""
    return "\n".join(
        [
            "# What `mailwright drift` compares. Written by mailwright.",
            "{",
            "exec 2>/dev/null </dev/null",
            "export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            f"printf '{_literal(HEADER)}\\n'",
            _SAID,
            "{",
            "exec 8>&1",
            _trees(needs),
            _ACCOUNTS,
            _PACKAGES,
            _units(needs),
            _sysctls(needs),
            _FIREWALL,
            _NETWORK,
            _addresses(needs),
            _DAEMONS,
            _RIGHTS,
            "} | sort -u",
            f"printf '{_literal(FOOTER)}\\n'",
            "exit 0",
            "}",
            "",
        ]
    )


def _literal(text: str) -> str:
    return text.replace("\t", "\\t")


def _words(items: Iterable[str]) -> str:
    return " ".join(shlex.quote(item) for item in items)


# Names with control characters would break lines and are left out. The first line of a path says what lies
# there, the second what is in it. `ls` marks an access control list with a plus (POSIX ls, "File mode").
_FIND = r"""find @PATHS@ @DEPTH@ \( @PRUNE@ -path '*[[:cntrl:]]*' \) -prune -o \
  -printf 'path\t%p\t%y %u %g %m %l\n' ! -type l -exec ls -dn -- {} + -type f -exec sha256sum -- {} + |
awk '/^path\t/ { print; next }
  /^[-bcdps][-r][-w]/ { if ($1 ~ /\+$/) { sub(/^.* [0-9:]+ \//, "/"); print "acl\t" $0 "\tyes" } next }
  { odd = sub(/^\\/, ""); sum = $1; sub(/^[^ ]+ [ *]/, ""); if (odd) gsub(/\\\\/, "\\")
    print "content\t" $0 "\t" sum }'"""


def _trees(needs: Needs) -> str:
    prune = " ".join(f"-path {shlex.quote(pattern)} -o" for pattern in CHANGING)
    whole = roots(needs)
    said = [*paths_of(needs), *paths_of(keys(needs.users)), SYSCTL_FILE]
    alone = [p for p in dict.fromkeys(said) if not any(p == r or p.startswith(f"{r}/") for r in whole)]
    # A certificate that the deploy brings is a file like any other.
    alone += [f.path for f in needs.files if f.path.startswith("/etc/mailwright/certificates/")]
    parts = [_FIND.replace("@PATHS@", _words(whole)).replace("@DEPTH@", "").replace("@PRUNE@", prune)]
    if alone:
        some = _FIND.replace("@PATHS@", _words(alone)).replace("@DEPTH@", "-maxdepth 0")
        parts.append(some.replace("@PRUNE@", ""))
    return "\n".join(parts)


# A program that fails is told in a line of its own: half an answer must not look like things that went away.
_SAID = r"""said() {
  kind=$1; shift
  out=$("$@") || printf 'failed\t%s\t\n' "$kind" >&8
  printf '%s\n' "$out"
}"""

# Of a password nothing but whether there is one and the day it was set (shadow(5)).
_ACCOUNTS = r"""awk -F: '{ print "user\t" $1 "\t" $3 ":" $4 ":" $6 ":" $7 }' /etc/passwd
awk -F: '{ n = split($4, m, ","); for (i = 1; i <= n; i++) print "member\t" $1 " " m[i] "\t"
  print "group\t" $1 "\t" $3 }' /etc/group
awk -F: '{ s = $2 == "" ? "empty" : $2 ~ /^[!*]/ ? "locked" : "set"; print "password\t" $1 "\t" s " " $3 }' \
  /etc/shadow
cut -d: -f6 /etc/passwd | sort -u | while IFS= read -r home; do
  for file in "$home/.ssh/authorized_keys" "$home/.ssh/authorized_keys2"; do
    [ -f "$file" ] && find "$file" -maxdepth 0 -printf 'path\t%p\t%y %u %g %m %l\n' &&
      printf 'content\t%s\t%s\n' "$file" "$(sha256sum <"$file" | cut -d' ' -f1)"
  done
done"""

_PACKAGES = r"""said package dpkg-query -W -f '${db:Status-Abbrev}\t${binary:Package}\t${Version}\n' |
awk -F'\t' 'NF && $1 !~ /^(rc|un|pn)/ { print "package\t" $2 "\t" substr($1, 1, 2) " " $3 }'"""

_UNIT_KINDS = "service,socket,timer,path,mount,target"


def _units(needs: Needs) -> str:
    wanted = [u.name for u in needs.units if u.running and not u.masked and not u.name.endswith(".timer")]
    # Transient units belong to whoever started them; the timers that take a change back are ours.
    listed = rf"""said unit systemctl list-unit-files --no-legend --no-pager --type={_UNIT_KINDS} |
awk 'NF && $2 != "generated" && $2 != "transient" {{ print "unit\t" $1 "\t" $2 }}'
said timer systemctl list-units --all --plain --no-legend --no-pager --type=timer |
awk '$1 !~ /^mailwright-guard-/ && $2 == "loaded" {{ print "timer\t" $1 "\t" $3 }}'
said transient systemctl list-units --plain --no-legend --no-pager --type=service --state=running |
while read -r name rest; do
  [ -e "/run/systemd/transient/$name" ] || continue
  case $name in user@*|session-*|mailwright-*) ;; *) printf 'transient\t%s\trunning\n' "$name" ;; esac
done"""
    if not wanted:
        return listed
    return rf"""{listed}
said running systemctl show -p Id,Type,RemainAfterExit,ActiveState,ConditionResult -- {_words(wanted)} |
awk -F= 'function end() {{
    stays = v["Type"] != "oneshot" || v["RemainAfterExit"] == "yes"
    if (v["Id"] != "" && stays && v["ConditionResult"] != "no") {{
      s = v["ActiveState"]; if (s == "reloading" || s == "activating") s = "active"
      print "running\t" v["Id"] "\t" s
    }}
    split("", v)
  }}
  /^$/ {{ end(); next }} {{ v[$1] = $2 }} END {{ end() }}'"""


def _sysctls(needs: Needs) -> str:
    names = dict.fromkeys([*(s.key for s in needs.sysctls), *ROUTING])
    files = _words(f"/proc/sys/{proc_path(name)}" for name in names)
    return rf"""grep -sH . {files} | awk '{{
  i = index($0, ":"); k = substr($0, 11, i - 11); v = substr($0, i + 1); gsub(/[ \t]+/, " ", v)
  print "sysctl\t" k "\t" v }}'"""


# A rule by where it stands and its text, without counters and what dynamic sets hold; the digest of it all
# sees another order.
_FIREWALL = r"""if ! command -v nft >/dev/null; then :
elif ! rules=$(nft --stateless --terse list ruleset); then printf 'failed\trule\t\nfailed\torder\t\n'
else
printf '%s\n' "$rules" | awk '
  { sub(/^[ \t]+/, ""); sub(/[ \t]+$/, "") } $0 == "" { next }
  $0 == "}" { n--; next }
  { where = ""; for (i = 1; i <= n; i++) where = where (i > 1 ? ", " : "") p[i] }
  /\{$/ { s = $0; sub(/ *\{$/, "", s); p[++n] = s; if (where != "") s = where ": " s
    print "rule\t" s "\t"; next }
  { gsub(/\t/, " "); print "rule\t" where ": " $0 "\t" }'
printf 'order\truleset\t%s\n' "$(printf '%s\n' "$rules" | sha256sum | cut -d' ' -f1)"
fi"""

# Of UDP what lies below 1024: above, a resolver opens a socket for each question it asks. Of those who hold a
# socket the eldest: Postfix's master hands its sockets to daemons that come and go.
_NETWORK = r"""printf 'host\tname\t%s\n' "$(uname -n)"
said port ss -Hltunp | awk '
  !NF { next }
  { port = $5; sub(/^.*:/, "", port); port += 0
    if ($1 == "udp" && (port > 1023 || port == 68 || port == 546)) next
    sub(/%[^:\]]*/, "", $5); who = ""; rest = $0
    while (match(rest, /\("[^"]*",pid=[0-9]+/)) {
      name = substr(rest, RSTART + 2, RLENGTH - 2); rest = substr(rest, RSTART + RLENGTH)
      pid = name; sub(/.*=/, "", pid); sub(/".*/, "", name)
      if (name != "systemd" && (who == "" || pid + 0 < eldest)) { who = name; eldest = pid + 0 }
    }
    print "port\t" $1 " " $5 "\t" who }'
{ ip -4 route show default; ip -6 route show default; } | awk '
  { via = dev = ""
    for (i = 1; i < NF; i++) { if ($i == "via") via = $(i + 1); if ($i == "dev") dev = $(i + 1) }
    print "route\t" (via ~ /:/ ? "IPv6" : "IPv4") " default\t" via " " dev }'"""


def _addresses(needs: Needs) -> str:
    """Addresses that stay where they are: not those that a pair of balancers hands to and fro."""
    moving = " ".join(sorted({address for port in needs.ports for address in port.at}))
    return rf"""said address ip -o address show scope global | awk -v moving=' {moving} ' '
  !NF {{ next }}
  / (dynamic|temporary|deprecated|mngtmpaddr) / {{ next }}
  {{ a = $4; sub(/\/.*/, "", a) }} index(moving, " " a " ") == 0 {{ print "address\t" $2 " " $4 "\t" }}'"""


# What the daemons themselves make of their files (postconf(1), sshd(8) -T).
_DAEMONS = r"""if [ -e /etc/postfix/main.cf ]; then
  said postfix postconf -n | awk '{ i = index($0, " ="); v = substr($0, i + 3); gsub(/\t/, " ", v)
    if (i) print "postfix\t" substr($0, 1, i - 1) "\t" v }'
  said postfix-service postconf -M | awk 'NF {
    gsub(/[ \t]+/, " "); print "postfix-service\t" $1 "/" $2 "\t" $0 }'
fi
said sshd sshd -T | awk '!NF { next }
  { k = $1; sub(/^[^ ]+ ?/, ""); gsub(/\t/, " "); if (k in v) v[k] = v[k] ", " $0; else v[k] = $0 }
  END { for (k in v) print "sshd\t" k "\t" v[k] }'"""

# Where programs lie, and where somebody may have left one; never where mail or people's files do.
_RIGHTS = r"""{
  find /usr/bin /usr/sbin /usr/lib /usr/libexec /usr/local /opt -xdev -perm /6000 -type f \
    ! -path '*[[:cntrl:]]*' -printf 'setuid\t%p\t%u %g %m\n'
  find /tmp /var/tmp /dev/shm /root -xdev -maxdepth 2 -perm /6000 -type f \
    ! -path '*[[:cntrl:]]*' -printf 'setuid\t%p\t%u %g %m\n'
}
if command -v getcap >/dev/null; then
  getcap -r /usr/bin /usr/sbin /usr/local /opt |
  awk '{ p = $1; sub(/^[^ ]+ (= )?/, ""); print "capability\t" p "\t" $0 }'
fi"""
