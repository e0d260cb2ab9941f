#!/bin/sh
# Checks the batch scripts of deploy/slurm: by bash, by shellcheck, and that `temper-worker run` has what they give it.
set -eu
cd "$(dirname "$0")/../.."

for script in deploy/slurm/*.sbatch; do
    bash -n "$script"
    shellcheck "$script"
    # Below the comments.
    options=$(grep -v '^#' "$script" | grep --only-matching -- '--wall-time\|TEMPER_[A-Z_]*' | sort -u)
    for option in $options; do
        case $option in
        --*) name=$(echo "$option" | tr -- - _ | sed 's/^__//') && grep --quiet "pub $name:" crates/temper-worker/src/config.rs ;;
        *) grep --quiet --recursive --include='*.rs' "env = \"$option\"" crates/*/src ;;
        esac || { echo "$script: no program takes $option" >&2; exit 1; }
    done
done
echo "slurm: $(echo deploy/slurm/*.sbatch | wc -w) script"
