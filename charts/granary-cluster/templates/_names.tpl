{{- define "granary-cluster.name" -}}
{{- .Values.name | default .Release.Name -}}
{{- end -}}

{{- define "granary-cluster.labels" -}}
app.kubernetes.io/name: granary-cluster
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/part-of: granary
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "granary-cluster.image" -}}
{{- required "spec.image says which image the nodes run, such as: --set spec.image=granary:0.1.0" .Values.spec.image -}}
{{- end -}}
