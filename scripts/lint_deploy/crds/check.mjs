// Holds resources (a JSON list on standard input) against the schemas of KEDA and Prometheus's operator; tells each mistake
// on a line.
import { readFileSync } from "node:fs";
import { ScaledJob } from "@kubernetes-models/keda/keda.sh/v1alpha1/ScaledJob";
import { TriggerAuthentication } from "@kubernetes-models/keda/keda.sh/v1alpha1/TriggerAuthentication";
import { ServiceMonitor } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor";

const kinds = {
  "keda.sh/v1alpha1/ScaledJob": ScaledJob,
  "keda.sh/v1alpha1/TriggerAuthentication": TriggerAuthentication,
  "monitoring.coreos.com/v1/ServiceMonitor": ServiceMonitor,
};
let failed = false;
for (const resource of JSON.parse(readFileSync(0, "utf8"))) {
  const Kind = kinds[`${resource.apiVersion}/${resource.kind}`];
  try {
    if (!Kind) throw new Error("no schema of it is known");
    new Kind(resource).validate();
  } catch (error) {
    failed = true;
    console.error(`${resource.kind} ${resource.metadata.name}: ${error.message}`);
  }
}
process.exit(failed ? 1 : 0);
