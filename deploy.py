"""Bring the machines of an inventory to what their roles need: `pyinfra inventory/prod.py deploy.py`.

`--dry` says what would change and `--diff` how; `--limit` takes names of machines, roles and labels.
"""

import roles
from mailwright.converge.deploy import deploy

deploy(roles.ROLES)
