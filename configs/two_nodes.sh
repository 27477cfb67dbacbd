# Two machines without Slurm: APO_LAUNCH='bash configs/two_nodes.sh FIRST SECOND GPUS' on FIRST, which reaches SECOND by
# ssh. The checkout and its environment lie on a disk that both share, at the same path. One that fails ends the other.
torchrun="torchrun --nnodes 2 --nproc_per_node $3 --master_addr $1 --master_port ${PORT:-29500}"
second=$2
shift 3
variables=$(env | grep -E '^(APO_|OMP_|NCCL_|GLOO_|DVC_ROOT=|PATH=|PYTHONPATH=)' | grep -vE '^APO_[A-Z]+_KEY=' | xargs -d '\n' printf '%q ')
ssh -tt "$second" "cd $(printf %q "$PWD") && env $variables $torchrun --node_rank 1 $(printf '%q ' "$@")" 1>&2 &
$torchrun --node_rank 0 "$@" &
wait -n && wait -n || { kill $(jobs -p); wait; exit 1; }
