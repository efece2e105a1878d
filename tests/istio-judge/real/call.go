package real

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"portolan.test/istio-judge/evaluate"
)

// Scene is where calls are made.
type Scene struct {
	binary, folder string
	files          *Files
	envoy          *Envoy
}

// NewScene starts the endpoints.
func NewScene(binary string, files *Files) (*Scene, error) {
	folder, err := os.MkdirTemp("", "judge")
	if err != nil {
		return nil, err
	}
	return &Scene{binary: binary, folder: folder, files: files}, serveEchoes(files.pair)
}

// Become replaces the Envoy by one of another node.
func (s *Scene) Become(server string, node *core.Node) (err error) {
	s.End()
	s.envoy, err = start(s.binary, s.folder, server, node)
	return err
}

// End ends the Envoy.
func (s *Scene) End() {
	if s.envoy != nil {
		s.envoy.end()
		s.envoy = nil
	}
}

// answered is what came back.
type answered struct {
	refused, reset bool
	status         int
	header         http.Header
	body           string
}

// Try makes a call, and says what is not as it was decided; "" if all is. The second is false where the call cannot be made so
// that its outcome is known.
func (s *Scene) Try(call evaluate.Call, d evaluate.Decision) (string, bool) {
	if reason := unsure(call, d); reason != "" {
		return "", false
	}
	a := s.make(call, d)
	switch d[evaluate.Kind] {
	case evaluate.KindRefused:
		return unless(a.refused, "it is answered %+v", a), true
	case evaluate.KindReset:
		return unless(a.refused || a.reset || a.status == 400, "it is answered %+v", a), true
	case evaluate.KindNoRoute:
		return unless(a.status == 404 && a.header.Get("x-echoed") == "", "it is answered %+v", a), true
	case evaluate.KindRedirect:
		return unless(fmt.Sprint(a.status) == d["redirect.status"] && a.header.Get("location") == d["redirect.location"],
			"it is answered %d %q", a.status, a.header.Get("location")), true
	case evaluate.KindDirect:
		return unless(fmt.Sprint(a.status) == d["direct.status"] && a.body == d["direct.body"], "it is answered %d %q", a.status, a.body), true
	}
	return forwarded(a, d), true
}

func unless(right bool, format string, words ...any) string {
	if right {
		return ""
	}
	return fmt.Sprintf(format, words...)
}

// unsure is why nothing can be said of a call beforehand.
func unsure(call evaluate.Call, d evaluate.Decision) string {
	switch {
	case call.Redirected || call.Target != "" || call.HTTP2:
		return "not made here"
	case call.Raw && d[evaluate.Kind] != evaluate.KindTCP && d[evaluate.Kind] != evaluate.KindRefused:
		return "whatever it sends"
	case call.Address != "" && !strings.HasPrefix(call.Address, "10."):
		return "no address of ours"
	case !slices.Contains([]string{"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"}, call.Method) && !call.Raw:
		return "answered by a filter or the parser"
	case strings.Contains(d[evaluate.To], "PassthroughCluster") || strings.Contains(d[evaluate.To], "BlackHoleCluster"):
		return "goes nowhere"
	}
	for key, value := range d {
		switch {
		case strings.Contains(key, "fault.") && strings.HasSuffix(key, "percentage") && value != "0%":
			return "a fault"
		case strings.HasPrefix(key, "cluster ") && (strings.Contains(key, ".tls") || strings.Contains(key, "max_requests_per")):
			return "TLS to the upstream"
		case strings.HasPrefix(key, "cluster ") && strings.HasSuffix(key, ".type") && value != "EDS":
			return "names"
		case strings.HasSuffix(key, ".endpoints") && value != "" && !strings.Contains(value, ":18080"):
			return "an endpoint that is not ours"
		case strings.Contains(key, "request.") && (strings.Contains(value, "%") || strings.Contains(key, " y")):
			return "a value that Envoy makes, or refuses to send"
		}
	}
	return ""
}

func (s *Scene) make(call evaluate.Call, d evaluate.Decision) answered {
	address := call.Address
	if address == "" {
		address = "127.0.0.1"
	}
	conn, err := net.DialTimeout("tcp", fmt.Sprintf("%s:%d", address, call.Port), 5*time.Second)
	if err != nil {
		return answered{refused: true}
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if call.TLS {
		settings := &tls.Config{ServerName: call.SNI, InsecureSkipVerify: true, NextProtos: call.ALPN}
		if call.Certificate {
			settings.Certificates = []tls.Certificate{s.files.pair}
		}
		conn = tls.Client(conn, settings)
	}
	if call.Raw {
		call.Method, call.Path, call.Host = "GET", "/", "raw"
	}
	var names []string
	for key := range d {
		if _, name, ok := strings.Cut(key, "response."); ok && !strings.HasPrefix(name, "bare.") && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	text := fmt.Sprintf("%s %s HTTP/1.1\r\nhost: %s\r\nconnection: close\r\nx-echo: %s\r\n", call.Method, call.Path, call.Host, strings.Join(names, ","))
	for _, header := range call.Headers {
		text += header.Name + ": " + header.Value + "\r\n"
	}
	if _, err := io.WriteString(conn, text+"\r\n"); err != nil {
		return answered{reset: true}
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: call.Method})
	if err != nil {
		return answered{reset: true, body: err.Error()}
	}
	body, _ := io.ReadAll(response.Body)
	return answered{status: response.StatusCode, header: response.Header, body: string(body)}
}

// forwarded compares what an upstream has seen.
func forwarded(a answered, d evaluate.Decision) string {
	// The endpoints that it may come to, and which of several destinations has each.
	of := map[string]string{}
	for key, value := range d {
		name, ok := strings.CutSuffix(strings.TrimPrefix(key, "cluster "), ".endpoints")
		if !ok || !strings.HasPrefix(key, "cluster ") || !strings.Contains(d[evaluate.To], name) {
			continue
		}
		for _, one := range strings.Split(value, ", ") {
			if words := strings.Fields(one); len(words) == 3 && words[0] == "0" {
				of[words[1]] += " " + name
			}
		}
	}
	missing := len(of) == 0 || strings.Contains(d[evaluate.To], "(no cluster)")
	if a.status == 503 && a.header.Get("x-echoed") == "" && (missing || strings.Contains(d[evaluate.To], "%")) {
		return ""
	}
	if a.reset && d[evaluate.Kind] == evaluate.KindTCP && missing {
		return ""
	}
	if a.header.Get("x-echoed") == "" || a.status != 200 {
		return fmt.Sprintf("it does not come to an endpoint: %+v", a)
	}
	if a.body == "" {
		return "" // HEAD
	}
	var seen echo
	if err := json.Unmarshal([]byte(a.body), &seen); err != nil {
		return fmt.Sprintf("%v: %s", err, a.body)
	}
	names, ok := of[seen.Endpoint]
	if !ok {
		return fmt.Sprintf("it comes to %s", seen.Endpoint)
	}
	if d[evaluate.Kind] == evaluate.KindTCP {
		return ""
	}
	under := ""
	for key := range d {
		if to, _, ok := strings.Cut(strings.TrimPrefix(key, "to "), ": "); ok && strings.HasPrefix(key, "to ") && strings.Contains(names+" ", " "+to+" ") {
			under = "to " + to + ": "
		}
	}
	authority := d["authority"]
	if own, ok := d[under+"authority"]; ok {
		authority = own
	}
	switch {
	case seen.Path != d["path"]:
		return fmt.Sprintf("the upstream sees the path %q", seen.Path)
	case seen.Authority != authority:
		return fmt.Sprintf("the upstream sees the authority %q", seen.Authority)
	}
	for key, value := range d {
		if name, ok := strings.CutPrefix(key, under+"request."); ok {
			is := strings.Join(seen.Headers[name], ",")
			if value == "(removed)" && is != "" || value != "(removed)" && is != value {
				return fmt.Sprintf("the upstream sees %s: %q, not %q", name, is, value)
			}
		}
		if name, ok := strings.CutPrefix(key, under+"response."); ok && !strings.HasPrefix(name, "bare.") && !strings.Contains(value, "%") {
			is := strings.Join(a.header.Values(name), ",")
			// A server header that is taken away is put again by Envoy.
			if name != "server" && (value == "(removed)" && is != "" || value != "(removed)" && is != value) {
				return fmt.Sprintf("the client sees %s: %q, not %q", name, is, value)
			}
		}
	}
	return ""
}
