{{/* What workers of a class bear; of a dict of its name and its values. */}}
{{- define "temper.classLabels" -}}
{{- $labels := list (printf "class=%s" .name) }}
{{- range $key, $value := .class.labels }}{{ $labels = append $labels (printf "%s=%s" $key $value) }}{{ end }}
{{- join "," $labels }}
{{- end }}

{{/* The pod of a class of workers; of a dict of the chart, the class's name, its values, and a restart policy.
     Its health is its process: it ends when it is refused or breaks, and the coordinator judges its heartbeats. SIGTERM is the
     drain, because it comes by every way that a pod is told to leave (scaling, eviction, a node's shutdown) and asks for no shell and
     no second program: the worker stops at its next step, writes a checkpoint and gives its job back, and takes at most twice the
     grace. The preStop does nothing but wait a second, for clusters that admit no Deployment without one. */}}
{{- define "temper.workerPod" -}}
{{- $root := .root }}
{{- $class := .class }}
metadata:
  labels: {{ include "temper.labels" $root | nindent 4 }}
    app.kubernetes.io/component: worker
    temper/class: {{ .name }}
  {{- with $class.annotations }}
  annotations: {{ toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- include "temper.pod" $root | nindent 2 }}
  serviceAccountName: {{ include "temper.serviceAccount" $root }}
  restartPolicy: {{ .restartPolicy }}
  terminationGracePeriodSeconds: {{ $class.gracePeriodSeconds }}
  {{- include "temper.placement" $class | nindent 2 }}
  containers:
    - name: worker
      image: {{ include "temper.image" (dict "root" $root "image" $class.image) }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      {{- include "temper.confined" $root | nindent 6 }}
      command: [temper-worker, run]
      env:
        - name: TEMPER_WORKER_NAME
          valueFrom:
            fieldRef: {fieldPath: metadata.name}
        - {name: TEMPER_COORDINATOR, value: {{ include "temper.coordinatorUrl" $root | quote }}}
        {{- if $root.Values.keda.enabled }}
        # Where KEDA can read it, which asks the coordinator by it.
        - name: TEMPER_TOKEN
          valueFrom:
            secretKeyRef: {name: {{ $root.Values.workers.token.existingSecret }}, key: {{ $root.Values.workers.token.key }}}
        - {name: TEMPER_EXIT_WHEN_IDLE, value: {{ $root.Values.keda.exitWhenIdle | quote }}}
        {{- else }}
        - {name: TEMPER_TOKEN_FILE, value: /etc/temper/token/token}
        {{- end }}
        - {name: TEMPER_DEVICE, value: {{ $class.device | quote }}}
        - {name: TEMPER_WORKER_LABELS, value: {{ include "temper.classLabels" (dict "name" .name "class" $class) | quote }}}
        - {name: TEMPER_CHECKPOINT_EVERY, value: {{ $class.checkpointEvery | quote }}}
        # Twice of it, the second before SIGTERM, and what a container takes to end, fit before SIGKILL.
        - {name: TEMPER_GRACE, value: "{{ div (sub $class.gracePeriodSeconds 15) 2 }}s"}
        {{- with $class.wallTime }}
        - {name: TEMPER_WALL_TIME, value: {{ . | quote }}}
        {{- end }}
        - {name: TEMPER_CACHE, value: /var/lib/temper/cache}
        - {name: HF_HOME, value: /var/lib/temper/cache/hub}
        - {name: TEMPER_MIRROR, value: {{ $root.Values.workers.mirror | quote }}}
        {{- with $root.Values.workers.roots }}
        - {name: TEMPER_ROOTS, value: {{ . | quote }}}
        {{- end }}
        {{- if $root.Values.tls.existingSecret }}
        - {name: TEMPER_TLS_CA, value: /etc/temper/ca/ca.crt}
        {{- end }}
        {{- include "temper.hub" $root | nindent 8 }}
        {{- include "temper.logs" $root | nindent 8 }}
        {{- include "temper.telemetry" $root | nindent 8 }}
      {{- include "temper.storeCredentials" $root | nindent 6 }}
      {{- if $root.Values.metrics.existingSecret }}
      ports: {{ include "temper.metricsPort" $root | nindent 8 }}
      {{- end }}
      lifecycle:
        preStop:
          sleep: {seconds: 1}
      resources: {{ toYaml $class.resources | nindent 8 }}
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
        {{- include "temper.metricsMount" $root | nindent 8 }}
        - {name: cache, mountPath: /var/lib/temper/cache}
        {{- if not $root.Values.keda.enabled }}
        - {name: token, mountPath: /etc/temper/token, readOnly: true}
        {{- end }}
        {{- include "temper.storeMount" $root | nindent 8 }}
        {{- if $root.Values.tls.existingSecret }}
        - {name: ca, mountPath: /etc/temper/ca, readOnly: true}
        {{- end }}
        {{- with $root.Values.workers.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    - {name: tmp, emptyDir: {sizeLimit: 1Gi}}
    {{- include "temper.metricsVolume" $root | nindent 4 }}
    - name: cache
      {{- if $class.cache.existingClaim }}
      persistentVolumeClaim: {claimName: {{ $class.cache.existingClaim }}}
      {{- else }}
      emptyDir: {sizeLimit: {{ $class.cache.sizeLimit }}}
      {{- end }}
    {{- if not $root.Values.keda.enabled }}
    - name: token
      secret:
        secretName: {{ $root.Values.workers.token.existingSecret }}
        defaultMode: 0440
        items: [{key: {{ $root.Values.workers.token.key }}, path: token}]
    {{- end }}
    {{- include "temper.storeVolume" $root | nindent 4 }}
    {{- with $root.Values.tls.existingSecret }}
    # The certificate of the authority alone: the servers' key is not the workers' to see.
    - name: ca
      secret:
        secretName: {{ . }}
        defaultMode: 0440
        items: [{key: ca.crt, path: ca.crt}]
    {{- end }}
    {{- with $root.Values.workers.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}
