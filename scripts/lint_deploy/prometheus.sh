#!/bin/sh
# Checks deploy/prometheus by promtool: configuration, rules, and the rules' tests; that every alert is tested and has a paragraph in
# docs/operations.md, and that the programs tell every metric that a rule reads.
set -eu
cd "$(dirname "$0")/../.."

folder=deploy/prometheus
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

promtool check rules $folder/rules/*.yml
promtool test rules $folder/tests/*.yml

# As in its container, but for the token, which must be a file that is there.
cp -r $folder/. "$work"
echo token > "$work/token"
sed "s|/run/secrets/metrics_token|$work/token|" $folder/prometheus.yml > "$work/prometheus.yml"
promtool check config "$work/prometheus.yml"

alerts=$(sed -n 's/^ *- alert: //p' $folder/rules/*.yml)
for alert in $alerts; do
    grep --quiet "$alert" $folder/tests/*.yml || { echo "$alert has no test" >&2; exit 1; }
    grep --quiet "^\*\*$alert\.\*\*" docs/operations.md || { echo "$alert has no paragraph in docs/operations.md" >&2; exit 1; }
done
metrics=$(grep --only-matching --no-filename 'temper_[a-z_]*' $folder/rules/*.yml | sed 's/_bucket$//' | sort -u)
for metric in $metrics; do
    grep --quiet --recursive --include='*.rs' "\"$metric\"" crates/*/src || { echo "no program tells $metric" >&2; exit 1; }
done
echo "prometheus: $(echo "$alerts" | wc -w) alerts"
