"""Certificates of this machine from an ACME authority: looked after on the machine itself.

Debian's python3 and openssl(1) are all it needs besides certbot. It is started by a timer, by a deploy
and by hand; `mailwright-certificates --help` says how.
"""
