# Image archives into the containerds of an instance's Kubernetes nodes.

# load_images ARCHIVE...: into all running nodes at once. What a node has already had is left out.
load_images() {
    local node running=() loads=() load
    for node in $(nodes); do machine_init "$node" >/dev/null && running+=("$node"); done
    for node in "${running[@]}"; do
        load_into "$node" "$@" >>"$STATE/log/$node-images.log" 2>&1 &
        loads+=($!)
    done
    for load in "${loads[@]}"; do
        wait "$load" || die "an image could not be loaded. Logs: $STATE/log/*-images.log"
    done
}

load_into() {
    local node=$1 archive seen
    shift
    mkdir -p "$STATE/$node/loaded"
    for archive in "$@"; do
        seen=$STATE/$node/loaded/$(basename "$archive")
        # The time of the archive, kept as the mark's own: another time is another archive.
        [ "$(stat -c %.Y "$archive")" != "$(stat -c %.Y "$seen" 2>/dev/null)" ] || continue
        in_machine "$node" ctr --namespace k8s.io images import - <"$archive" || return 1
        touch --reference "$archive" "$seen"
    done
}
