{{/*
The operator's rights in the namespaces whose clusters it runs, and no more. No secrets, no logs, no exec.
*/}}
{{- define "granary.rights.namespaced" -}}
# What users write. Patched: the cluster's id and the finalizer, in metadata.
- apiGroups: [granary.io]
  resources: [storageclusters]
  verbs: [get, list, watch, patch]
- apiGroups: [granary.io]
  resources: [storageclusters/status]
  verbs: [patch]
# Needed to own objects where OwnerReferencesPermissionEnforcement is on (OpenShift).
- apiGroups: [granary.io]
  resources: [storageclusters/finalizers]
  verbs: [update]
- apiGroups: [apps]
  resources: [statefulsets]
  verbs: [get, list, watch, create, patch, delete]
# Made by the StatefulSets. Deleted by uid to restart a node; patched so that the kubelet looks at a grown volume at once.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, patch, delete]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list, watch, create, patch, delete]
# One of each a cluster, read by name. What need not be there is deleted; the others go with their owner.
- apiGroups: [""]
  resources: [services, serviceaccounts]
  verbs: [get, create, patch]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, create, patch, delete]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}

{{/* What belongs to no namespace. Patched: a volume's reclaim policy. */}}
{{- define "granary.rights.clusterWide" -}}
- apiGroups: [""]
  resources: [nodes]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [persistentvolumes]
  verbs: [get, list, patch]
- apiGroups: [storage.k8s.io]
  resources: [storageclasses]
  verbs: [get]
{{- end -}}

{{/* In the operator's own namespace: the Lease that elects. */}}
{{- define "granary.rights.own" -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [get, create, update]
{{- end -}}
