#!/bin/bash
# A run over the nodes of a SLURM allocation: a Ray cluster that lives as long as the job.
#
#   sbatch --nodes=4 --gpus-per-node=8 examples/slurm.sh llama3-8b engine.engine.kind=vllm
#   sbatch --nodes=2 examples/slurm.sh smollm2 judge.samples=5 --name five
#
# What follows the script is what follows `srlm run`. The same line again goes on where the run was, and so
# does the job itself after a lost node, a preemption or the end of its time: it queues itself anew.
#
# Submit it from a folder that all nodes see: runs/ and models/ lie there, and .venv where there is one.
#
#SBATCH --job-name=srlm
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --signal=B:USR1@120
#SBATCH --open-mode=append
# One task a node, for Ray starts what runs there; --exclusive, for `ray symmetric-run` wants a node without
# another Ray of yours and ends with `ray stop`; USR1 comes to this script two minutes before the time is over.

set -euo pipefail
: "${1:?the recipe is missing: sbatch examples/slurm.sh RECIPE KEY=VALUE ...}"
recipe=$1
shift

[ -d .venv ] && PATH="$PWD/.venv/bin:$PATH"
export SRLM_CACHE="${SRLM_CACHE:-$PWD/models}"

# This script runs on the first node, which is the head. A node of several networks may need another address.
head="${RAY_HEAD:-$(hostname --all-ip-addresses | cut -d' ' -f1)}:${RAY_PORT:-6379}"

# Whoever reaches the ports of a Ray cluster can run code in it: a secret that this job alone knows.
export RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
export RAY_AUTH_TOKEN

# Nodes that boot or read Python from a slow file system take longer than Ray's 30 seconds.
export RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=600

# The job goes back into the queue under its own number; that kills the run, which is always safe.
trap 'scontrol requeue "$SLURM_JOB_ID"' USR1

# On every node: start Ray; on the head: wait until all are there, run, and stop Ray. In the background, because
# bash looks at signals only between two commands, or while it waits.
srun --nodes="$SLURM_NNODES" --ntasks="$SLURM_NNODES" --cpus-per-task="$SLURM_CPUS_ON_NODE" \
  ray symmetric-run --address "$head" --min-nodes "$SLURM_NNODES" \
  --num-cpus="$SLURM_CPUS_ON_NODE" -- \
  srlm run "$recipe" engine.kind=ray engine.address="$head" "$@" &
wait $!
