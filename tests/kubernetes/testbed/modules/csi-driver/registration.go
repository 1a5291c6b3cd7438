package main

import (
	"context"
	"log"

	"google.golang.org/grpc"
	kubelet "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

// registration tells the kubelet where the driver's socket is: what node-driver-registrar does elsewhere.
type registration struct {
	kubelet.UnimplementedRegistrationServer
	endpoint string
}

func (r *registration) register(server *grpc.Server) { kubelet.RegisterRegistrationServer(server, r) }

func (r *registration) GetInfo(context.Context, *kubelet.InfoRequest) (*kubelet.PluginInfo, error) {
	return &kubelet.PluginInfo{
		Type:              kubelet.CSIPlugin,
		Name:              driverName,
		Endpoint:          r.endpoint,
		SupportedVersions: []string{"1.0.0"},
	}, nil
}

func (r *registration) NotifyRegistrationStatus(_ context.Context, s *kubelet.RegistrationStatus) (*kubelet.RegistrationStatusResponse, error) {
	log.Printf("registered with the kubelet: %v %s", s.GetPluginRegistered(), s.GetError())
	return &kubelet.RegistrationStatusResponse{}, nil
}
