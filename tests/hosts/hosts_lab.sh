#!/usr/bin/env bash
# hosts_lab.sh - several "hosts" on one machine, each a set of Linux namespaces
# (network, hostname, mounts, pids, ipc) on a private switch.  Needs root,
# iproute2 and util-linux; no container engine.  No packet leaves the
# namespaces: the switch itself lies in the namespace of the host "head", and
# the machine's own network has no route to it.
#
#   hosts_lab.sh up [N]            head and h1..hN (3); idempotent
#   hosts_lab.sh down              kill and remove all of them
#   hosts_lab.sh boot h2           one host (again, after kill)
#   hosts_lab.sh exec h1 CMD...    run there (same folder, same environment)
#   hosts_lab.sh rsh h1 CMD...     the same with ssh's calling convention: the
#                                  words are joined and given to sh.  For mpirun:
#                                  --mca plm_rsh_agent ".../hosts_lab.sh rsh"
#   hosts_lab.sh cut h2 | mend h2  unplug / plug the cable (peers see silence)
#   hosts_lab.sh crash h2          SIGKILL everything on h2; its kernel lives for
#                                  a moment and closes the sockets (peers see FIN/RST)
#   hosts_lab.sh kill h2           power cut: unplug, then SIGKILL everything; an rsh
#                                  that was open to it hangs (until boot or down, or
#                                  until who called it is gone)
#   hosts_lab.sh pid h1            pid (outside) of the host's init
#
# Settings: HOSTS_LAB (folder), HOSTS_LAB_NET (198.18.0; head is .254, hK is .K),
# HOSTS_LAB_PREFIX (h).
# Inside a host: /etc/hosts names all hosts, /dev/shm is private, and
# $HOSTS_LAB/local is a private folder (a node-local disk).  The rest of the
# file system is shared, as over NFS.
set -euo pipefail

LAB=${HOSTS_LAB:-${TMPDIR:-/tmp}/hosts-lab}
NET=${HOSTS_LAB_NET:-198.18.0}
PREFIX=${HOSTS_LAB_PREFIX:-h}

say() { printf 'hosts_lab: %s\n' "$*" >&2; }

pid_of() { cat "$LAB/run/$1.pid"; }
alive() { [[ -s $LAB/run/$1.pid ]] && kill -0 "$(pid_of "$1")" 2>/dev/null; }
# "head" shares the machine's pids: from there the other hosts can be entered
# (a process cannot enter the pid namespace of a sibling, so rsh works from the
# head only: start mpirun there).
pid_flag() { [[ $1 == head ]] || echo --pid; }
enter() { # HOST CMD...
  local pid host=$1
  pid=$(pid_of "$host" 2>/dev/null) || { say "no host $host"; return 1; }
  shift
  # --wd keeps the caller's folder, which is visible there too.
  # shellcheck disable=SC2046
  exec nsenter -t "$pid" --mount --uts --ipc --net $(pid_flag "$host") --wd="$PWD" -- "$@"
}
in_host() { (enter "$@"); }

host_names() { ls "$LAB/run" 2>/dev/null | sed -n 's/\.pid$//p' || true; }

boot() { # HOST
  local host=$1 pid i
  alive "$host" && return 0
  rm -f "$LAB/run/$host.silent"
  mkdir -p "$LAB/local" "$LAB/disk/$host" "$LAB/run"
  # The init of the host: an idle shell (bash reaps the orphans it inherits).
  # Its pid as seen from outside is the child of unshare.
  local own_pids="--pid --mount-proc"
  [[ $host != head ]] || own_pids=
  # shellcheck disable=SC2086
  setsid unshare --net --uts --ipc --mount $own_pids --fork --kill-child \
    bash -c '
      hostname "$1"
      mount --make-rprivate /
      mount -t tmpfs -o mode=1777 tmpfs /dev/shm
      mount --bind "$2/disk/$1" "$2/local"
      mount --bind "$2/hosts" /etc/hosts
      ip link set lo up
      sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1 || true
      : >"$2/run/$1.ready"
      while :; do sleep 1000 & wait $!; done' init "$host" "$LAB" \
    </dev/null >"$LAB/run/$host.log" 2>&1 &
  local parent=$!
  disown
  for ((i = 0; i < 100; i++)); do
    pid=$(pgrep -P "$parent" -x bash | head -1 || true)
    [[ -n $pid && -e $LAB/run/$host.ready ]] && break
    sleep 0.05
  done
  rm -f "$LAB/run/$host.ready"
  [[ -n $pid ]] || { say "host $host did not boot"; cat "$LAB/run/$host.log" >&2; return 1; }
  echo "$pid" >"$LAB/run/$host.pid"
  if [[ $host == head ]]; then
    # With an address of its own: a switch takes the lowest of its ports' otherwise, another one when
    # a host boots, and the others go on sending to the old one for a minute.
    in_host head ip link add switch address 02:00:00:00:00:fe type bridge
    in_host head ip addr add "$NET.254/24" dev switch
    in_host head ip link set switch up
  else
    # One end of the cable in the head's namespace (port of the switch), the
    # other in the host's.
    in_host head ip link del "p-$host" 2>/dev/null || true
    # The same address after every boot, as a real host has: others remember it for a minute.
    in_host "$host" ip link add eth0 address "02:00:00:00:00:0${host#"$PREFIX"}" \
      type veth peer name "p-$host"
    nsenter -t "$pid" --net ip link set "p-$host" netns "$(pid_of head)"
    in_host head ip link set "p-$host" master switch up
    in_host "$host" ip addr add "$NET.${host#"$PREFIX"}/24" dev eth0
    in_host "$host" ip link set eth0 up
  fi
}

up() {
  local n=${1:-3} k
  mkdir -p "$LAB/run"
  { echo "127.0.0.1 localhost"; echo "$NET.254 head"; for ((k = 1; k <= n; k++)); do echo "$NET.$k $PREFIX$k"; done; } >"$LAB/hosts"
  boot head
  for ((k = 1; k <= n; k++)); do boot "$PREFIX$k"; done
}

crash() {
  local pid i
  pid=$(pid_of "$1" 2>/dev/null) || return 0
  kill -KILL "$pid" 2>/dev/null || true
  for ((i = 0; i < 100; i++)); do
    # gone, or a zombie that pid 1 has not reaped yet
    [[ -r /proc/$pid/stat ]] && ! grep -q ') Z ' "/proc/$pid/stat" 2>/dev/null || break
    sleep 0.02
  done
  rm -f "$LAB/run/$1.pid"
}

cut_cable() { in_host head ip link set "p-$1" down 2>/dev/null || true; }

down() {
  local host
  for host in $(host_names); do [[ $host == head ]] || crash "$host"; done
  rm -f "$LAB"/run/*.silent
  # The head has no pid namespace whose end would end them all.
  local net file
  if alive head; then
    net=$(readlink "/proc/$(pid_of head)/ns/net")
    for file in /proc/[0-9]*; do
      [[ $(readlink "$file/ns/net" 2>/dev/null) == "$net" ]] && kill -KILL "${file#/proc/}" 2>/dev/null
    done || true
  fi
  crash head
}

cmd=${1:-help}
[[ $# -eq 0 ]] || shift
case $cmd in
  up) up "$@" ;;
  down) down ;;
  boot) boot "$1" ;;
  exec) enter "$@" ;;
  rsh)
    host=$1; shift
    rc=0
    in_host "$host" sh -c "$*" || rc=$?
    # A remote shell to a host that lost its power does not end: it hangs.
    while [[ -e $LAB/run/$host.silent ]] && kill -0 "$PPID" 2>/dev/null; do sleep 0.2; done
    exit "$rc"
    ;;
  cut) cut_cable "$1" ;;
  mend) in_host head ip link set "p-$1" up ;;
  crash) crash "$1" ;;
  kill) : >"$LAB/run/$1.silent"; cut_cable "$1"; crash "$1" ;;
  pid) pid_of "$1" ;;
  *) sed -n '2,/^set -euo/p' "$0" | sed 's/^# \{0,1\}//;/^set -euo/d'; exit 2 ;;
esac
