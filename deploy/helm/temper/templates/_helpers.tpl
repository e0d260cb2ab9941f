{{/* The release's name, with the chart's unless it says so itself. */}}
{{- define "temper.fullname" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "temper.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "temper.labels" -}}
{{ include "temper.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* Of a dict of the chart and an image. A repository with a digest takes no tag. */}}
{{- define "temper.image" -}}
{{- if contains "@" .image.repository }}{{ .image.repository }}
{{- else }}{{ .image.repository }}:{{ .image.tag | default .root.Chart.AppVersion }}{{ end }}
{{- end }}

{{- define "temper.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}{{ .Values.serviceAccount.name | default (include "temper.fullname" .) }}
{{- else }}{{ .Values.serviceAccount.name | default "default" }}{{ end }}
{{- end }}

{{/* What every pod has. The number is the images' user, and the owner of what it writes. */}}
{{- define "temper.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.image.pullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "temper.confined" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{/* Where a pod runs, of a component's or a class's values. */}}
{{- define "temper.placement" -}}
{{- with .nodeSelector }}
nodeSelector: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "temper.logs" -}}
- {name: TEMPER_LOG, value: {{ .Values.log.filter | quote }}}
- {name: TEMPER_LOG_FORMAT, value: {{ .Values.log.format | quote }}}
{{- end }}

{{/* Of a dict of the chart and a key. */}}
{{- define "temper.database" -}}
- name: TEMPER_DATABASE_URL
  valueFrom:
    secretKeyRef: {name: {{ .root.Values.database.existingSecret }}, key: {{ .key }}}
{{- end }}

{{/* The credentials of the object store; its URL is told to workers by the coordinator. */}}
{{- define "temper.storeCredentials" -}}
{{- with .Values.objectStore.existingSecret }}
envFrom:
  - secretRef: {name: {{ . }}}
{{- end }}
{{- end }}

{{- define "temper.hub" -}}
{{- with .Values.hub.existingSecret }}
- name: HF_TOKEN
  valueFrom:
    secretKeyRef: {name: {{ . }}, key: token}
{{- end }}
{{- end }}

{{/* https where there are certificates. */}}
{{- define "temper.scheme" -}}
{{ ternary "https" "http" (not (empty .Values.tls.existingSecret)) }}
{{- end }}

{{- define "temper.coordinatorUrl" -}}
{{ include "temper.scheme" . }}://{{ include "temper.fullname" . }}-coordinator:7070
{{- end }}

{{/* Of a dict of the chart, a component's name and its port. A probe by Kubernetes itself speaks no TLS: there the binary asks. */}}
{{- define "temper.probes" -}}
{{- $root := .root }}
{{- range $kind, $times := dict
    "startupProbe" (dict "periodSeconds" 2 "timeoutSeconds" 3 "failureThreshold" 60)
    "livenessProbe" (dict "periodSeconds" 10 "timeoutSeconds" 5 "failureThreshold" 6)
    "readinessProbe" (dict "periodSeconds" 5 "timeoutSeconds" 3 "failureThreshold" 2) }}
{{ $kind }}:
  {{- if $root.Values.tls.existingSecret }}
  exec:
    command:
      - temper
      - health
      - --address=https://127.0.0.1:{{ $.port }}
      - --server-name={{ include "temper.fullname" $root }}-{{ $.component }}
      - --tls-ca=/etc/temper/tls/ca.crt
  {{- else }}
  grpc: {port: {{ $.port }}}
  {{- end }}
  {{- toYaml $times | nindent 2 }}
{{- end }}
{{- end }}

{{/* Of a dict of the chart, a component's name, and its port: the pods are spread over nodes as far as that goes. */}}
{{- define "temper.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{ include "temper.selector" .root | nindent 8 }}
        app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* Where spans are sent; where metrics are told, and to whom. */}}
{{- define "temper.telemetry" -}}
{{- with .Values.tracing.endpoint }}
- {name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ . | quote }}}
{{- end }}
{{- if .Values.metrics.existingSecret }}
- {name: TEMPER_METRICS, value: "0.0.0.0:9464"}
- {name: TEMPER_METRICS_TOKEN_FILE, value: /etc/temper/metrics/token}
{{- end }}
{{- end }}

{{- define "temper.metricsPort" -}}
{{- if .Values.metrics.existingSecret }}
- {name: metrics, containerPort: 9464}
{{- end }}
{{- end }}

{{- define "temper.metricsMount" -}}
{{- if .Values.metrics.existingSecret }}
- {name: metrics, mountPath: /etc/temper/metrics, readOnly: true}
{{- end }}
{{- end }}

{{- define "temper.metricsVolume" -}}
{{- with .Values.metrics }}
{{- if .existingSecret }}
- name: metrics
  secret:
    secretName: {{ .existingSecret }}
    defaultMode: 0440
    items: [{key: {{ .key }}, path: token}]
{{- end }}
{{- end }}
{{- end }}

{{/* The claim behind a file:// store. */}}
{{- define "temper.storeVolume" -}}
{{- with .Values.objectStore.existingClaim }}
- name: store
  persistentVolumeClaim: {claimName: {{ . }}}
{{- end }}
{{- end }}

{{- define "temper.storeMount" -}}
{{- if .Values.objectStore.existingClaim }}
- {name: store, mountPath: /var/lib/temper/store}
{{- end }}
{{- end }}

{{/* Without these values nothing can run: told at once, all of them. */}}
{{- define "temper.demand" -}}
{{- $missing := list }}
{{- if not .Values.database.existingSecret }}{{ $missing = append $missing "database.existingSecret" }}{{ end }}
{{- if not .Values.objectStore.url }}{{ $missing = append $missing "objectStore.url" }}{{ end }}
{{- if and (hasPrefix "file:" .Values.objectStore.url) (not .Values.objectStore.existingClaim) }}{{ $missing = append $missing "objectStore.existingClaim (for file://)" }}{{ end }}
{{- if and .Values.workers.classes (not .Values.workers.token.existingSecret) }}{{ $missing = append $missing "workers.token.existingSecret" }}{{ end }}
{{- if and .Values.serviceMonitor.enabled (not .Values.metrics.existingSecret) }}{{ $missing = append $missing "metrics.existingSecret (for serviceMonitor)" }}{{ end }}
{{- if $missing }}{{ fail (printf "set %s" (join ", " $missing)) }}{{ end }}
{{- end }}
