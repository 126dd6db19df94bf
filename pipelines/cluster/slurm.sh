#!/bin/bash
# Four nodes with four GPUs each for one pipeline, on Ray: 16 folds at a time.
#
#   sbatch pipelines/cluster/slurm.sh --configs=levi,resnet34 --workdir=/shared/runs/x
#
# Sent again after its time limit or a preemption, it goes on. The clone is on a disk that all nodes share.
#SBATCH --job-name=ageflax --nodes=4 --ntasks-per-node=1 --requeue
#SBATCH --gpus-per-node=4 --cpus-per-task=32 --time=24:00:00
#SBATCH --signal=TERM@60
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export HEAD=$head
exec srun --wait=60 bash -c 'exec bash pipelines/cluster/with_ray.sh "$SLURM_PROCID" "$HEAD" "$@"' bash \
  python -m pipelines.compare --engine=ray --device=gpu --cpus=8 "$@"
