"""Exchange the keys that TLSA records pin: none is served that senders could not know for a TTL."""
