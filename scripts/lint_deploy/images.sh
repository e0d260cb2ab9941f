#!/bin/sh
# Checks deploy/docker: the Dockerfiles by hadolint, the skeleton by shellcheck, and that cargo reads what it leaves.
set -eu
cd "$(dirname "$0")/../.."

hadolint --failure-threshold info deploy/docker/*.Dockerfile
shellcheck deploy/docker/*.sh scripts/lint_deploy/*.sh

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
git ls-files -z -- Cargo.toml Cargo.lock rust-toolchain.toml .cargo .sqlx catalog crates migrations proto |
    xargs -0 cp --parents --target-directory "$folder"
sh deploy/docker/skeleton.sh "$folder"
# Every target of the one is a target of the other, at the same place in its crate.
targets() {
    cargo metadata --locked --no-deps --format-version 1 | tr ',{' '\n' | grep '"src_path"' | sed 's|.*/crates/||' | sort
}
targets >"$folder/all"
(cd "$folder" && targets >left)
diff "$folder/all" "$folder/left" || { echo "skeleton.sh loses targets" >&2; exit 1; }
rm "$folder/all" "$folder/left"
# What is not read by cargo must not end a layer's life.
if find "$folder" -type f ! -name '*.toml' ! -name '*.lock' ! -name '*.rs' | grep .; then
    echo "skeleton.sh leaves more than manifests" >&2
    exit 1
fi
echo "images: $(echo deploy/docker/*.Dockerfile | wc -w) Dockerfiles, $(find "$folder" -name '*.rs' | wc -l) empty targets"
