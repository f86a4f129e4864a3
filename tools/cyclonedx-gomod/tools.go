//go:build tools

// Package cyclonedxgomod pins a program that make release runs: it lists what each binary is made of.
package cyclonedxgomod

import _ "github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod"
