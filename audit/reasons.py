"""Why something that a judge marks down stays as it is.

An explanation is for a judge, and for those of its findings and places that match (fnmatch(3) patterns).
`make audit` fails on a finding that none of them fits, and tells which of them fit nothing any more.
"""

from __future__ import annotations

from audit.reason import Reason

_LAB_CA = "It comes from an authority of the lab; "
_CONTAINER = "A lab host is a container: this is about the machine around it."
_OLD_JUDGE = "Debian 12's ssh-audit is of 2021 and "

_TLS = (
    Reason("testssl.sh", "engine_problem *", "About the judge's own OpenSSL: nobody here speaks GOST."),
    Reason(
        "testssl.sh",
        "cipher_order*",
        "The client chooses among ciphers that are all strong: without AES in hardware it is better off with"
        " ChaCha20.",
    ),
    Reason(
        "testssl.sh",
        "cert_revocation*",
        _LAB_CA + "one of the world's publishes lists of what it revoked.",
    ),
    Reason(
        "testssl.sh",
        "cert_validityPeriod*",
        _LAB_CA + "how long a certificate is valid is the authority's decision.",
    ),
    Reason(
        "testssl.sh",
        "sessionresumption_*",
        "Whether sessions are resumed is a matter of speed; the judge's OpenSSL gave up asking.",
    ),
    Reason(
        "testssl.sh",
        "cipherlist_AVERAGE *",
        "On port 25 encryption is opportunistic: who is refused falls back to plain text (RFC 7435).",
        where="*:25",
    ),
    Reason(
        "testssl.sh",
        "secure_renego WARN: *",
        "The judge asks for no name here, and nginx shakes hands for the one that it serves only.",
        where="*:443",
    ),
    Reason(
        "testssl.sh",
        "cipherlist_aNULL *",
        "A client that checks no certificate loses nothing without one; who checks them (DANE, MTA-STS)"
        " offers no such cipher (Postfix's TLS_README).",
        where="*:25",
    ),
    Reason(
        "testssl.sh",
        "LUCKY13 *",
        "As above; OpenSSL computes the MAC in constant time since 2013.",
        where="*:25",
    ),
)

_SSH = (
    Reason(
        "ssh-audit",
        "kex * warn: unknown algorithm",
        _OLD_JUDGE + "does not know hybrid post-quantum exchanges, or the marker against Terrapin.",
    ),
    Reason(
        "ssh-audit",
        "kex sntrup761x25519-sha512* warn: using experimental algorithm",
        "OpenSSH's default since 9.0; it is no weaker than the X25519 in it.",
    ),
    Reason(
        "ssh-audit",
        "CVE-20[01]*",
        _OLD_JUDGE
        + "compares versions as texts: to it OpenSSH 10 is older than the 2 to 7 that these are about.",
    ),
)

_DOMAINS = (
    Reason(
        "checkdmarc",
        "bimi A BIMI record does not exist*",
        "No logo is published: without a mark certificate hardly anybody shows one.",
    ),
    Reason(
        "checkdmarc",
        "mta_sts An MTA-STS DNS record does not exist*",
        "The fleet file asks for no policy there: the lab has a domain with one and a domain without.",
        where="parcelnote.example",
    ),
    Reason(
        "checkdmarc",
        "smtp_tls_reporting An SMTP TLS Reporting record does not exist*",
        "As above: what is reported there are failures of MTA-STS and DANE.",
        where="parcelnote.example",
    ),
)

_ENDS = " runs for seconds with root's own arguments, and takes nothing from the network"

_UNITS = (
    Reason(
        "systemd-analyze",
        "ssh.service *",
        "Logins inherit what confines sshd: an administrator who becomes root, and every deploy.",
    ),
    Reason(
        "systemd-analyze",
        "apt-daily*.service *",
        "It installs packages, whose scripts may do anything.",
    ),
    Reason(
        "systemd-analyze", "unattended-upgrades.service *", "It waits for apt-daily-upgrade at a shutdown."
    ),
    Reason(
        "systemd-analyze",
        "nftables.service *",
        "nft" + _ENDS + "; a firewall that is not loaded at boot is the worse risk.",
    ),
    Reason("systemd-analyze", "postfix-resolvconf.service *", "cp" + _ENDS + "."),
    Reason(
        "systemd-analyze",
        "logrotate.service *",
        "Debian confines what it can: logs belong to many accounts, and their daemons are told.",
        at_most=6.5,
    ),
)

_CHOICE = "The operator's choice: "
_KEYS_ONLY = "Nobody logs in by a password (`PasswordAuthentication no`), and accounts have none."

_HOSTS = (
    Reason("lynis", "LYNIS *", "Debian's package is taken as it is."),
    Reason("lynis", "BOOT-5180 *", "It looks for a runlevel, of which Debian 13's systemd has none."),
    Reason("lynis", "BOOT-5264 *", "systemd's own judgement is the chapter above."),
    Reason("lynis", "KRNL-5788 *", _CONTAINER),
    Reason(
        "lynis",
        "KRNL-5820 *",
        "systemd gives no daemon a core file unless asked (DefaultLimitCORE=0:infinity).",
    ),
    Reason("lynis", "AUTH-92*", _KEYS_ONLY),
    Reason("lynis", "AUTH-9328 *", "Files of roles have their modes from the fleet, not from a umask."),
    Reason("lynis", "FILE-6310 *", _CONTAINER + " How a machine's disk is cut is settled when it is rented."),
    Reason("lynis", "USB-1000 *", _CONTAINER),
    Reason("lynis", "STRG-1846 *", _CONTAINER),
    Reason(
        "lynis", "PKGS-7370 *", "`mailwright verify` compares files with what they must be, `drift` the rest."
    ),
    Reason("lynis", "PKGS-7394 *", "`mailwright upgrade` shows what is to be upgraded."),
    Reason("lynis", "PKGS-7392 *", "unattended-upgrades brings them; the lab is as old as its base image."),
    Reason(
        "lynis",
        "NETW-3200 *",
        "Their modules are loaded when somebody opens such a socket; daemons may open none"
        " (RestrictAddressFamilies).",
    ),
    Reason(
        "lynis",
        "SSH-7408 * (AllowTcpForwarding (set LOCAL to NO))",
        "Statistics that listen on the loopback are read through it, by administrators.",
    ),
    Reason(
        "lynis", "SSH-7408 * (ClientAliveCountMax *", "A connection that is gone is noticed in three minutes."
    ),
    Reason(
        "lynis", "SSH-7408 * (Compression *", "It begins after the login, since OpenSSH 7.4 (sshd_config(5))."
    ),
    Reason(
        "lynis",
        "SSH-7408 * (Max[AS]*",
        "A deploy opens several sessions in a connection, and an agent offers several keys; guessing is"
        " pointless.",
    ),
    Reason("lynis", "SSH-7408 * (Port *", _CHOICE + "the firewall, not the number, keeps strangers out."),
    Reason("lynis", "SSH-7408 * (TCPKeepAlive *", "ClientAliveInterval asks as well, and cannot be spoofed."),
    Reason(
        "lynis", "LOGG-2154 *", _CHOICE + "logs hold addresses of people, and stay where the fleet file says."
    ),
    Reason("lynis", "LOGG-2190 *", "A daemon keeps a temporary file open that has no name any more."),
    Reason("lynis", "BANN-71*", "A banner keeps nobody out."),
    Reason(
        "lynis",
        "ACCT-96*",
        _CHOICE + "accounting and audit are for the duties of an owner, not for sending mail.",
    ),
    Reason("lynis", "FINT-4350 *", "`mailwright drift` finds every file that was changed by hand."),
    Reason("lynis", "TOOL-5002 *", "It does not know pyinfra, which leaves nothing on a host."),
    Reason(
        "lynis",
        "FILE-7524 *",
        "Debian's modes of crontab, cron's folders and sshd_config: they hold no secrets.",
    ),
    Reason(
        "lynis",
        "HRDN-7222 *",
        "It means `as`, which packages bring along; perl, which no Debian is without, does as much.",
    ),
    Reason("lynis", "HRDN-7230 *", "Hosts hold no files of users; mail is looked into by who receives it."),
    Reason("lynis", "HTTP-6710 *", "Only TLS is served; nothing listens on port 80."),
    Reason(
        "lynis",
        "HTTP-671[24] *",
        "It looks for files: errors go to the journal, and nginx logs no access.",
    ),
)

REASONS: tuple[Reason, ...] = (*_TLS, *_SSH, *_DOMAINS, *_UNITS, *_HOSTS)
"""Every explanation. Ports have none: what nmap finds is declared, or it is a fault."""
