package lend

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"time"
)

// validFor is how long the certificates of an authority are good: longer than any init.
const validFor = 7 * 24 * time.Hour

// Certify makes an authority that nobody keeps, shows with it a certificate for each site of scheme https, and returns it as PEM. Programs that
// believe it can be shown nothing else by it: it is good for the hosts of the sites alone.
func Certify(sites []Site, now time.Time) (authority []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	ca := certificate(now, "planlatch, for one execution")
	ca.IsCA, ca.BasicConstraintsValid, ca.MaxPathLenZero, ca.KeyUsage = true, true, true, x509.KeyUsageCertSign
	constrain(ca, sites)
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	for i := range sites {
		if sites[i].Scheme != "https" {
			continue
		}
		host, _, err := net.SplitHostPort(sites[i].Host)
		if err != nil {
			return nil, err
		}
		leaf := certificate(now, host)
		leaf.KeyUsage, leaf.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		if ip := net.ParseIP(host); ip != nil {
			leaf.IPAddresses = []net.IP{ip}
		} else {
			leaf.DNSNames = []string{host}
		}
		leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, leafKey.Public(), key)
		if err != nil {
			return nil, fmt.Errorf("make a certificate: %w", err)
		}
		sites[i].Certificate = &tls.Certificate{Certificate: [][]byte{leafDER, der}, PrivateKey: leafKey}
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}

func certificate(now time.Time, name string) *x509.Certificate {
	var serial [16]byte
	_, _ = rand.Read(serial[:]) // never fails
	serial[0] &= 0x7f           // positive
	return &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(serial[:]), Subject: pkix.Name{CommonName: name[:min(len(name), 64)]},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(validFor),
	}
}

// constrain makes an authority good for the hosts of sites and nothing else.
func constrain(ca *x509.Certificate, sites []Site) {
	ca.PermittedDNSDomainsCritical = true
	ca.PermittedDNSDomains = []string{"planlatch.invalid"} // none of a kind would allow all of it
	for _, s := range sites {
		host, _, _ := net.SplitHostPort(s.Host) // made by hostPort
		ip := net.ParseIP(host)
		switch {
		case ip == nil:
			ca.PermittedDNSDomains = append(ca.PermittedDNSDomains, host)
		case ip.To4() != nil:
			ca.PermittedIPRanges = append(ca.PermittedIPRanges, &net.IPNet{IP: ip.To4(), Mask: net.CIDRMask(32, 32)})
		default:
			ca.PermittedIPRanges = append(ca.PermittedIPRanges, &net.IPNet{IP: ip, Mask: net.CIDRMask(128, 128)})
		}
	}
	if len(ca.PermittedIPRanges) == 0 {
		ca.ExcludedIPRanges = []*net.IPNet{{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}, {IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}}
	}
}
