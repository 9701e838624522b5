"""DKIM keys for life: rotation, emergency and outlook, over the state machine of `maildns.rotation`."""
