package corpus

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"portolan.test/istio-judge/evaluate"
)

// Proxy is one that asks a control plane.
type Proxy struct {
	// Type is router, sidecar or grpc.
	Type      string            `yaml:"type"`
	Namespace string            `yaml:"namespace"`
	Labels    map[string]string `yaml:"labels"`
	Locality  string            `yaml:"locality"`
	// HTTPProxy is the port of a sidecar's listener for clients that honour HTTP_PROXY.
	HTTPProxy int `yaml:"http_proxy"`
	// Bound says that nothing redirects to the sidecar: each port has a socket of its own.
	Bound bool `yaml:"bound"`
}

const httpProxy = 15080

// complete gives the proxies that calls name what a proxy needs.
func (c *Case) complete() {
	for _, call := range c.Calls {
		name, _ := proxyOf(call.Text)
		if _, ok := c.Proxies[name]; !ok {
			c.Proxies[name] = Proxy{}
		}
	}
	for name, proxy := range c.Proxies {
		if proxy.Type == "" {
			proxy.Type = map[string]string{"sidecar": "sidecar", "grpc": "grpc"}[strings.TrimRight(name, "0123456789")]
		}
		if proxy.Type == "" {
			proxy.Type = "router"
		}
		if proxy.Namespace == "" {
			proxy.Namespace = c.ID
		}
		if proxy.Labels == nil && proxy.Type == "router" {
			proxy.Labels = map[string]string{"case": c.ID}
		}
		if proxy.HTTPProxy == 0 && proxy.Type == "sidecar" {
			proxy.HTTPProxy = httpProxy
		}
		c.Proxies[name] = proxy
	}
}

var verbs = regexp.MustCompile(`^([A-Z]+|grpc:\S+)$`)

// proxyOf splits a call's text into its proxy, `gateway` by default, and the rest.
func proxyOf(text string) (string, string) {
	first, rest, _ := strings.Cut(text, " ")
	switch {
	case strings.HasPrefix(text, "grpc:"):
		return "grpc", text
	case verbs.MatchString(first):
		return "gateway", text
	}
	return first, rest
}

// Parse reads a call: `[PROXY] METHOD [http[s]://]HOST[/PATH] [WORD...]`, `[PROXY] TCP|TLS [WORD...]`, or
// `grpc://TARGET/Service/Method [WORD...]`. Words are `port=`, `sni=`, `to=` (the address that iptables redirects from), `certificate`, `h2`,
// `alpn=`, and else headers. A host without a dot is in the case's domain; `!` at its end keeps it as it is.
func (c *Case) Parse(text string) (string, evaluate.Call, error) {
	proxy, rest := proxyOf(text)
	call := evaluate.Call{Method: "GET", Path: "/"}
	words := strings.Fields(rest)
	if len(words) == 0 {
		return proxy, call, fmt.Errorf("%q is no call", text)
	}
	switch first := words[0]; {
	case strings.HasPrefix(first, "grpc://"):
		target, path, _ := strings.Cut(strings.TrimPrefix(first, "grpc://"), "/")
		call.Target, call.Path, call.Method, call.HTTP2 = c.host(target), "/"+path, "POST", true
		call.Headers = append(call.Headers, evaluate.Header{Name: "content-type", Value: "application/grpc"})
		words = words[1:]
	case first == "TCP" || first == "TLS":
		call.Raw, call.TLS, words = true, first == "TLS", words[1:]
	case len(words) < 2:
		return proxy, call, fmt.Errorf("%q has no host", text)
	default:
		call.Method = first
		url := words[1]
		if bare, ok := strings.CutPrefix(url, "https://"); ok {
			call.TLS, url = true, bare
		}
		host, path, _ := strings.Cut(strings.TrimPrefix(url, "http://"), "/")
		call.Host, call.Path = c.host(host), "/"+path
		words = words[2:]
	}
	if err := c.words(&call, words); err != nil {
		return proxy, call, fmt.Errorf("%q: %v", text, err)
	}
	c.port(proxy, &call)
	return proxy, call, nil
}

func (c *Case) words(call *evaluate.Call, words []string) error {
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "port":
			port, err := strconv.Atoi(value)
			if err != nil {
				return err
			}
			call.Port = uint32(port)
		case "sni":
			call.SNI = c.host(value)
		case "to":
			call.Address, call.Redirected = value, true
		case "at":
			call.Address = value
		case "alpn":
			call.ALPN = strings.Split(value, ",")
		case "certificate":
			call.Certificate = true
		case "h2":
			call.HTTP2 = true
		default:
			call.Headers = append(call.Headers, evaluate.Header{Name: key, Value: value})
		}
	}
	return nil
}

// port is that of the usual listener, and TLS names the host.
func (c *Case) port(proxy string, call *evaluate.Call) {
	if call.TLS && call.SNI == "" && !call.Raw {
		call.SNI = bare(call.Host)
	}
	switch {
	case call.Port != 0 || call.Target != "":
	case c.Proxies[proxy].Type == "sidecar" && !call.Redirected && !call.Raw:
		call.Port = uint32(c.Proxies[proxy].HTTPProxy)
	case c.Proxies[proxy].Type == "sidecar":
		call.Port = 80
	case call.TLS:
		call.Port = 8443
	default:
		call.Port = 8080
	}
}

func (c *Case) host(text string) string {
	host, port, has := strings.Cut(text, ":")
	if kept, ok := strings.CutSuffix(host, "!"); ok {
		host = kept
	} else if host != "" && !strings.Contains(host, ".") {
		host += "." + c.Domain()
	}
	if has {
		return host + ":" + port
	}
	return host
}

func bare(host string) string {
	name, _, _ := strings.Cut(host, ":")
	return name
}

var cluster = regexp.MustCompile(`outbound\|(\d+)\|([^|]*)\|([^ ,]+)`)

// Short writes clusters as cases do: `a`, `a/v1`, `a:9090`.
func (c *Case) Short(text string) string {
	return cluster.ReplaceAllStringFunc(text, func(name string) string {
		parts := cluster.FindStringSubmatch(name)
		short := strings.TrimSuffix(parts[3], "."+c.Domain())
		if parts[1] != "80" {
			short += ":" + parts[1]
		}
		if parts[2] != "" {
			short += "/" + parts[2]
		}
		return short
	})
}

// Summary is what a decision comes to, in a few words.
func (c *Case) Summary(d evaluate.Decision) string {
	switch d[evaluate.Kind] {
	case evaluate.KindRoute:
		return c.Short(d[evaluate.To])
	case evaluate.KindTCP:
		return "tcp " + c.Short(d[evaluate.To])
	case evaluate.KindRedirect:
		return d["redirect.status"] + " " + d["redirect.location"]
	case evaluate.KindDirect:
		return strings.TrimSpace("direct " + d["direct.status"] + " " + d["direct.body"])
	}
	return d[evaluate.Kind]
}

// Check compares with what is expected: `SUMMARY; FIELD=VALUE; FIELD=VALUE`. A field that is to be absent has no value.
func (c *Case) Check(expected string, d evaluate.Decision) error {
	parts := strings.Split(expected, "; ")
	if summary := c.Summary(d); summary != parts[0] {
		return fmt.Errorf("expected %q, is %q (%s)", parts[0], summary, d["(why)"])
	}
	for _, part := range parts[1:] {
		key, value, _ := strings.Cut(part, "=")
		key = c.long(key)
		if d[key] != value {
			return fmt.Errorf("expected %s=%q, is %q", key, value, d[key])
		}
	}
	return nil
}

// long is the field that `a.lb_policy` stands for: that of the cluster `a`.
func (c *Case) long(key string) string {
	rest, ok := strings.CutPrefix(key, "@")
	if !ok {
		return key
	}
	name, field, _ := strings.Cut(rest, ".")
	name, subset, _ := strings.Cut(name, "/")
	name, port, _ := strings.Cut(name, ":")
	if port == "" {
		port = "80"
	}
	return fmt.Sprintf("cluster outbound|%s|%s|%s.%s", port, subset, c.host(name), field)
}
