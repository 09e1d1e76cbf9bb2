#!/usr/bin/env bash
#SBATCH --job-name=vsr
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1        # one torchrun per node, which starts a process per GPU
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --time=04:00:00
#SBATCH --output=%x-%j.log
# sbatch docs/guides/slurm/train.sh model=fsrcnn data=climate ...   (from the project's folder, its environment activated)
# PROCESSES=2 for processes per node without GPUs, with strategy=ddp trainer.accelerator=cpu.
set -euo pipefail

nodes=${SLURM_NNODES:-1}
processes=${PROCESSES:-${SLURM_GPUS_ON_NODE:-1}}
# Where the processes meet: the job's first node. Two jobs on one node need two ports.
host=${MEET_HOST:-$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)}
port=${MEET_PORT:-$((20000 + ${SLURM_JOB_ID:-0} % 20000))}
start=(srun --kill-on-bad-exit=1)
[ "${LOCAL:-}" ] && start=() # without Slurm: run it once per node, with SLURM_NNODES and MEET_HOST set

exec "${start[@]}" torchrun \
  --nnodes="$nodes" --nproc_per_node="$processes" \
  --rdzv_backend=c10d --rdzv_endpoint="$host:$port" --rdzv_id="${SLURM_JOB_ID:-vsr}" \
  train.py strategy=ddp "$@"
