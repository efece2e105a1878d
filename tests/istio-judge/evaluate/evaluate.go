// Package evaluate decides what an Envoy, or a gRPC program, does with one call under one configuration: from the
// listener by address and port over filter chain, virtual host and route to the clusters with their endpoints.
//
// A decision is a flat table of texts, so that two of them can be compared field by field. It is normalised: what
// means the same is written the same (shares instead of weights, the headers that result instead of the list of
// changes, Envoy's defaults left out). What no rule of this package reads is written as it is, so nothing is lost.
package evaluate

import (
	"fmt"
	"sort"
	"strings"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
)

// Output is what one control plane gives one proxy.
type Output struct {
	Listeners []*listener.Listener
	Routes    map[string]*route.RouteConfiguration
	Clusters  map[string]*cluster.Cluster
	// Endpoints gives the assignment of that name, or nil.
	Endpoints func(name string) *endpoint.ClusterLoadAssignment
}

// Header is one line of a request; names are in lower case.
type Header struct{ Name, Value string }

// Call is one request, or one connection, as a client makes it.
type Call struct {
	// Address is where it connects to; empty is any address of the proxy's own.
	Address string
	Port    uint32
	// Redirected says that iptables hands the connection to the proxy's listener for that.
	Redirected  bool
	TLS         bool
	SNI         string
	ALPN        []string
	Certificate bool
	// Raw is a connection that speaks no HTTP.
	Raw     bool
	HTTP2   bool
	Method  string
	Host    string
	Path    string
	Headers []Header
	// Target makes it the call of a gRPC program to `xds:///TARGET`.
	Target string
}

func (c Call) scheme() string {
	if c.TLS {
		return "https"
	}
	return "http"
}

// value is a header's, several lines joined.
func (c Call) value(name string) (string, bool) {
	all := c.values(name)
	return strings.Join(all, ","), len(all) > 0
}

// values are those of a header's lines.
func (c Call) values(name string) []string {
	switch name {
	case ":method":
		return []string{c.Method}
	case ":authority", "host":
		return []string{c.Host}
	case ":path":
		return []string{c.Path}
	case ":scheme":
		return []string{c.scheme()}
	}
	var all []string
	for _, header := range c.Headers {
		if header.Name == name {
			all = append(all, header.Value)
		}
	}
	return all
}

// String is the call as the corpus writes it.
func (c Call) String() string {
	var out strings.Builder
	if c.Target != "" {
		fmt.Fprintf(&out, "grpc://%s%s", c.Target, c.Path)
	} else if c.Raw {
		fmt.Fprintf(&out, "TCP %s:%d", c.Address, c.Port)
	} else {
		fmt.Fprintf(&out, "%s %s://%s%s :%d", c.Method, c.scheme(), c.Host, c.Path, c.Port)
	}
	if c.TLS {
		fmt.Fprintf(&out, " sni=%s", c.SNI)
	}
	if c.Certificate {
		out.WriteString(" certificate")
	}
	if c.Redirected {
		fmt.Fprintf(&out, " redirected from %s", c.Address)
	}
	for _, header := range c.Headers {
		fmt.Fprintf(&out, " %s=%s", header.Name, header.Value)
	}
	return out.String()
}

// Decision is what happens, field by field.
type Decision map[string]string

// What a call ends with.
const (
	// Kind is one of the words below.
	Kind = "kind"
	// To is where it goes: a cluster, or several with their shares.
	To = "to"

	KindRefused  = "refused"  // no listener
	KindReset    = "reset"    // the connection ends without an answer
	KindDoubled  = "doubled"  // Envoy does not take the listener
	KindNoRoute  = "404"      // no virtual host, or no route
	KindRoute    = "route"    // HTTP to clusters
	KindTCP      = "tcp"      // bytes to clusters
	KindRedirect = "redirect" // a status and a place
	KindDirect   = "direct"   // a status and a body
	KindDrop     = "drop"     // a route without an action
)

// Decide says what happens to a call.
func (o *Output) Decide(call Call) Decision {
	d := Decision{}
	if call.Target != "" {
		o.program(call, d)
		return d
	}
	found := o.listener(call)
	if found == nil {
		d[Kind] = KindRefused
		return d
	}
	o.connection(found, call, d)
	return d
}

func (d Decision) end(kind, why string) {
	d[Kind] = kind
	d.note("why", why)
}

// note is for people; it is not compared.
func (d Decision) note(key, value string) { d["("+key+")"] = value }

// Notes says whether a field is for people only.
func Notes(key string) bool { return strings.HasPrefix(key, "(") }

// Differences are the names of the fields that two decisions have different, in order.
func Differences(a, b Decision) []string {
	var names []string
	for key, value := range a {
		if other, ok := b[key]; !Notes(key) && (!ok || other != value) {
			names = append(names, key)
		}
	}
	for key := range b {
		if _, ok := a[key]; !Notes(key) && !ok {
			names = append(names, key)
		}
	}
	sort.Slice(names, func(i, j int) bool { return rank(names[i]) < rank(names[j]) })
	return names
}

// rank puts first what decides most.
func rank(key string) string {
	for n, first := range []string{Kind, To, "redirect.", "direct.", "path", "authority"} {
		if strings.HasPrefix(key, first) {
			return fmt.Sprint(n) + key
		}
	}
	return "9" + key
}
