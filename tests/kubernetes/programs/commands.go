//go:build commands

// Package programs names the commands that build.sh builds as they are, so that `go mod tidy` keeps what they need.
package programs

import (
	_ "helm.sh/helm/v3/cmd/helm"
	_ "k8s.io/kubernetes/cmd/kubectl"
)
