#!/usr/bin/python3 -IBS
"""The command; its parts are in /usr/local/lib/mailwright."""

import sys

sys.path.insert(0, "/usr/local/lib/mailwright")

from mailwright_backup_keeper.__main__ import main

sys.exit(main())
