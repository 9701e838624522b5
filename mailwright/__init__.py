"""mailwright: bare Debian machines become a mail-sending fleet, and prove it."""
