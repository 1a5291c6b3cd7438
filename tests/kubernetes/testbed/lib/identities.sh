# Who is who: one authority, two certificates, a token for everybody else, and a kubeconfig for each.

certificate() { # FILE COMMON-NAME ORGANISATION ALTERNATIVE-NAMES
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$1.key" -out "$1.csr" \
        -subj "/O=$3/CN=$2" 2>/dev/null
    openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 365 -out "$1.crt" \
        -extfile <(echo "subjectAltName=$4") 2>/dev/null
    rm "$1.csr"
}

# kubeconfig FILE TOKEN
kubeconfig() {
    cat >"$1" <<EOF
apiVersion: v1
kind: Config
clusters:
- name: testbed
  cluster:
    server: https://$CONTROL_ADDRESS:6443
    certificate-authority-data: $(base64 -w 0 "$STATE/pki/ca.crt")
users: [{name: testbed, user: {token: $2}}]
contexts: [{name: testbed, context: {cluster: testbed, user: testbed}}]
current-context: testbed
EOF
}

# identity KUBECONFIG USER GROUP: a new token.
identity() {
    local token
    token=$(openssl rand -hex 16)
    echo "$token,$2,$2${3:+,$3}" >>"$STATE/pki/tokens.csv"
    kubeconfig "$STATE/config/$1.kubeconfig" "$token"
}

make_identities() (
    local node
    mkdir -p "$STATE/pki" "$STATE/config"
    cd "$STATE/pki"
    umask 077
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out ca.crt -days 365 \
        -subj /CN=granary-testbed 2>/dev/null
    certificate apiserver kube-apiserver kubernetes \
        "IP:$CONTROL_ADDRESS,IP:127.0.0.1,IP:10.96.0.1,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc"
    certificate kubelet-client kube-apiserver-kubelet-client system:masters DNS:kube-apiserver
    openssl ecparam -name prime256v1 -genkey -noout -out accounts.key
    : >tokens.csv
    identity admin admin system:masters
    identity controller-manager system:kube-controller-manager
    identity scheduler system:kube-scheduler
    identity proxy system:kube-proxy
    for node in $(nodes); do identity "$node" "system:node:$node" system:nodes; done
    cp "$STATE/config/admin.kubeconfig" "$STATE/kubeconfig"
)
