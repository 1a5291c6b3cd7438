package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// node mounts volumes on one Kubernetes node and grows the file systems in them.
type node struct {
	identity
	csi.UnimplementedNodeServer
	images *imageStore
	name   string
}

func (n *node) register(server *grpc.Server) {
	csi.RegisterIdentityServer(server, n)
	csi.RegisterNodeServer(server, n)
}

func (n *node) NodeGetInfo(context.Context, *csi.NodeGetInfoRequest) (*csi.NodeGetInfoResponse, error) {
	return &csi.NodeGetInfoResponse{NodeId: n.name, AccessibleTopology: topology(n.name)}, nil
}

func (n *node) NodeGetCapabilities(context.Context, *csi.NodeGetCapabilitiesRequest) (*csi.NodeGetCapabilitiesResponse, error) {
	capability := func(t csi.NodeServiceCapability_RPC_Type) *csi.NodeServiceCapability {
		return &csi.NodeServiceCapability{Type: &csi.NodeServiceCapability_Rpc{Rpc: &csi.NodeServiceCapability_RPC{Type: t}}}
	}
	return &csi.NodeGetCapabilitiesResponse{Capabilities: []*csi.NodeServiceCapability{
		capability(csi.NodeServiceCapability_RPC_EXPAND_VOLUME),
		capability(csi.NodeServiceCapability_RPC_GET_VOLUME_STATS),
	}}, nil
}

func (n *node) NodePublishVolume(_ context.Context, request *csi.NodePublishVolumeRequest) (*csi.NodePublishVolumeResponse, error) {
	n.images.Lock()
	defer n.images.Unlock()
	path, err := n.images.path(request.GetVolumeId())
	if err != nil {
		return nil, err
	}
	if request.GetVolumeCapability().GetMount() == nil {
		return nil, status.Error(codes.InvalidArgument, "only file system volumes")
	}
	if !strings.HasPrefix(request.GetVolumeId(), n.name+".") {
		return nil, status.Errorf(codes.NotFound, "%s does not lie on %s", request.GetVolumeId(), n.name)
	}
	target := request.GetTargetPath()
	if mounted(target) {
		return &csi.NodePublishVolumeResponse{}, nil
	}
	if err := os.MkdirAll(target, 0o750); err != nil {
		return nil, err
	}
	// mount takes the loop device that the image already has, if any; umount frees it.
	options := "loop,discard"
	if request.GetReadonly() {
		options += ",ro"
	}
	_, err = run("mount", "-t", "xfs", "-o", options, path, target)
	return &csi.NodePublishVolumeResponse{}, err
}

func (n *node) NodeUnpublishVolume(_ context.Context, request *csi.NodeUnpublishVolumeRequest) (*csi.NodeUnpublishVolumeResponse, error) {
	n.images.Lock()
	defer n.images.Unlock()
	target := request.GetTargetPath()
	if mounted(target) {
		if _, err := run("umount", target); err != nil {
			return nil, err
		}
	}
	if err := os.Remove(target); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return &csi.NodeUnpublishVolumeResponse{}, nil
}

func (n *node) NodeExpandVolume(_ context.Context, request *csi.NodeExpandVolumeRequest) (*csi.NodeExpandVolumeResponse, error) {
	n.images.Lock()
	defer n.images.Unlock()
	device, err := n.images.device(request.GetVolumeId())
	if err != nil {
		return nil, err
	}
	if device == "" {
		return nil, status.Errorf(codes.NotFound, "%s is not mounted", request.GetVolumeId())
	}
	// The device first learns how long its file is now.
	if _, err := run("losetup", "--set-capacity", device); err != nil {
		return nil, err
	}
	if _, err := run("xfs_growfs", request.GetVolumePath()); err != nil {
		return nil, err
	}
	bytes, err := n.images.size(request.GetVolumeId())
	return &csi.NodeExpandVolumeResponse{CapacityBytes: bytes}, err
}

func (n *node) NodeGetVolumeStats(_ context.Context, request *csi.NodeGetVolumeStatsRequest) (*csi.NodeGetVolumeStatsResponse, error) {
	path := request.GetVolumePath()
	if !mounted(path) {
		return nil, status.Errorf(codes.NotFound, "%s is not mounted", path)
	}
	var stat syscall.Statfs_t
	if err := syscall.Statfs(path, &stat); err != nil {
		return nil, err
	}
	block := int64(stat.Bsize)
	return &csi.NodeGetVolumeStatsResponse{Usage: []*csi.VolumeUsage{
		{
			Unit:      csi.VolumeUsage_BYTES,
			Total:     int64(stat.Blocks) * block,
			Available: int64(stat.Bavail) * block,
			Used:      int64(stat.Blocks-stat.Bfree) * block,
		},
		{
			Unit:      csi.VolumeUsage_INODES,
			Total:     int64(stat.Files),
			Available: int64(stat.Ffree),
			Used:      int64(stat.Files - stat.Ffree),
		},
	}}, nil
}

func mounted(path string) bool {
	return exec.Command("mountpoint", "-q", path).Run() == nil
}
