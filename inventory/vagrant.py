"""The fleet of vagrant.yaml, for pyinfra."""

import roles
from mailwright.converge.inventory import groups

globals().update(groups(__file__, roles.ROLES))
