{{/*
What to do with the CustomResourceDefinition, one word:

  render   it is a part of this release: it is not there, or belongs to this release already, or is to be adopted
  skip     crds.install is false, or another release left an equal one behind; Helm refuses to touch objects of another
           release, and there is nothing to change
  refuse   it is another's and differs: nothing is right that a person has not decided

`lookup` finds nothing in `helm template` and in client-side dry runs: the word is then `render`.
*/}}
{{- define "granary.crd.action" -}}
{{- if not .Values.crds.install -}}
skip
{{- else if .Values.crds.adopt -}}
render
{{- else -}}
{{- $there := lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" "storageclusters.granary.io" -}}
{{- $notes := dig "metadata" "annotations" (dict) $there -}}
{{- $name := index $notes "meta.helm.sh/release-name" -}}
{{- $namespace := index $notes "meta.helm.sh/release-namespace" -}}
{{- if not $there -}}
render
{{- else if and (eq ($name | default "") .Release.Name) (eq ($namespace | default "") .Release.Namespace) -}}
render
{{- else if eq (index $notes "granary.io/definition-hash" | default "") (include "granary.crd.hash" .) -}}
skip
{{- else -}}
refuse
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "granary.crd.hash" -}}
{{- .Files.Get "files/storagecluster.yaml" | sha256sum -}}
{{- end -}}
