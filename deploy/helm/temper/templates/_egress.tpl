{{/* Whom pods may call: the names, the database, and ports anywhere. */}}
{{- define "temper.toNames" -}}
- ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
{{- end }}

{{- define "temper.toDatabase" -}}
- ports: [{port: {{ .Values.database.port }}, protocol: TCP}]
  {{- with .Values.database.cidrs }}
  to:
    {{- range . }}
    - ipBlock: {cidr: {{ . | quote }}}
    {{- end }}
  {{- end }}
{{- end }}

{{- define "temper.toAnywhere" -}}
{{- with .Values.networkPolicy.egressPorts }}
- ports:
    {{- range . }}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
{{- end }}
{{- end }}

{{/* Prometheus, where metrics are told. */}}
{{- define "temper.fromScrapers" -}}
{{- if .Values.metrics.existingSecret }}
- ports: [{port: 9464, protocol: TCP}]
  from: {{ toYaml .Values.networkPolicy.scrapers | nindent 4 }}
{{- end }}
{{- end }}
