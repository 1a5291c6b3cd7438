# Image archives into the containerds of an instance's Kubernetes nodes.

# load_images ARCHIVE...: into all running nodes at once.
load_images() {
    local node archive running=() loads=() load
    for node in $(nodes); do machine_init "$node" >/dev/null && running+=("$node"); done
    for node in "${running[@]}"; do
        for archive in "$@"; do
            in_machine "$node" ctr --namespace k8s.io images import - <"$archive" >>"$STATE/log/$node-images.log" 2>&1 || exit 1
        done &
        loads+=($!)
    done
    for load in "${loads[@]}"; do wait "$load" || die "an image could not be loaded. Logs: $STATE/log/*-images.log"; done
}
