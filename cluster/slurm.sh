#!/usr/bin/env bash
# Two workers, a server and the scheduler as tasks of one Slurm job: sbatch cluster/slurm.sh .venv/bin/python train.py
# It sets the variables that utils/launch.py sets and leaves the rest to Slurm: --kill-on-bad-exit ends all when a task
# fails, --time is the limit, --label puts a task's number before each of its lines.
# Run by hand with Slurm 22.05 on two network namespaces of one machine, not on a cluster. A test runs it with a
# stand-in for srun.
#SBATCH --ntasks=4
#SBATCH --time=01:00:00
set -eu
export DMLC_NUM_WORKER=2 DMLC_NUM_SERVER=1
# Task 0, the scheduler, is on the job's first node, where this script runs, too.
export DMLC_PS_ROOT_URI=$(hostname -I | cut -d' ' -f1)
export DMLC_PS_ROOT_PORT=$((20000 + SLURM_JOB_ID % 10000))
export PYTHONPATH=$PWD OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}
export SERVE="from utils.compatibility import make_mxnet_importable; make_mxnet_importable(); import mxnet"
exec srun --kill-on-bad-exit=1 --label bash -c '
  export DMLC_NODE_HOST=$(hostname -I | cut -d" " -f1)
  case $SLURM_PROCID in
    0) DMLC_ROLE=scheduler exec .venv/bin/python -c "$SERVE" ;;
    1) DMLC_ROLE=server exec .venv/bin/python -c "$SERVE" ;;
    *) DMLC_ROLE=worker exec "$@" ;;
  esac' bash "$@"
