"""Judges that are not ours, asked about a lab that is up: what they mark down, and why what stays does."""
