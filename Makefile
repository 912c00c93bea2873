# Two commands: `make run` opens the suite (or rehearses every task where there is no terminal), `make test` tests it.

PYTHON := .venv/bin/python
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
APT := $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0

# By the lock files with their hashes, of which the last one builds this project too: nothing else is fetched.
INSTALL := $(PYTHON) -m pip install -q --disable-pip-version-check --require-hashes
INSTALL_SELF := $(PYTHON) -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
LOCK := .venv/bin/uv pip compile -q --generate-hashes --python $(PYTHON) --no-emit-index-url --no-header --upgrade \
	--extra build --extra rehearsal

have = [ $$(dpkg-query -W -f='$${db:Status-Abbrev}\n' $(1) 2>/dev/null | grep -c ^ii) = $(words $(1)) ]

CORE := python3-venv python3-guestfs qemu-system-x86 qemu-utils isolinux syslinux-common syslinux \
	nasm mtools openssh-client iproute2 libguestfs-xfs fuse3 nftables curl e2fsprogs kmod cpio busybox \
	libvirt-clients
# The virtio rehearsal boots a guest with the kernel of this machine; a container or a cloud image may have none.
ifeq ($(wildcard /boot/vmlinuz-*),)
KERNEL := linux-image-amd64
# One that is installed and whose files are gone, as where /boot is a volume of its own, is put there anew.
KERNEL_ANEW = $(KERNEL) $$(dpkg-query -W -f='$${db:Status-Abbrev} $${Package}\n' 'linux-image-[0-9]*' 2>/dev/null | \
	sed -n 's/^ii *//p' | sort -V | tail -n 1)
endif
TEST := zsh fish groff openssh-server linux-image-amd64 genisoimage xorriso dosbox ovmf dosfstools tmux wget \
	chromium firefox-esr iptables tcpdump nodejs fdisk lvm2 thin-provisioning-tools rpm \
	cryptsetup-bin xfsprogs btrfs-progs ntfs-3g attr acl mdadm qemu-guest-agent libnbd-bin \
	jfsutils reiserfsprogs udftools f2fs-tools nilfs-tools squashfs-tools erofs-utils exfatprogs exfat-fuse systemd
# Debian starts a Samba where it installs one: the tests need the programs only, so the services are switched off again.
SAMBA := samba smbclient
SOAK := webkit2gtk-driver xvfb dbus
BENCH := virt-v2v nbdkit rpm restic borgbackup

# Hundreds of tests start crashcart in a process of its own: its modules are compiled once, whatever the shell has set.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test test-files test-backup test-stores test-guests test-screens test-wires test-rest test-pictures check bench soak setup screenshots deb lock sbom
.DELETE_ON_ERROR:

# A rehearsal that needs more than the core is refused (3) and says what to install: no fault of the others.
run: .setup-core
	@if [ -t 0 ] && [ -t 1 ]; then $(PYTHON) -P -m tui; else $(PYTHON) -P -m engines.cli rehearse || [ $$? = 3 ]; fi

setup: .setup-core

# The machine's own python3: python3-guestfs exists for no other.
.setup-core: pyproject.toml requirements.lock Makefile
	@echo "crashcart installs from Debian: $(CORE) $(KERNEL)"
	@echo "and from PyPI, into .venv: $$(sed -n '/^dependencies/,/^]/p' pyproject.toml | grep -o '"[^"]*"' | tr '\n' ' ')"
	@if [ -t 0 ] && [ -t 1 ]; then printf 'go on? [y/N] '; read answer; [ "$$answer" = y ]; fi
	@$(call have,$(CORE) $(KERNEL)) || \
		{ $(APT) update && $(APT) install -y --no-install-recommends $(CORE) $(KERNEL) >/dev/null; }
	@[ -z "$(KERNEL)" ] || ls /boot/vmlinuz-* >/dev/null 2>&1 || \
		{ $(APT) update && $(APT) install -y --reinstall --no-install-recommends $(KERNEL_ANEW) >/dev/null; } || \
		echo "no kernel in /boot, and none was to be had: virtio's rehearsal is refused"
	@[ -x $(PYTHON) ] || /usr/bin/python3 -m venv --system-site-packages .venv
	@$(INSTALL) -r requirements.lock
	@$(INSTALL_SELF)
	@touch $@

.setup-test: .setup-core requirements-test.lock
	@$(call have,$(TEST)) || { $(APT) update && $(APT) install -y --no-install-recommends $(TEST) >/dev/null; }
	@$(call have,$(SAMBA)) || { $(APT) install -y --no-install-recommends $(SAMBA) >/dev/null && \
		{ $(SUDO) systemctl disable --now smbd nmbd 2>/dev/null || true; }; }
	@$(INSTALL) -r requirements-test.lock
	@$(INSTALL_SELF)
	@touch $@

.setup-bench: .setup-test
	@$(call have,$(BENCH)) || { $(APT) update && $(APT) install -y --no-install-recommends $(BENCH) >/dev/null; }
	@touch $@

.setup-soak: .setup-test
	@$(call have,$(SOAK)) || { $(APT) update && $(APT) install -y --no-install-recommends $(SOAK) >/dev/null; }
	@touch $@

check: .setup-test
	$(PYTHON) -m ruff format --check -q .
	$(PYTHON) -m ruff check -q .
	$(PYTHON) -m mypy
	.venv/bin/lint-imports --no-cache

# Two cores bear three parts at a time, as each waits a good deal. The longest begin first and short ones fill the gaps.
FILES := $(addprefix tests/engines/backup/,files put)
STORES := $(addprefix tests/engines/backup/,repository store upkeep)
GUESTS := tests/engines/guest tests/engines/virtio
WIRES := tests/engines/vdx tests/engines/failover tests/engines/fleet
SCREENS := tests/tui tests/cli tests/contract
PARTS := test-guests test-screens test-files test-backup test-wires test-stores test-rest test-pictures check
PYTEST := $(PYTHON) -m pytest -m "not soak" -p no:cacheprovider

test: .setup-test
	$(MAKE) -j3 --keep-going --output-sync=target $(PARTS)

test-files:
	$(PYTEST) $(FILES)

test-backup:
	$(PYTEST) $(addprefix --ignore=,$(FILES) $(STORES)) tests/engines/backup

test-stores:
	$(PYTEST) $(STORES)

test-guests:
	$(PYTEST) $(GUESTS)

test-screens:
	$(PYTEST) $(SCREENS)

test-wires:
	$(PYTEST) $(WIRES)

test-rest:
	$(PYTEST) $(addprefix --ignore=,tests/engines/backup $(GUESTS) $(WIRES) $(SCREENS)) tests

test-pictures: .setup-test
	$(PYTHON) -m screenshots.make --check

bench: .setup-bench
	$(PYTHON) -m tests.benchmarks

soak: .setup-soak
	$(PYTHON) -m pytest -m soak

screenshots: .setup-test
	$(PYTHON) -m screenshots.make

# A Debian package with the suite's venv inside: dist/crashcart_VERSION_ARCH.deb
deb: .setup-core
	packaging/deb.sh $(PYTHON)

# The floors in pyproject.toml, made into exact versions with hashes.
lock: .setup-test
	$(PYTHON) -m pip install -q --disable-pip-version-check uv
	$(LOCK) pyproject.toml -o requirements.lock
	$(LOCK) --extra test -c requirements.lock pyproject.toml -o requirements-test.lock

sbom: .setup-core
	@[ -x .sbom/bin/cyclonedx-py ] || { /usr/bin/python3 -m venv .sbom && .sbom/bin/pip install -q --disable-pip-version-check cyclonedx-bom; }
	.sbom/bin/cyclonedx-py requirements requirements.lock --pyproject pyproject.toml --output-reproducible -o sbom.json
