# Each Kubernetes node has a cgroup NAME-NODE of its own in every hierarchy: kubelets that share one kill each other's
# pods as orphans.

# The roots of all hierarchies: one folder a controller (cgroup v1), or the only one (v2).
cgroup_roots() {
    if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
        echo /sys/fs/cgroup
    else
        find /sys/fs/cgroup -mindepth 1 -maxdepth 1 -type d
    fi
}

make_cgroups() {
    local root group file
    for root in $(cgroup_roots); do
        group=$root/$(namespace "$1")
        mkdir -p "$group"
        case $root in
            */cpuset) for file in cpuset.cpus cpuset.mems; do cat "$root/$file" >"$group/$file"; done ;;
            /sys/fs/cgroup) echo '+cpu +cpuset +memory +pids' >"$root/cgroup.subtree_control" ;;
        esac
    done
}

# The processes in the cgroups of a node, those of its pods: cgroup_pids NODE [below FOLDER-NAME]
cgroup_pids() {
    local root
    root=$(cgroup_roots | grep -E '/(pids|cgroup)$' | head -n 1)
    [ -d "$root/$(namespace "$1")" ] || return 0
    find "$root/$(namespace "$1")" -path "*${2:-}*" -name cgroup.procs -exec cat {} + 2>/dev/null | sort -un
}

remove_cgroups() {
    local group
    for group in $(cgroup_roots | sed "s|\$|/$(namespace "$1")|"); do
        [ ! -d "$group" ] || find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || true
    done
}

cgroups_gone() {
    local root
    remove_cgroups "$1"
    for root in $(cgroup_roots); do [ ! -d "$root/$(namespace "$1")" ] || return 1; done
}
