#!/bin/sh -e
# Gives the interface with the hardware address $1 the addresses that follow, whatever else the box configures
# its interfaces with: systemd-networkd (part of every Debian) manages what its files match, and nothing more.
mac=$1
shift
file=/etc/systemd/network/05-mailwright.network
{
  printf '# Written by the Vagrantfile.\n[Match]\nMACAddress=%s\n\n[Network]\n' "$mac"
  printf 'LinkLocalAddressing=ipv6\nIPv6AcceptRA=no\nConfigureWithoutCarrier=yes\n'
  for address; do printf 'Address=%s\n' "$address"; done
} >$file.new
if cmp -s $file.new $file; then
  rm $file.new
else
  mv $file.new $file
fi
systemctl enable --quiet systemd-networkd.service
systemctl start systemd-networkd.service
networkctl reload
for address; do
  tries=0
  until ip -brief address show scope global | grep -qwF "$address"; do
    tries=$((tries + 1))
    [ $tries -lt 100 ] || { echo "$address was not set: networkctl status" >&2; exit 1; }
    sleep 0.1
  done
done
