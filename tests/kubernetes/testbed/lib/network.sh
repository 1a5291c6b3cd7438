# The network of an instance: a bridge in the control plane's namespace, a cable to each Kubernetes node, pods of node N
# in 10.244.N.0/24, all routed, no NAT. Nothing touches the host's network, and no packet can leave.

node_number() { echo "${1#node}"; }
node_address() { echo "10.99.0.$((10 + $(node_number "$1")))"; }

# The control plane's end of a node's cable.
cable() { echo "to-$1"; }

make_control_network() {
    local control
    control=$(namespace control)
    ip netns add "$control"
    ip -n "$control" link set lo up
    ip -n "$control" link add nodes type bridge
    ip -n "$control" addr add "$CONTROL_ADDRESS/24" dev nodes
    ip -n "$control" link set nodes up
}

make_node_network() {
    local node=$1 control namespace other
    control=$(namespace control) namespace=$(namespace "$node")
    ip netns add "$namespace"
    ip -n "$namespace" link set lo up
    ip -n "$control" link add "$(cable "$node")" type veth peer name eth0 netns "$namespace"
    ip -n "$control" link set "$(cable "$node")" master nodes up
    ip -n "$namespace" addr add "$(node_address "$node")/24" dev eth0
    ip -n "$namespace" link set eth0 up
    ip -n "$namespace" route add default via "$CONTROL_ADDRESS"
    ip -n "$control" route add "10.244.$(node_number "$node").0/24" via "$(node_address "$node")"
    for other in $(nodes); do
        [ "$other" != "$node" ] || continue
        ip -n "$namespace" route add "10.244.$(node_number "$other").0/24" via "$(node_address "$other")"
    done
    # Pods of one node reach each other's services too: bridged packets pass iptables, where the kernel can do that.
    nsenter --net="/run/netns/$namespace" sysctl -qw net.ipv4.ip_forward=1
    nsenter --net="/run/netns/$namespace" sysctl -qw net.bridge.bridge-nf-call-iptables=1 2>/dev/null || true
}

# The namespaces that this instance has, up or half up.
machines_found() {
    ip netns list | awk '{print $1}' | sed -nE "s/^$NAME-(control|node[0-9]+)\$/\1/p"
}
