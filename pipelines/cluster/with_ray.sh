#!/bin/bash
# Runs a command on a Ray cluster that lasts as long as it; called on every machine:
#
#   with_ray.sh RANK HEAD COMMAND...
#
# Rank 0, on the machine HEAD, starts the cluster and the command; the other ranks join until it ends.
rank=$1 head=$2
shift 2
export RAY_USAGE_STATS_ENABLED=0
if [ "$rank" = 0 ]; then
  ray start --head --port=6379 --include-dashboard=false --disable-usage-stats --block >&2 &
  cluster=$!
  trap 'kill "$job" 2>/dev/null' TERM INT # the command saves and ends; the same call resumes
fi
until (exec 3<>"/dev/tcp/$head/6379") 2>/dev/null; do sleep 1; done
if [ "$rank" != 0 ]; then
  ray start --address="$head:6379" --block >&2
  exit 0 # the head has ended
fi
RAY_ADDRESS="$head:6379" "$@" &
job=$!
wait "$job"
code=$?
while kill -0 "$job" 2>/dev/null; do wait "$job"; code=$?; done
kill "$cluster"
wait "$cluster"
exit "$code"
