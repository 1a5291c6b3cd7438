package main

import (
	"context"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// controller makes, enlarges and removes volumes. A volume's id is the node it lies on, a dot, and the name asked for.
type controller struct {
	identity
	csi.UnimplementedControllerServer
	images *imageStore
}

func (c *controller) register(server *grpc.Server) {
	csi.RegisterIdentityServer(server, c)
	csi.RegisterControllerServer(server, c)
}

func (c *controller) ControllerGetCapabilities(context.Context, *csi.ControllerGetCapabilitiesRequest) (*csi.ControllerGetCapabilitiesResponse, error) {
	capability := func(t csi.ControllerServiceCapability_RPC_Type) *csi.ControllerServiceCapability {
		return &csi.ControllerServiceCapability{Type: &csi.ControllerServiceCapability_Rpc{Rpc: &csi.ControllerServiceCapability_RPC{Type: t}}}
	}
	return &csi.ControllerGetCapabilitiesResponse{Capabilities: []*csi.ControllerServiceCapability{
		capability(csi.ControllerServiceCapability_RPC_CREATE_DELETE_VOLUME),
		capability(csi.ControllerServiceCapability_RPC_EXPAND_VOLUME),
	}}, nil
}

func (c *controller) CreateVolume(_ context.Context, request *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
	c.images.Lock()
	defer c.images.Unlock()
	node := firstNode(request.GetAccessibilityRequirements())
	if node == "" {
		return nil, status.Error(codes.InvalidArgument, "no node asked for: the storage class must bind late")
	}
	bytes, err := wanted(request.GetCapacityRange().GetRequiredBytes())
	if err != nil {
		return nil, err
	}
	id := node + "." + request.GetName()
	// Asked before, perhaps: then it is there.
	existing, err := c.images.size(id)
	switch {
	case err != nil:
		return nil, err
	case existing == 0:
		if err := c.images.create(id, bytes); err != nil {
			return nil, err
		}
	case existing < bytes:
		return nil, status.Errorf(codes.AlreadyExists, "%s exists with %d bytes", id, existing)
	default:
		bytes = existing
	}
	return &csi.CreateVolumeResponse{Volume: &csi.Volume{
		VolumeId:           id,
		CapacityBytes:      bytes,
		AccessibleTopology: []*csi.Topology{topology(node)},
	}}, nil
}

func (c *controller) DeleteVolume(_ context.Context, request *csi.DeleteVolumeRequest) (*csi.DeleteVolumeResponse, error) {
	c.images.Lock()
	defer c.images.Unlock()
	return &csi.DeleteVolumeResponse{}, c.images.remove(request.GetVolumeId())
}

func (c *controller) ControllerExpandVolume(_ context.Context, request *csi.ControllerExpandVolumeRequest) (*csi.ControllerExpandVolumeResponse, error) {
	c.images.Lock()
	defer c.images.Unlock()
	existing, err := c.images.size(request.GetVolumeId())
	if err != nil {
		return nil, err
	}
	if existing == 0 {
		return nil, status.Errorf(codes.NotFound, "no volume %s", request.GetVolumeId())
	}
	bytes, err := wanted(request.GetCapacityRange().GetRequiredBytes())
	if err != nil {
		return nil, err
	}
	if bytes = max(bytes, existing); bytes > existing {
		if err := c.images.enlarge(request.GetVolumeId(), bytes); err != nil {
			return nil, err
		}
	}
	return &csi.ControllerExpandVolumeResponse{CapacityBytes: bytes, NodeExpansionRequired: true}, nil
}

func (c *controller) ValidateVolumeCapabilities(_ context.Context, request *csi.ValidateVolumeCapabilitiesRequest) (*csi.ValidateVolumeCapabilitiesResponse, error) {
	confirmed := &csi.ValidateVolumeCapabilitiesResponse_Confirmed{VolumeCapabilities: request.GetVolumeCapabilities()}
	return &csi.ValidateVolumeCapabilitiesResponse{Confirmed: confirmed}, nil
}

func topology(node string) *csi.Topology {
	return &csi.Topology{Segments: map[string]string{topologyKey: node}}
}

// firstNode is the node that the scheduler chose, or "".
func firstNode(requirement *csi.TopologyRequirement) string {
	for _, topologies := range [][]*csi.Topology{requirement.GetPreferred(), requirement.GetRequisite()} {
		for _, one := range topologies {
			if node := one.GetSegments()[topologyKey]; node != "" {
				return node
			}
		}
	}
	return ""
}
