"""`make vagrant`: the Vagrantfile brings up two machines, which are deployed, verified and destroyed.

With containers (vagrant-lxc), because any Linux machine can run those; boxes are built here. docs/vagrant.md.
"""
