"""GitHub and GitLab as far as the pipelines of a fleet's repository need them: to play these here, whole.

The files are read as they are. Their `run` and `script` lines are executed in order, in a fresh clone with a
fresh home and nothing but the variables that a runner would set. What a forge does itself (which jobs an
event starts, who gets which secret, approvals, artifacts) is done here after its documentation.
"""
