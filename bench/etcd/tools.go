//go:build tools

// Package etcd names what `go build` builds for the benchmark, so that its version and all sums are in go.mod and go.sum.
package etcd

import _ "go.etcd.io/etcd/server/v3"
