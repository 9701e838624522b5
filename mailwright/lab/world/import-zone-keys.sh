#!/bin/sh
# Give knot the lab's signing keys, before it starts: each once (keymgr(8)).
set -eu
for pem in /etc/knot/keys/*.pem; do
    zone=$(basename "$pem" pem)
    [ -n "$(keymgr "$zone" list 2>/dev/null)" ] ||
        keymgr "$zone" import-pem "$pem" algorithm=ecdsap256sha256 ksk=yes zsk=yes
done
