package real

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Files are the certificates that cases name, all of one authority.
type Files struct {
	authority, leaf, key []byte
	pair                 tls.Certificate
}

// NewFiles makes an authority, and one certificate for all.
func NewFiles() (*Files, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "cases"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	authority, err := x509.CreateCertificate(rand.Reader, ca, ca, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	of := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "case"}, NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
		DNSNames: []string{"client.example", "inner.example", "a.example", "b.example"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.CreateCertificate(rand.Reader, of, ca, &leafKey.PublicKey, key)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(leafKey)
	if err != nil {
		return nil, err
	}
	block := func(kind string, bytes []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes})
	}
	f := &Files{authority: block("CERTIFICATE", authority), leaf: block("CERTIFICATE", leaf), key: block("PRIVATE KEY", private)}
	f.pair, err = tls.X509KeyPair(f.leaf, f.key)
	return f, err
}

// Write puts what a path's name says at that path: a key, an authority, or a certificate.
func (f *Files) Write(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	name := filepath.Base(path)
	switch {
	case strings.HasSuffix(name, ".key"), strings.HasPrefix(name, "k"):
		return os.WriteFile(path, f.key, 0o600)
	case strings.HasPrefix(name, "ca"):
		return os.WriteFile(path, f.authority, 0o644)
	}
	return os.WriteFile(path, f.leaf, 0o644)
}
