# `make lab` and `make test` need nothing but git, make, python3 and root (or sudo) on a Debian machine.
.DEFAULT_GOAL := help
.PHONY: help setup lab test daemons vagrant check lint format bench mutate audit soak screenshot clean
SHELL := /bin/bash

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Root builds the lab: namespaces, mounts and bridges are its own.
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
# Compiled modules are kept, also where the surroundings say not to (containers often do): commands are many.
export PYTHONDONTWRITEBYTECODE :=
ROOT := $(SUDO) env PATH="$(CURDIR)/$(BIN):$$PATH:/usr/sbin:/sbin"

help: ## list the targets
	@awk -F':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(VENV)/.ready ## the virtual environment with everything in it

# A machine without python3-venv gets it; the environment is whole or not there at all.
$(VENV)/.ready: pyproject.toml
	@echo "==> Python environment in $(VENV)"
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { $(SUDO) apt-get -qq update && $(SUDO) apt-get -qq install -y python3-venv; }
	@rm -f $@ && $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable . --group dev
	@touch $@

lab: setup ## boot the lab, publish its zones, provision it and print what was proved
	@$(ROOT) mailwright lab up
	@$(ROOT) mailwright dns apply --yes inventory/lab.py
	@$(ROOT) pyinfra -y inventory/lab.py deploy.py
	@$(ROOT) mailwright verify inventory/lab.py
	@$(ROOT) env MAILWRIGHT_KILLS=1 python -m pytest tests/lab --prove --fleet inventory/lab.yaml

test: setup daemons check ## every test, the real fleet included (root, about an hour on two processors)
	@$(ROOT) python -m pytest -q tests/dns tests/deploy tests/page -n auto --maxprocesses 4
	@$(ROOT) python -m pytest tests/lab -n 3 --dist loadfile --no-loadscope-reorder

# The name servers that providers are tested against (installing them must not leave them running), the
# interpreter of the signing policy, and the browser that reads the page of a verification.
daemons:
	@PATH="$$PATH:/usr/sbin"; for each in knotd named pdns_server lua5.1 chromium chromedriver; do command -v $$each || missing=1; done >/dev/null; \
	test -z "$$missing" || { \
		for each in knot named bind9 pdns; do $(SUDO) ln -sf /dev/null /etc/systemd/system/$$each.service; done; \
		$(SUDO) apt-get -qq update && $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
			knot lua5.1 bind9 pdns-server pdns-backend-sqlite3 chromium chromium-driver; }

# A service that comes with them is masked before, unless it is there already and somebody's own.
vagrant: setup ## the fleet of inventory/vagrant.yaml up, deployed, verified, destroyed by Vagrant (root; containers; on Debian 12)
	@PATH="$$PATH:/usr/sbin"; for each in vagrant lxc-start dnsmasq knotd; do command -v $$each || missing=1; done >/dev/null; \
	test -z "$$missing" && dpkg-query -W vagrant-lxc >/dev/null 2>&1 || { \
		$(SUDO) apt-get -qq update; \
		apt-cache show vagrant-lxc >/dev/null 2>&1 || { echo 'make vagrant: vagrant-lxc is in Debian 12 and not in this release' >&2; exit 1; }; \
		for each in lxc lxc-net lxc-monitord knot; do \
			test -e /usr/lib/systemd/system/$$each.service || $(SUDO) ln -sf /dev/null /etc/systemd/system/$$each.service; done; \
		$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
			vagrant vagrant-lxc lxc dnsmasq-base knot; }
	@$(ROOT) python -m pytest -q tests/unit/test_vagrant.py
	@$(ROOT) python -m vagrant.proof

check: setup lint ## lint, types and unit tests: a few minutes, no root
	@$(BIN)/python -m pytest -q tests/unit -n auto

lint: setup ## ruff and mypy
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

format: setup ## let ruff format and mend what it can
	@$(BIN)/ruff format
	@$(BIN)/ruff check --fix

bench: setup ## measure against peers in the same run and write docs/benchmarks.md (ONLY=fleet, verify, pool, backup, dns)
	@$(ROOT) python -m bench $(ONLY)

mutate: setup ## damage labs of their own in every way that a check should notice, and see that it does (ONLY=postfix)
	@$(ROOT) env MAILWRIGHT_MUTATIONS="$$MAILWRIGHT_MUTATIONS" python -m tests.mutation $(ONLY)

# Judges that are not ours (lynis comes with a timer).
audit: setup ## have testssl.sh, nmap, ssh-audit, checkdmarc, systemd and lynis judge the lab that `make lab` leaves (ONLY=nmap, FLEET=...)
	@PATH="$$PATH:/usr/sbin"; for each in testssl ssh-audit lynis nmap; do command -v $$each || missing=1; done >/dev/null; test -z "$$missing" || { \
		for each in lynis.service lynis.timer; do \
			test -e /usr/lib/systemd/system/$$each || $(SUDO) ln -sf /dev/null /etc/systemd/system/$$each; done; \
		$(SUDO) apt-get -qq update && $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
			testssl.sh ssh-audit lynis nmap; }
	@$(ROOT) python -m audit --fleet $(or $(FLEET),inventory/lab.yaml) $(ONLY)

soak: setup daemons ## the rounds that are too long for every day
	@$(ROOT) env MAILWRIGHT_KILLS=10 MAILWRIGHT_POWER_LOSSES=20 MAILWRIGHT_REBUILD_STORES=host,sftp,s3 MAILWRIGHT_DUMPS=20 python -m pytest tests/lab -m rounds -n 2 --dist loadfile --no-loadscope-reorder
	@$(ROOT) env MAILWRIGHT_KILLS=1000 python -m pytest tests/dns/test_dkim_commands.py

# Letters that are made for screens: the page takes them where they are installed.
screenshot: setup daemons ## the picture of a report in the README, of the lab that `make lab` leaves (FLEET=...)
	@$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends fonts-inter fonts-jetbrains-mono
	@$(ROOT) python -m bench.screenshot $(or $(FLEET),inventory/lab.yaml)

clean: ## remove the environment and caches (labs: mailwright lab destroy)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
