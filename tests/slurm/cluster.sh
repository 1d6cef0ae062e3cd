#!/usr/bin/env bash
# A Slurm cluster of one node on loopback, for tests: as root, on Debian with the packages slurm-wlm and munge.
#   cluster.sh up <directory>     prints the path of its slurm.conf; use it as SLURM_CONF
#   cluster.sh down <directory>
set -euo pipefail
verb=$1 home=$2

up() {
    mkdir -p "$home"/{state,spool}
    chmod 755 "$home"
    dd if=/dev/urandom of="$home/munge.key" bs=1024 count=1 status=none
    chmod 400 "$home/munge.key"
    munged --force --socket="$home/munge.socket" --key-file="$home/munge.key" --pid-file="$home/munged.pid" \
        --log-file="$home/munged.log" --seed-file="$home/munge.seed"
    cat >"$home/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=$(hostname -s)(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket=$home/munge.socket
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
SlurmctldPort=$((20000 + RANDOM % 5000))
SlurmdPort=$((26000 + RANDOM % 5000))
StateSaveLocation=$home/state
SlurmdSpoolDir=$home/spool
SlurmctldPidFile=$home/slurmctld.pid
SlurmdPidFile=$home/slurmd.pid
SlurmctldLogFile=$home/slurmctld.log
SlurmdLogFile=$home/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,batch_sched_delay=1,bf_interval=1
KillWait=15
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
MinJobAge=300
NodeName=$(hostname -s) NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=1000 State=UNKNOWN
PartitionName=test Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=9 PreemptMode=OFF
CONF
    export SLURM_CONF="$home/slurm.conf"
    slurmctld >"$home/slurmctld.out" 2>&1
    slurmd >"$home/slurmd.out" 2>&1
    for _ in $(seq 100); do
        if sinfo --noheader --format=%t 2>/dev/null | grep -q idle; then
            echo "$SLURM_CONF"
            return
        fi
        sleep 0.2
    done
    cat "$home"/*.log "$home"/*.out >&2
    exit 1
}

down() {
    for daemon in slurmd slurmctld munged; do
        if [ -f "$home/$daemon.pid" ]; then
            kill "$(cat "$home/$daemon.pid")" 2>/dev/null || true
        fi
    done
}

"$verb"
