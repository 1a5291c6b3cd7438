{{/* A container that runs one `granary` command. Takes a list: the root context, and a dict of name and args. */}}
{{- define "granary-cluster.testStep" -}}
{{- $root := index . 0 -}}
{{- $step := index . 1 -}}
name: {{ $step.name }}
image: {{ include "granary-cluster.image" $root | quote }}
command: [/usr/local/bin/granary]
args:
  {{- toYaml $step.args | nindent 2 }}
env:
  - name: GRANARY_ENDPOINTS
    value: {{ include "granary-cluster.name" $root }}-client:7001
resources:
  requests:
    cpu: 50m
    memory: 64Mi
  limits:
    memory: 128Mi
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end -}}
