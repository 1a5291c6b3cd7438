# Where the built programs lie: outside the checkout, keyed by everything that decides what they are.

MODULES=$TESTBED/modules

# The modules' own Go files, their go.mod and go.sum, and the compiler.
cache_key() {
    {
        (cd "$MODULES" && find . -type f | LC_ALL=C sort | xargs sha256sum)
        (cd "$MODULES/kubernetes" && GOTOOLCHAIN=local go version)
        uname -m
    } | sha256sum | cut -c1-16
}

# The folder. Scripts that run beside an instance take what it was started with and need no Go.
cache() {
    if [ -f "${STATE:-/nowhere}/cache" ]; then
        cat "$STATE/cache"
    else
        echo "${GRANARY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/granary}/kubernetes/$(cache_key)"
    fi
}

# The archives of the testbed's own images, keyed by what they are made of.
base_images() { echo "$(cache)/images-$(cat "$TESTBED"/base-images/* | sha256sum | cut -c1-8)"; }
