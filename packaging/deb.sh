#!/bin/sh
# Builds dist/crashcart_VERSION_ARCH.deb: the suite in a venv of its own under /usr/lib/crashcart, manual, completions.
# The venv sees the system's packages, since python3-guestfs exists nowhere else. Use: packaging/deb.sh [PYTHON]
set -eu

cd "$(dirname "$0")/.."
python=${1:-/usr/bin/python3}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
maintainer="crashcart maintainers <${DEBEMAIL:-crashcart@localhost}>"
arch=$(dpkg --print-architecture)
root=build/deb
lib=$root/usr/lib/crashcart
depends="libc6, python3 (>= 3.11), python3 (<< 3.12), python3-guestfs, $(sed -n '/^CORE := /,/[^\\]$/p' Makefile \
    | sed 's/^CORE := //' | tr -d '\\\n\t' | tr -s ' ' '\n' | grep -v '^python3\|^$' | paste -sd, | sed 's/,/, /g')"

rm -rf "$root"
mkdir -p "$root/DEBIAN" "$root/usr/bin" "$root/usr/share/doc/crashcart" dist
/usr/bin/python3 -m venv --system-site-packages --without-pip "$lib"
"$python" -m pip --python "$lib/bin/python" install -q --disable-pip-version-check --no-compile --ignore-installed \
    '.[rehearsal]'

# Only the one command: the others of the venv name a folder that is not there once it is installed.
find "$lib/bin" -mindepth 1 ! -name 'python*' -delete
ln -sf ../../../bin/python3 "$lib/bin/python3"
# A Ctrl-C waits until Python can end without a traceback.
printf '#!/usr/bin/env -S --block-signal=INT /usr/lib/crashcart/bin/python -P\nimport sys\nfrom engines.entry import main\n\nsys.exit(main())\n' > "$lib/bin/crashcart"
chmod 755 "$lib/bin/crashcart"
ln -s ../lib/crashcart/bin/crashcart "$root/usr/bin/crashcart"
sed -i "/^command = /d" "$lib/pyvenv.cfg"
# What no run needs, and what lintian rightly minds: libraries' own tests, and libraries that say they are programs.
find "$lib" -path '*/site-packages/*' -type d -name tests -prune -exec rm -rf {} +
find "$lib" -name '*.so*' -type f -exec chmod 644 {} +
sed -i '1{/^#!/d}' "$lib"/lib/python3*/site-packages/pexpect/FSM.py
find "$lib" -name __pycache__ -prune -exec rm -rf {} +
find "$lib" -name '*.so*' -type f -exec strip --strip-unneeded {} + 2>/dev/null || :

"$python" -P -m engines.cli man "$root/usr/share/man/man1" > /dev/null
gzip -9n "$root"/usr/share/man/man1/*.1
for shell in bash-completion/completions/crashcart:bash zsh/vendor-completions/_crashcart:zsh \
    fish/vendor_completions.d/crashcart.fish:fish; do
    mkdir -p "$(dirname "$root/usr/share/${shell%:*}")"
    "$python" -P -m engines.cli completion "${shell#*:}" > "$root/usr/share/${shell%:*}"
done
mkdir -p "$root/lib/systemd/system"
cp packaging/crashcart-fleet*.service "$root/lib/systemd/system/"
mkdir -p "$root/usr/lib/sysusers.d"
cp packaging/crashcart.sysusers "$root/usr/lib/sysusers.d/crashcart.conf"
cp packaging/prometheus/* "$root/usr/share/doc/crashcart/"
cp README.md "$root/usr/share/doc/crashcart/"
cp CHANGELOG.md "$root/usr/share/doc/crashcart/NEWS.md"
gzip -9n "$root/usr/share/doc/crashcart/NEWS.md"
printf 'crashcart (%s) bookworm; urgency=medium\n\n  * Built from its source tree; NEWS.md.gz tells what changed.\n\n -- %s  %s\n' \
    "$version" "$maintainer" "$(date -R -u -d "@${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}")" \
    | gzip -9n > "$root/usr/share/doc/crashcart/changelog.gz"
{ printf 'crashcart, licensed under the Apache License 2.0, which Debian keeps in /usr/share/common-licenses/Apache-2.0.\n'
  printf 'Copyright 2026 the authors of crashcart\n\n'
  printf 'The libraries under /usr/lib/crashcart/lib keep their own licences, in their *.dist-info folders.\n'
} > "$root/usr/share/doc/crashcart/copyright"
mkdir -p "$root/usr/share/lintian/overrides"
cp packaging/lintian-overrides "$root/usr/share/lintian/overrides/crashcart"

cat > "$root/DEBIAN/control" <<EOF
Package: crashcart
Version: $version
Architecture: $arch
Maintainer: $maintainer
Installed-Size: $(du -sk "$root/usr" | cut -f1)
Section: admin
Priority: optional
Depends: $depends
Description: maintenance tasks for hosting technicians, by keyboard or script
 A bootable disc for a BIOS update, an old guest moved to virtio, a VDX port
 that is down, a site whose address goes dark, block-level backups and files of
 them: planned to the byte, run beyond a lost line, taken back where that is
 possible, and reported.
EOF
cat > "$root/DEBIAN/postinst" <<'EOF'
#!/bin/sh
set -e
if [ "$1" = configure ]; then
    /usr/lib/crashcart/bin/python -m compileall -q /usr/lib/crashcart/lib || :
    if command -v systemd-sysusers > /dev/null; then
        systemd-sysusers crashcart.conf
    fi
fi
EOF
cat > "$root/DEBIAN/prerm" <<'EOF'
#!/bin/sh
set -e
find /usr/lib/crashcart -name __pycache__ -prune -exec rm -rf {} +
EOF
chmod 755 "$root/DEBIAN/postinst" "$root/DEBIAN/prerm"
find "$root" -type d -exec chmod 755 {} +
(cd "$root" && find * -path DEBIAN -prune -o -type f -print | sort | xargs -d '\n' md5sum > DEBIAN/md5sums)
dpkg-deb --root-owner-group -Zxz -z1 --build "$root" "dist/crashcart_${version}_${arch}.deb" > /dev/null
echo "dist/crashcart_${version}_${arch}.deb"
