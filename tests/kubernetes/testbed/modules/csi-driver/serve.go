package main

import (
	"context"
	"log"
	"net"
	"os"
	"path/filepath"
	"strings"

	"google.golang.org/grpc"
)

// service is a part of the driver that can be put behind a socket.
type service interface{ register(*grpc.Server) }

// serve listens on a Unix socket until something fails. A socket left over by an earlier run is replaced.
func serve(socket string, s service) error {
	if err := os.MkdirAll(filepath.Dir(socket), 0o750); err != nil {
		return err
	}
	if err := os.Remove(socket); err != nil && !os.IsNotExist(err) {
		return err
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	server := grpc.NewServer(grpc.UnaryInterceptor(logged))
	s.register(server)
	return server.Serve(listener)
}

// logged writes down what changes something, and what fails.
func logged(ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	answer, err := handle(ctx, request)
	method := filepath.Base(info.FullMethod)
	asks := method == "Probe" || strings.Contains(method, "Get")
	if err != nil || !asks {
		log.Printf("%s %v: %v %v", method, request, answer, err)
	}
	return answer, err
}
