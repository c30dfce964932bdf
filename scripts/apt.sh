# shellcheck shell=bash
# What scripts/setup does with the packages of Debian and Ubuntu; sourced by it. It uses `say`, `as_root` and `tools`.
#
# Two ways lead from a package to a program:
#
#   install_with_apt   for what the service itself needs. Maintainers' scripts run, but make no database, start no server, and
#                      a package whose script fails is removed again, so that the package manager works as before.
#   unpack_packages    for what only tests need: unpacked into a folder of the project, and no script runs.

# Debian makes a cluster on port 5432 when PostgreSQL is installed first, and starts a cache server on port 6379. Only the programs
# are wanted: these two files say so, for as long as an installation takes.
no_cluster=/etc/postgresql-common/createcluster.d/shardrive-setup.conf
no_start=/usr/sbin/policy-rc.d
our_mark='made by scripts/setup of Shardrive for the time of an installation'

hold_servers_back() {
    if [ ! -e "$no_start" ]; then
        printf '#!/bin/sh\n# %s\nexit 101\n' "$our_mark" | "${as_root[@]}" tee "$no_start" >/dev/null
        "${as_root[@]}" chmod +x "$no_start"
    fi
    "${as_root[@]}" mkdir -p "$(dirname "$no_cluster")"
    printf '# %s\ncreate_main_cluster = false\n' "$our_mark" | "${as_root[@]}" tee "$no_cluster" >/dev/null
}

# Also what a set-up that was killed has left. A policy-rc.d of the user's own has no mark and stays.
let_servers_start() {
    local file
    for file in "$no_start" "$no_cluster"; do
        if grep -qsF "$our_mark" "$file"; then "${as_root[@]}" rm -f "$file"; fi
    done
    "${as_root[@]}" rmdir --ignore-fail-on-non-empty "$(dirname "$no_cluster")" "$(dirname "$(dirname "$no_cluster")")" 2>/dev/null || true
}

# Packages by their state: those that are there in any way, and those whose installation has not ended.
present_packages() { dpkg-query -W -f='${db:Status-Status} ${Package}\n' | awk '$1 != "not-installed" && $1 != "config-files" {print $2}' | sort -u; }
unfinished_packages() { dpkg-query -W -f='${db:Status-Status} ${Package}\n' | awk '$1 ~ /^(unpacked|half-|triggers-)/ {print $2}' | sort -u; }

# Runs a step of the package manager that must not be cut short: in a session of its own, which Ctrl-C in this terminal does not
# reach. A signal to this script is handled when the step has ended.
run_to_its_end() { setsid --wait "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive "$@"; }

install_with_apt() {
    local apt=(apt-get -y -qq --no-install-recommends -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300)
    local status=0 before broken
    trap let_servers_start EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    hold_servers_back || return 1
    if compgen -G '/var/lib/dpkg/updates/[0-9]*' >/dev/null || [ -n "$(unfinished_packages)" ]; then
        say "an earlier installation was interrupted: running dpkg --configure -a"
        run_to_its_end dpkg --configure -a || say "dpkg --configure -a failed, by no package of this set-up; going on"
    fi
    # Nothing is changed by this step, which may take long and may be interrupted.
    "${as_root[@]}" "${apt[@]}" --download-only install "$@" || say "not every package could be downloaded"
    before=$(present_packages)
    run_to_its_end "${apt[@]}" install "$@" || status=$?
    if [ "$status" != 0 ]; then
        broken=$(comm -13 <(echo "$before") <(unfinished_packages))
        if [ -n "$broken" ]; then
            say "the scripts of these packages failed, and they are removed again:" $broken
            # shellcheck disable=SC2086 # a list of names
            run_to_its_end dpkg --purge --force-remove-reinstreq $broken ||
                say "they could not be removed; run as root: dpkg --purge --force-all" $broken
        fi
    fi
    let_servers_start
    trap - EXIT HUP INT TERM
    return "$status"
}

# unpack_packages FOLDER PACKAGE…: into target/tools/FOLDER. Their dependencies are not looked at.
unpack_packages() {
    local folder=$tools/$1 part package sandbox=()
    shift
    part=$folder.part
    rm -rf "$part"
    mkdir -p "$part/packages"
    # apt's own user cannot write here; without this it says so at length.
    [ "$(id -u)" != 0 ] || sandbox=(-o APT::Sandbox::User=root)
    (cd "$part/packages" && apt-get "${sandbox[@]}" download -qq "$@") || return 1
    for package in "$part"/packages/*.deb; do dpkg-deb --extract "$package" "$part" || return 1; done
    rm -rf "$part/packages" "$folder"
    mv "$part" "$folder"
}

# unpack_programs 'PACKAGE…' PROGRAM…: packages of which only these programs are wanted, linked into target/tools/bin. Of the packages
# after the first, those are taken that this release of the system offers.
unpack_programs() {
    local package others other offered program path
    read -ra others <<<"$1"
    package=${others[0]}
    offered=("$package")
    shift
    for other in "${others[@]:1}"; do
        if apt-cache pkgnames "$other" | grep -qx "$other"; then offered+=("$other"); fi
    done
    unpack_packages "$package" "${offered[@]}" || return 1
    mkdir -p "$tools/bin"
    for program in "$@"; do
        path=$(cd "$tools" && find "$package/usr" -path "*bin/$program" -type f | head -n 1)
        [ -n "$path" ] || return 1
        ln -sfn "../$path" "$tools/bin/$program"
    done
}

# Glewlwyd with the libraries that this system lacks; what apt would install beside it says which.
unpack_glewlwyd() {
    local missing
    missing=$(LC_ALL=C apt-get -s -qq --no-install-recommends install glewlwyd dbconfig-no-thanks sqlite3 | sed -n 's/^Inst \([^ ]*\).*/\1/p') || return 1
    # shellcheck disable=SC2086 # a list of names
    unpack_packages glewlwyd $missing
}
