// Package real makes calls through a real Envoy, and compares what comes back with decisions. Everything happens in a
// network of its own, in which all of 10.0.0.0/8 is this machine's: the endpoints of the cases are there.
package real

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"net"
	"net/http"
	"strings"
)

// EchoPort is the port of every endpoint.
const EchoPort = 18080

// echo is what an upstream has seen.
type echo struct {
	Endpoint  string              `json:"endpoint"`
	Path      string              `json:"path"`
	Authority string              `json:"authority"`
	Headers   map[string][]string `json:"headers"`
}

// peeked is a connection whose first byte was looked at.
type peeked struct {
	net.Conn
	reader *bufio.Reader
}

func (p peeked) Read(into []byte) (int, error) { return p.reader.Read(into) }

// either is a socket that takes connections with and without TLS.
type either struct {
	net.Listener
	tls  *tls.Config
	have chan net.Conn
}

func (e either) Accept() (net.Conn, error) {
	conn, ok := <-e.have
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}

func (e either) take() {
	for {
		conn, err := e.Listener.Accept()
		if err != nil {
			close(e.have)
			return
		}
		go func() {
			reader := bufio.NewReader(conn)
			first, err := reader.Peek(1)
			if err != nil {
				_ = conn.Close()
				return
			}
			var taken net.Conn = peeked{conn, reader}
			if first[0] == 0x16 {
				taken = tls.Server(taken, e.tls)
			}
			e.have <- taken
		}()
	}
}

// serveEchoes answers on every address of the machine.
func serveEchoes(certificate tls.Certificate) error {
	socket, err := net.Listen("tcp", "0.0.0.0:18080")
	if err != nil {
		return err
	}
	both := either{socket, &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"h2", "http/1.1"}}, make(chan net.Conn)}
	go both.take()
	server := &http.Server{Handler: http.HandlerFunc(answer), Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	server.Protocols.SetHTTP2(true)
	go func() { _ = server.Serve(both) }()
	return nil
}

// answer says what was seen, with the headers that the call asks for.
func answer(w http.ResponseWriter, r *http.Request) {
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	seen := echo{Endpoint: local.String(), Path: r.RequestURI, Authority: r.Host, Headers: map[string][]string{}}
	for name, values := range r.Header {
		seen.Headers[strings.ToLower(name)] = values
	}
	for _, name := range strings.Split(r.Header.Get("x-echo"), ",") {
		if name != "" {
			w.Header().Set(name, "upstream")
		}
	}
	w.Header().Set("x-echoed", "yes")
	_ = json.NewEncoder(w).Encode(seen)
}
