# buildah with a storage of its own in the cache. No daemon, no registry.

buildah_here() {
    local storage
    storage=$(cache)/containers
    BUILDAH_ISOLATION=chroot STORAGE_DRIVER=vfs buildah --root "$storage/storage" --runroot "$storage/run" "$@"
}

# image TAG ARGUMENT...: builds it. The same content gives the same digest, whenever it is built.
image() {
    local tag=$1 log
    shift
    log=$(buildah_here build --layers --timestamp 0 --identity-label=false --tag "$tag" "$@" 2>&1) ||
        die "building the image $tag failed: $log"
}

# archive FILE TAG: what ctr imports, not compressed. The old file stays until the new one is whole.
archive() {
    rm -f "$1.new"
    buildah_here push --quiet "$2" "docker-archive:$1.new:$2"
    mv "$1.new" "$1"
}
