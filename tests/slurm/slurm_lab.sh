#!/usr/bin/env bash
# A real Slurm (slurmctld, several slurmd, munged) on one machine, for tests: without systemd,
# cgroups or accounting. Needs root. Every daemon listens on 127.0.0.1; each node has a host name, a
# /dev/shm and a PMIx folder of its own. Everything it writes lies under $SLURM_LAB.
#
#   slurm_lab.sh up                   start; a lab that runs there is stopped first
#   slurm_lab.sh down                 stop every process that "up" started
#   slurm_lab.sh env                  print "export SLURM_CONF=...": Slurm commands need it
#   slurm_lab.sh fail-node n2         power cut: the node's daemon and tasks die, slurmctld is told
#   slurm_lab.sh start-node n2        bring it back
#   slurm_lab.sh wait-job ID STATE [SECONDS]
#
# Settings: SLURM_LAB (folder), SLURM_LAB_NODES (3), SLURM_LAB_CPUS (of each node, 4), SLURM_LAB_PORT
# (17000: slurmctld; slurmd k listens on port + k).
set -euo pipefail

LAB=${SLURM_LAB:-${TMPDIR:-/tmp}/slurm-lab}
NODES=${SLURM_LAB_NODES:-3}
CPUS=${SLURM_LAB_CPUS:-4}
PORT=${SLURM_LAB_PORT:-17000}
export SLURM_CONF=$LAB/etc/slurm.conf

say() { printf 'slurm-lab: %s\n' "$*" >&2; }

node_names() { local k; for ((k = 1; k <= NODES; k++)); do echo "n$k"; done; }

write_conf() {
  local k
  mkdir -p "$LAB"/{etc,state,spool,log,run,munge}
  chmod 755 "$LAB" "$LAB"/{etc,state,spool,log,run,munge}
  cat >"$SLURM_CONF" <<CONF
ClusterName=lab
# The name before the parentheses must be what hostname -s says: slurmctld
# refuses to start elsewhere.  The address is what everybody dials.
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=$PORT
SlurmdPort=$((PORT + 1))
# Without these two, the daemons listen on every address of the machine.
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser=root
AuthType=auth/munge
# cred_expire also says how long a requeued job waits before it may start again
# (120 s unless told).
AuthInfo=socket=$LAB/munge/munge.sock,cred_expire=5
CredType=cred/munge
StateSaveLocation=$LAB/state
# %n (node name) keeps the daemons of one host apart: spool, pid file and log.
SlurmdSpoolDir=$LAB/spool/%n
SlurmdPidFile=$LAB/run/slurmd.%n.pid
SlurmdLogFile=$LAB/log/slurmd.%n.log
SlurmctldPidFile=$LAB/run/slurmctld.pid
SlurmctldLogFile=$LAB/log/slurmctld.log
SlurmctldDebug=info
SlurmdDebug=info
# No cgroups, no kernel privileges needed.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc=$LAB/log/jobcomp.txt
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
# The emulated nodes claim more CPUs than the host has; without
# config_overrides slurmctld would put them into state INVAL.
SlurmdParameters=config_overrides
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=2,sched_interval=2,batch_sched_delay=0,sched_min_interval=0
ReturnToService=2
SlurmctldTimeout=30
SlurmdTimeout=10
KillWait=3
MinJobAge=3600
CompleteWait=0
JobRequeue=1
MaxArraySize=1001
NodeName=DEFAULT CPUs=$CPUS RealMemory=8000 State=UNKNOWN
CONF
  # A slurmd binds to the address of its own host name (and an srun, to the one
  # of the host that it runs on), so that must resolve inside the node.
  { echo "127.0.0.1 localhost $(hostname -s)"; echo "::1 localhost"; } >"$LAB/etc/hosts"
  for ((k = 1; k <= NODES; k++)); do
    echo "127.0.0.1 n$k" >>"$LAB/etc/hosts"
    echo "NodeName=n$k NodeHostname=n$k NodeAddr=127.0.0.1 Port=$((PORT + k))" >>"$SLURM_CONF"
  done
  echo "PartitionName=main Nodes=n[1-$NODES] Default=YES MaxTime=INFINITE State=UP OverSubscribe=YES" >>"$SLURM_CONF"
  # The PMIx plugin's per-step folder has one name on every node; see start_node.
  cat >"$LAB/etc/mpi.conf" <<CONF
PMIxCliTmpDirBase=$LAB/pmix
CONF
  echo 'CgroupAutomount=no' >"$LAB/etc/cgroup.conf"
}

# A zombie counts as ended: who is pid 1 here may be slow to reap.
running() { [[ -r /proc/$1/stat ]] && ! grep -q ') Z ' "/proc/$1/stat" 2>/dev/null; }
alive() { [[ -s $1 ]] && running "$(cat "$1")"; }

stop_pidfile() { # FILE [SIGNAL]: end the process named in FILE and wait for it
  local file=$1 sig=${2:-TERM} pid i
  if [[ ! -s $file ]]; then return 0; fi
  pid=$(cat "$file")
  kill "-$sig" "$pid" 2>/dev/null || { rm -f "$file"; return 0; }
  for ((i = 0; i < 50; i++)); do
    running "$pid" || break
    sleep 0.1
  done
  kill -KILL "$pid" 2>/dev/null || true
  rm -f "$file"
}

# Every process of one emulated node: its slurmstepds and their tasks.  The
# parent chain is of no use (a slurmstepd's parent is init), and slurmstepd
# overwrites its environment with its title, so it is told by the log file of
# its node that it holds open; the tasks are told by SLURMD_NODENAME.
node_pids() {
  local file pid
  for pid in $(pgrep -x slurmstepd || true); do
    if find "/proc/$pid/fd" -lname "$LAB/log/slurmd.$1.log" 2>/dev/null | grep -q .; then
      echo "$pid"
    fi
  done
  { grep -lszxF "SLURMD_NODENAME=$1" /proc/[0-9]*/environ || true; } | while read -r file; do
    if grep -qszxF "SLURM_CONF=$SLURM_CONF" "$file"; then
      file=${file#/proc/}
      echo "${file%/environ}"
    fi
  done
}

start_munge() {
  local m=$LAB/munge
  chown root:root "$m"; chmod 711 "$m"
  [[ -s $m/munge.key ]] || { (umask 077; head -c 128 /dev/urandom >"$m/munge.key"); }
  alive "$m/munged.pid" && return 0
  # --force: munged grumbles about being root and about the folder's modes.
  /usr/sbin/munged --force --key-file="$m/munge.key" --socket="$m/munge.sock" \
    --pid-file="$m/munged.pid" --log-file="$m/munged.log" --seed-file="$m/munged.seed" \
    2>>"$m/munged.err"
}

start_node() {
  mkdir -p "$LAB/spool/$1/pmix" "$LAB/pmix"
  alive "$LAB/run/slurmd.$1.pid" && return 0
  # The PMIx plugin's folder has one path on every node, so each node gets one
  # of its own mounted there.  A slurmd's steps inherit its name and mounts.
  unshare --uts --mount sh -euc '
    hostname "$1"
    mount --bind "$2/etc/hosts" /etc/hosts
    mount --bind "$2/spool/$1/pmix" "$2/pmix"
    mount -t tmpfs -o mode=1777 tmpfs /dev/shm
    exec slurmd -N "$1"' node "$1" "$LAB"
}

wait_node() { # NODE STATE [SECONDS]
  local node=$1 want=$2 secs=${3:-30} i st=
  for ((i = 0; i < secs * 5; i++)); do
    st=$(sinfo -h -N -n "$node" -o %T 2>/dev/null | head -1) || true
    [[ $st == "$want"* ]] && return 0
    sleep 0.2
  done
  say "node $node is '$st', not '$want', after $secs s"
  return 1
}

port_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

up() {
  local n k
  down
  mkdir -p "$LAB"
  for ((k = 0; k <= NODES; k++)); do
    port_free $((PORT + k)) || { say "port $((PORT + k)) is taken (another lab?)"; return 1; }
  done
  write_conf
  start_munge
  slurmctld -c # forgets jobs and node states of an earlier run
  for n in $(node_names); do start_node "$n"; done
  for n in $(node_names); do wait_node "$n" idle 30; done
}

down() {
  local n file
  # All at once, controller included: each takes a second or more to end.
  for file in "$LAB"/run/slurm*.pid; do
    stop_pidfile "$file" &
  done
  wait
  for n in $(node_names); do node_pids "$n" | xargs -r kill -KILL 2>/dev/null || true; done
  stop_pidfile "$LAB/munge/munged.pid"
}

fail_node() {
  # One kill for all of them, so that none reports the end of another.
  # shellcheck disable=SC2046
  kill -KILL "$(cat "$LAB/run/slurmd.$1.pid")" $(node_pids "$1") 2>/dev/null || true
  rm -f "$LAB/run/slurmd.$1.pid"
  scontrol update nodename="$1" state=down reason=lab
}

resume_node() {
  start_node "$1"
  scontrol update nodename="$1" state=resume 2>/dev/null || true
}

wait_job() { # ID STATE [SECONDS]
  local i st=
  for ((i = 0; i < ${3:-60} * 5; i++)); do
    st=$(scontrol -o show job "$1" 2>/dev/null | grep -oE 'JobState=[A-Z_]+' | head -1) || true
    [[ $st == "JobState=$2" ]] && return 0
    sleep 0.2
  done
  say "job $1 is '$st', not '$2'"
  return 1
}

case ${1:-} in
  up) up ;;
  down) down ;;
  env) echo "export SLURM_CONF=$SLURM_CONF" ;;
  fail-node) fail_node "$2" ;;
  start-node) resume_node "$2" ;;
  wait-job) shift; wait_job "$@" ;;
  *) sed -n '2,/^set -euo/p' "$0" | sed 's/^# \{0,1\}//;/^set -euo/d'; exit 2 ;;
esac
