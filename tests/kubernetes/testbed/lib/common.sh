# What every script of the testbed begins with: which instance is meant, where its things lie, and how words are said.
# Source it, then call `instance "$@"`.
set -euo pipefail

TESTBED=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
REPOSITORY=$(cd "$TESTBED/../../.." && pwd)
SCRIPT=$(basename "$0")

# The machines' own network. Each instance has it to itself, so the addresses are the same in all of them.
CONTROL_ADDRESS=10.99.0.1

say() { printf '%s\n' "$*"; }
die() {
    printf '%s: %s\n' "$SCRIPT" "$*" >&2
    exit 1
}

# How long it has been since `started=$(now)`, and what has been done: took WHAT
now() { echo "${EPOCHREALTIME/[.,]/}"; }
took() { printf '%6d ms  %s\n' $((($(now) - started) / 1000)) "$*"; }

# Linux and root, or a clear sentence.
need_root() {
    [ "$(uname -s)" = Linux ] || die "the Kubernetes for tests needs Linux (namespaces, cgroups); this is $(uname -s)"
    [ "$(id -u)" -eq 0 ] || die "the Kubernetes for tests needs root (namespaces, cgroups, mounts); use sudo"
}

# The programs named, or a sentence that says how to get them.
need_programs() {
    local program missing=()
    for program in "$@"; do command -v "$program" >/dev/null || missing+=("$program"); done
    [ ${#missing[@]} -eq 0 ] || die "not installed: ${missing[*]}. Run: scripts/setup kubernetes"
}

# Reads --name, --state and --nodes; what is left is in ARGUMENTS. Sets NAME, STATE, NODES.
instance() {
    NAME=${GRANARY_TESTBED:-granary} STATE=${GRANARY_TESTBED_STATE:-} NODES= ARGUMENTS=()
    while [ $# -gt 0 ]; do
        case $1 in
            --name) NAME=${2:?--name needs a value} STATE= && shift 2 ;;
            --state) STATE=${2:?--state needs a folder} && shift 2 ;;
            --nodes) NODES=${2:?--nodes needs a number} && shift 2 ;;
            --) shift && ARGUMENTS+=("$@") && break ;;
            *) ARGUMENTS+=("$1") && shift ;;
        esac
    done
    [[ $NAME =~ ^[a-z][a-z0-9-]{0,19}$ ]] || die "a name has 1 to 20 of a-z, 0-9 and -, and begins with a letter: $NAME"
    [ "$NAME" != images ] || die "no instance is called images: target/kubernetes/images has the archives"
    STATE=$(realpath -m "${STATE:-$REPOSITORY/target/kubernetes/$NAME}")
}

# Whether the instance is up, and how many Kubernetes nodes it has.
need_up() {
    [ -f "$STATE/nodes" ] || die "the testbed $NAME is not up (no $STATE/nodes). Run: $TESTBED/up --name $NAME"
    NODES=$(cat "$STATE/nodes")
}

# node1 node2 ...
nodes() { seq -f 'node%g' "$NODES"; }

need_node() {
    nodes | grep -qx -- "${1:-}" || die "which Kubernetes node? one of: $(nodes | tr '\n' ' ')"
}

# kubectl, as the testbed's administrator.
kubectl() { nsenter --net="/run/netns/$NAME-control" "$(cache)/kubectl" --kubeconfig "$STATE/kubeconfig" "$@"; }

# Waits until a command succeeds: await SECONDS WHAT COMMAND...
await() {
    local seconds=$1 what=$2 end
    shift 2
    end=$((SECONDS + seconds))
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || die "waited $seconds s in vain: $what. Logs: $STATE/log"
        sleep 0.1
    done
}

. "$TESTBED/lib/cache.sh"
