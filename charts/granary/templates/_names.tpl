{{/* Names, labels and the image: what several objects share. */}}

{{- define "granary.name" -}}
{{- .Values.fullnameOverride | default (printf "%s-operator" (.Release.Name | trunc 40 | trimSuffix "-")) -}}
{{- end -}}

{{/* Objects that belong to no namespace: two releases of one name in two namespaces must not share them. */}}
{{- define "granary.clusterWideName" -}}
{{- printf "%s:%s" .Release.Namespace (include "granary.name" .) -}}
{{- end -}}

{{- define "granary.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "granary.name" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{- define "granary.image" -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}

{{/* Never changed: a Deployment's selector is fixed. */}}
{{- define "granary.selector" -}}
app.kubernetes.io/name: granary-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "granary.labels" -}}
{{ include "granary.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: granary
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}
