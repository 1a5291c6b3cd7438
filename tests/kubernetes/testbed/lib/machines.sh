# A machine of the testbed is a network, a mount and a process namespace, and cgroups if it is a Kubernetes node. Its
# first process is a script of machine/. Killing that one is pulling the plug: the kernel kills all others, and with the
# last one go the machine's mounts and loop devices. The network namespace has a name, NAME-MACHINE, and stays.
#
# What a machine sees: /srv is the instance's state folder, /var and /run are its own, the rest is the host's.

namespace() { echo "$NAME-$1"; }

# Starts MACHINE by machine/KIND: start_machine MACHINE KIND ARGUMENT...
start_machine() {
    local machine=$1 kind=$2
    shift 2
    mkdir -p "$STATE/$machine/var" "$STATE/log"
    # Propagation `slave`: a namespace that the host unmounts is not held here.
    setsid nsenter --net="/run/netns/$(namespace "$machine")" \
        unshare --mount --propagation slave --pid --fork --mount-proc \
        "$TESTBED/machine/start" "$STATE" "$machine" "$(cache)" "$TESTBED/machine/$kind" "$@" \
        >>"$STATE/log/$machine.log" 2>&1 </dev/null 9>&- &
    disown
}

# A Kubernetes node's machine, in its zone; the network is there already. Needs cgroups.sh and network.sh too.
start_node() {
    local zone=zone$((($(node_number "$1") - 1) % 3 + 1))
    make_cgroups "$1"
    start_machine "$1" node "$(node_address "$1")" "$zone" "$(namespace "$1")" "https://$CONTROL_ADDRESS:6443"
}

# The host's ids of a machine's processes, pods not among them. Whoever merely looks into its network (a test, a shell)
# shares our process namespace and is left out.
machine_pids() {
    local pid ours theirs
    [ -e "/run/netns/$(namespace "$1")" ] || return 0
    ours=$(readlink /proc/self/ns/pid)
    for pid in $(ip netns pids "$(namespace "$1")"); do
        theirs=$(readlink "/proc/$pid/ns/pid" 2>/dev/null) || continue
        [ "$theirs" = "$ours" ] || echo "$pid"
    done
}

# The first process of a machine: 1 in its own counting.
machine_init() {
    local pid
    for pid in $(machine_pids "$1"); do
        awk '/^NSpid:/ { exit !($NF == 1 && NF == 3) }' "/proc/$pid/status" 2>/dev/null && echo "$pid" && return 0
    done
    return 1
}

# Runs a command inside a machine, in all its namespaces: in_machine MACHINE COMMAND...
in_machine() {
    local init
    init=$(machine_init "$1") || {
        echo "$1 of $NAME is not running" >&2
        return 1
    }
    shift
    nsenter --target "$init" --net --mount --pid "$@"
}

machine_gone() { [ -z "$(machine_pids "$1")" ]; }

# Pulls the plug and waits until nothing of the machine runs.
stop_machine() {
    local pid
    for pid in $(machine_pids "$1"); do kill -KILL "$pid" 2>/dev/null || true; done
    await 30 "the processes of $1 end" machine_gone "$1"
}
