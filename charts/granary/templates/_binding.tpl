{{/*
A role with its binding to the operator's service account. Takes a list: the root context, kind (Role or ClusterRole),
namespace ("" for a ClusterRole), name, name of the template with the rules.
*/}}
{{- define "granary.roleAndBinding" -}}
{{- $root := index . 0 -}}
{{- $kind := index . 1 -}}
{{- $namespace := index . 2 -}}
{{- $name := index . 3 -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}
metadata:
  name: {{ $name }}
  {{- with $namespace }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- include "granary.labels" $root | nindent 4 }}
rules:
  {{- include (index . 4) $root | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}Binding
metadata:
  name: {{ $name }}
  {{- with $namespace }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- include "granary.labels" $root | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ $kind }}
  name: {{ $name }}
subjects:
  - kind: ServiceAccount
    name: {{ include "granary.serviceAccount" $root }}
    namespace: {{ $root.Release.Namespace }}
{{- end -}}
