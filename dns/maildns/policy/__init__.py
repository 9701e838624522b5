"""What a sender says in DNS: each kind of record, built, written and read."""
