"""What a machine needs, said by its roles: the only channel between them.

A role never reaches into another. It says what it needs, the needs of all roles of a machine are
merged, and whoever serves them (firewall, monitoring, backup, the zone, the verification suite)
reads the sum.
"""

from mailwright.model.needs.certificate import ALGORITHMS, Algorithm, Certificate, Pair
from mailwright.model.needs.host import Absent, Directory, File, Group, Package, Sysctl, Unit, User
from mailwright.model.needs.offers import BackupPath, Milter, Port, Protocol, Reach, Record, Scrape
from mailwright.model.needs.sum import Needs, merge

__all__ = [
    "ALGORITHMS",
    "Absent",
    "Algorithm",
    "BackupPath",
    "Certificate",
    "Directory",
    "File",
    "Group",
    "Milter",
    "Needs",
    "Package",
    "Pair",
    "Port",
    "Protocol",
    "Reach",
    "Record",
    "Scrape",
    "Sysctl",
    "Unit",
    "User",
    "merge",
]
