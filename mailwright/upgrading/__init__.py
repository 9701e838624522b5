"""Package updates of a machine: what is pending, how it is done, and what a reboot is owed for."""
