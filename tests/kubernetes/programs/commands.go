//go:build commands

// Package programs names the command that build.sh builds as it is, so that `go mod tidy` keeps what it needs.
package programs

import (
	_ "k8s.io/kubernetes/cmd/kubectl"
)
