// csi-driver gives the testbed volumes that are real file systems of their own: they fill up, and they grow while in
// use. A volume is a sparse image file with XFS on it, loop-mounted on the Kubernetes node for which it was made, where
// it stays, like a local disk. (XFS, because growing a mounted ext4 takes CAP_SYS_RESOURCE.)
//
//	csi-driver controller -images DIR -socket SOCKET
//	csi-driver node -images DIR -name NODE -kubelet ROOT_DIR
//
// The controller makes, enlarges and removes image files; one runs in the control plane, for the provisioner and the
// resizer. A node's part mounts them; one runs on each Kubernetes node.
package main

import (
	"flag"
	"log"
	"os"
	"path/filepath"
)

const (
	driverName  = "loop.testbed.granary.io"
	topologyKey = driverName + "/node"
)

func main() {
	if len(os.Args) < 2 {
		log.Fatal("csi-driver: which part? controller or node")
	}
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	images := flags.String("images", "", "folder of the image files, the same for all parts")
	socket := flags.String("socket", "", "controller: where the provisioner and the resizer find it")
	name := flags.String("name", "", "node: the Kubernetes node's name")
	kubelet := flags.String("kubelet", "/var/lib/kubelet", "node: the kubelet's root folder")
	flags.Parse(os.Args[2:])

	store := &imageStore{folder: *images}
	if err := os.MkdirAll(*images, 0o700); err != nil {
		log.Fatal(err)
	}
	switch os.Args[1] {
	case "controller":
		log.Fatal(serve(*socket, &controller{images: store}))
	case "node":
		endpoint := filepath.Join(*kubelet, "plugins", driverName, "csi.sock")
		go func() { log.Fatal(serve(endpoint, &node{images: store, name: *name})) }()
		log.Fatal(serve(filepath.Join(*kubelet, "plugins_registry", driverName+"-reg.sock"), &registration{endpoint: endpoint}))
	default:
		log.Fatalf("csi-driver: no such part: %s", os.Args[1])
	}
}
