package main

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	mib = int64(1) << 20
	// XFS needs 16 MiB at least.
	smallest = 16 * mib
	// Above this nothing is made or grown: so that tests can see a growth that fails.
	largest = 64 * 1024 * mib
)

// imageStore is the folder of image files. It knows nothing of Kubernetes or CSI requests.
type imageStore struct {
	folder string
	// One change at a time: simple, and quick enough.
	sync.Mutex
}

// path is where a volume's image lies; ids that would leave the folder are refused.
func (s *imageStore) path(id string) (string, error) {
	if id == "" || strings.Contains(id, "/") || strings.HasPrefix(id, ".") {
		return "", status.Error(codes.InvalidArgument, "bad volume id")
	}
	return filepath.Join(s.folder, id+".img"), nil
}

// size is the image's size in bytes; 0 when there is no such image.
func (s *imageStore) size(id string) (int64, error) {
	path, err := s.path(id)
	if err != nil {
		return 0, err
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// create makes and formats an image, whole or not at all: it gets its name last.
func (s *imageStore) create(id string, bytes int64) error {
	path, err := s.path(id)
	if err != nil {
		return err
	}
	partial := path + ".new"
	if err := os.WriteFile(partial, nil, 0o600); err != nil {
		return err
	}
	defer os.Remove(partial)
	if err := os.Truncate(partial, bytes); err != nil {
		return err
	}
	// Below 300 MiB mkfs.xfs wants to be told --unsupported.
	if _, err := run("mkfs.xfs", "-q", "-f", "--unsupported", partial); err != nil {
		return err
	}
	return os.Rename(partial, path)
}

// enlarge makes the file longer; the file system in it is grown where it is mounted.
func (s *imageStore) enlarge(id string, bytes int64) error {
	path, err := s.path(id)
	if err != nil {
		return err
	}
	return os.Truncate(path, bytes)
}

// remove deletes an image that no loop device holds. One that is not there is no error.
func (s *imageStore) remove(id string) error {
	path, err := s.path(id)
	if err != nil {
		return err
	}
	if bytes, err := s.size(id); err != nil || bytes == 0 {
		return err
	}
	device, err := s.device(id)
	if err != nil {
		return err
	}
	if device != "" {
		return status.Errorf(codes.FailedPrecondition, "%s is in use by %s", id, device)
	}
	return os.Remove(path)
}

// device is the loop device that holds the image, or "".
func (s *imageStore) device(id string) (string, error) {
	path, err := s.path(id)
	if err != nil {
		return "", err
	}
	found, err := run("losetup", "--noheadings", "--output", "NAME", "--associated", path)
	first, _, _ := strings.Cut(found, "\n")
	return strings.TrimSpace(first), err
}

// wanted turns the bytes asked for into an image's size: whole MiB, and at least what XFS needs.
func wanted(asked int64) (int64, error) {
	bytes := (max(asked, smallest) + mib - 1) / mib * mib
	if bytes > largest {
		return 0, status.Errorf(codes.OutOfRange, "%d bytes asked for: volumes of this driver have at most %d", asked, largest)
	}
	return bytes, nil
}

// run is a command's output; what it said is in the error.
func run(name string, arguments ...string) (string, error) {
	output, err := exec.Command(name, arguments...).CombinedOutput()
	if err != nil {
		return "", status.Errorf(codes.Internal, "%s %s: %v: %s", name, strings.Join(arguments, " "), err, output)
	}
	return strings.TrimSpace(string(output)), nil
}
