#!/bin/sh
# Checks the batch scripts of deploy/slurm: by bash, by shellcheck, and that `temper-worker run` has what they give it.
set -eu
cd "$(dirname "$0")/../.."

for script in deploy/slurm/*.sbatch; do
    bash -n "$script"
    shellcheck "$script"
    # Below the comments: variables, and what the list of the worker's options takes.
    options=$(grep -v '^#' "$script" | grep --only-matching 'TEMPER_[A-Z_]*' | sort -u)
    options="$options $(grep '^options=' "$script" | grep --only-matching -- '--[a-z-]*')"
    for option in $options; do
        case $option in
        --*) name=$(echo "${option#--}" | tr - _) && grep --quiet "pub $name:" crates/temper-worker/src/config.rs ;;
        *) grep --quiet --recursive --include='*.rs' "env = \"$option\"" crates/*/src ;;
        esac || { echo "$script: no program takes $option" >&2; exit 1; }
    done
done
echo "slurm: $(echo deploy/slurm/*.sbatch | wc -w) script"
