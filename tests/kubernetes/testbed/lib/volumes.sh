# The local volumes of a Kubernetes node: folders below its /var/volumes, each with a PersistentVolume of class
# `standard`. Every second one has reclaim policy Delete.

# NAME SIZE POLICY of each volume of a node.
volumes_of() {
    local size number policies=(Retain Delete)
    for size in 10Gi:16 1Gi:2 5Gi:2 20Gi:2; do
        for number in $(seq "${size#*:}"); do
            echo "$1-${size%:*}-$number ${size%:*} ${policies[number % 2]}" | tr 'G' 'g'
        done
    done
}

# An empty folder that only root can write: the kubelet gives it to the pod's fsGroup.
make_volume_folder() { # NODE VOLUME
    rm -rf "${STATE:?}/$1/var/volumes/$2"
    mkdir -p -m 0755 "$STATE/$1/var/volumes/$2"
}

volume_manifest() { # NODE VOLUME SIZE POLICY
    cat <<EOF
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: $2, labels: {testbed.granary.io/node: $1}}
spec:
  capacity: {storage: ${3/g/G}}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: $4
  storageClassName: standard
  local: {path: /var/volumes/$2}
  nodeAffinity:
    required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [$1]}]}]}
EOF
}

# Makes the folders of the volumes named on standard input (or of all, without --only), and prints their manifests.
make_volumes() {
    local node volume size policy only=
    [ "${1:-}" != --only ] || only=$(cat)
    for node in $(nodes); do
        volumes_of "$node" | while read -r volume size policy; do
            [ "${1:-}" != --only ] || grep -qx -- "$volume" <<<"$only" || continue
            make_volume_folder "$node" "$volume"
            volume_manifest "$node" "$volume" "$size" "$policy"
        done
    done
}
