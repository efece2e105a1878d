// Package random makes cases from a number: what follows from the same number is the same. They are small, and dense with
// what routes, destinations and gateways can say; some are wrong, so that validation is compared as well.
package random

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"portolan.test/istio-judge/corpus"
)

type fields = map[string]any

// maker makes one case.
type maker struct {
	*rand.Rand
	id       string
	services []corpus.Service
	subsets  map[string][]string
	gateways []string
	// The hosts of ServiceEntries.
	entries []string
}

// Cases are so many from the first on; each follows from the seed and its own number alone.
func Cases(seed uint64, first, count int) []*corpus.Case {
	var all []*corpus.Case
	for n := first; n < first+count; n++ {
		m := &maker{Rand: rand.New(rand.NewPCG(seed, uint64(n))), id: fmt.Sprintf("r%d-%d", seed, n), subsets: map[string][]string{}}
		all = append(all, m.build(n))
	}
	return all
}

func (m *maker) build(number int) *corpus.Case {
	c := &corpus.Case{Name: "random " + m.id, ID: m.id, Proxies: map[string]corpus.Proxy{}, Unknown: true}
	for n := range 2 + m.IntN(3) {
		c.Services = append(c.Services, m.service(n, number))
	}
	m.services = c.Services
	for n := range m.IntN(3) {
		c.Resources = append(c.Resources, m.entry(n, number))
	}
	for n := range m.IntN(4) {
		c.Resources = append(c.Resources, m.rule(n))
	}
	for n := range 1 + m.IntN(3) {
		c.Resources = append(c.Resources, m.gateway(n))
	}
	for n := range 1 + m.IntN(4) {
		c.Resources = append(c.Resources, m.virtual(n)...)
	}
	c.Proxies["gateway"] = corpus.Proxy{Type: "router", Namespace: m.id, Labels: map[string]string{"case": m.id}, Locality: m.place()}
	if m.chance(40) {
		c.Proxies["gateway2"] = corpus.Proxy{
			Type: "router", Namespace: m.id + "-x", Labels: map[string]string{"case": m.id, "app": "web"},
		}
	}
	if m.chance(60) {
		if m.chance(30) {
			c.Resources = append(c.Resources, m.sidecar())
		}
		c.Proxies["sidecar"] = corpus.Proxy{
			Type: "sidecar", Namespace: m.namespace(), Labels: m.labels(), HTTPProxy: 15080, Bound: m.chance(50), Locality: m.place(),
		}
	}
	return c
}

// place is where a proxy is.
func (m *maker) place() string { return pick(m, "", "", "cn/hz/a", "cn/hz", "cn", "de/fra", "us/x") }

// chance is true so many times of a hundred.
func (m *maker) chance(percent int) bool { return m.IntN(100) < percent }

func pick[T any](m *maker, of ...T) T { return of[m.IntN(len(of))] }

func (m *maker) host(name string) string { return name + "." + m.id + ".example" }

func (m *maker) namespace() string {
	if m.chance(75) {
		return m.id
	}
	return m.id + "-x"
}

func (m *maker) labels() map[string]string {
	return pick(m, nil, map[string]string{"app": "web"}, map[string]string{"app": "web", "tier": "x"}, map[string]string{"case": m.id})
}

func (m *maker) service(n, number int) corpus.Service {
	s := corpus.Service{
		Host: m.host(string(rune('a' + n))), Namespace: m.namespace(),
		Protocol: pick(m, "http", "http", "http", "http", "http2", "grpc", "tcp", "tls"),
	}
	s.Port = map[string]int{"http": 80, "http2": 80, "grpc": 9090, "tcp": 9000, "tls": 443}[s.Protocol]
	if s.Protocol == "http" && m.chance(20) {
		s.Port = pick(m, 8000, 7001)
	}
	for e := range m.IntN(4) {
		one := corpus.Endpoint{Address: fmt.Sprintf("10.%d.%d.%d", 100+number/250%100, number%250, 1+n*8+e), Port: 18080}
		one.Labels = map[string]string{"version": pick(m, "v1", "v1", "v2", "v3")}
		if m.chance(30) {
			one.Labels["zone"] = "x"
		}
		if m.chance(30) {
			one.Weight = 1 + m.IntN(4)
		}
		if m.chance(30) {
			one.Locality = pick(m, "cn/hz", "cn/sh/a", "de/fra")
		}
		s.Endpoints = append(s.Endpoints, one)
	}
	return s
}

// any is a host of some service, or, seldom, one that nobody has.
func (m *maker) any() string {
	if m.chance(4) {
		return m.host("nobody")
	}
	if len(m.entries) > 0 && m.chance(15) {
		return pick(m, m.entries...)
	}
	return pick(m, m.services...).Host
}

func (m *maker) destination() fields {
	host := m.any()
	d := fields{"host": host}
	if known := m.subsets[host]; len(known) > 0 && m.chance(60) {
		d["subset"] = pick(m, known...)
	} else if m.chance(4) {
		d["subset"] = "v9"
	}
	if m.chance(20) {
		d["port"] = fields{"number": m.portOf(host)}
	}
	return d
}

func (m *maker) portOf(host string) int {
	for _, s := range m.services {
		if s.Host == host && !m.chance(5) {
			return s.Port
		}
	}
	return 81
}

func (m *maker) exportTo(spec fields) {
	if m.chance(12) {
		spec["exportTo"] = []any{pick(m, ".", "*", m.id, m.id+"-x")}
	}
}

// entry is a ServiceEntry.
func (m *maker) entry(n, number int) corpus.Resource {
	host := m.host(fmt.Sprintf("entry%d", n))
	if m.chance(30) {
		host = "*." + host
	}
	m.entries = append(m.entries, host)
	resolution := pick(m, "STATIC", "STATIC", "NONE", "DNS")
	var ports []any
	for p, protocol := range pick(m, []string{"HTTP"}, []string{"HTTP"}, []string{"TCP"}, []string{"TLS"}, []string{"HTTP", "TCP"}, []string{"GRPC"}) {
		name := strings.ToLower(protocol)
		port := fields{"number": map[string]int{"HTTP": 80, "TCP": 9000, "TLS": 443, "GRPC": 9090}[protocol], "name": name, "protocol": protocol}
		if resolution != "NONE" && p == 0 && m.chance(30) {
			port["targetPort"] = 18080
		}
		ports = append(ports, port)
	}
	spec := fields{"hosts": []any{host}, "resolution": resolution, "ports": ports, "location": pick(m, "MESH_INTERNAL", "MESH_EXTERNAL")}
	if m.chance(40) {
		address := fmt.Sprintf("10.%d.%d.%d", 200+number/250%50, number%250, 1+n)
		spec["addresses"] = pick(m, []any{address}, []any{address + "/32"}, []any{fmt.Sprintf("10.%d.%d.0/24", 200+number/250%50, number%250)})
	}
	if resolution == "STATIC" || resolution == "DNS" && m.chance(50) {
		var endpoints []any
		for e := range 1 + m.IntN(2) {
			one := fields{"address": fmt.Sprintf("10.%d.%d.%d", 150+number/250%50, number%250, 1+n*8+e), "labels": fields{"version": pick(m, "v1", "v2")}}
			if m.chance(30) {
				one["weight"] = 1 + m.IntN(4)
			}
			if m.chance(30) {
				one["locality"] = pick(m, "cn/hz", "de/fra")
			}
			if m.chance(30) {
				one["ports"] = fields{ports[0].(fields)["name"].(string): 18081}
			}
			endpoints = append(endpoints, one)
		}
		spec["endpoints"] = endpoints
	}
	m.exportTo(spec)
	return corpus.Resource{Kind: "ServiceEntry", Namespace: m.namespace(), Name: fmt.Sprintf("se%d", n), Spec: spec}
}

// sidecar is a Sidecar that sees a part.
func (m *maker) sidecar() corpus.Resource {
	hosts := func() []any {
		return pick(m, []any{"*/*"}, []any{"./*"}, []any{"./*", m.id + "/*"}, []any{"*/" + pick(m, m.services...).Host}, []any{"*/" + m.host("*")}, []any{"~/*"})
	}
	var egress []any
	if m.chance(30) {
		number, protocol := 15081, "HTTP_PROXY"
		if m.chance(60) {
			number, protocol = pick(m, 80, 8000, 7001), "HTTP"
		}
		egress = append(egress, fields{"port": fields{"number": number, "protocol": protocol, "name": "p"}, "captureMode": "NONE", "hosts": hosts()})
	}
	egress = append(egress, fields{"hosts": hosts()})
	spec := fields{"egress": egress}
	if m.chance(30) {
		spec["outboundTrafficPolicy"] = fields{"mode": pick(m, "REGISTRY_ONLY", "ALLOW_ANY")}
	}
	if m.chance(30) {
		spec["workloadSelector"] = fields{"labels": fields{"app": "web"}}
	}
	return corpus.Resource{Kind: "Sidecar", Namespace: m.namespace(), Name: "sc", Spec: spec}
}

func (m *maker) gateway(n int) corpus.Resource {
	name := fmt.Sprintf("gw%d", n)
	namespace := m.namespace()
	m.gateways = append(m.gateways, namespace+"/"+name)
	selector := fields{"case": m.id}
	if m.chance(20) {
		selector["app"] = "web"
	}
	var servers []any
	for s := range 1 + m.IntN(2) {
		servers = append(servers, m.server(s))
	}
	return corpus.Resource{Kind: "Gateway", Namespace: namespace, Name: name, Spec: fields{"selector": selector, "servers": servers}}
}

func (m *maker) server(n int) fields {
	hosts := []any{}
	for range 1 + m.IntN(2) {
		host := pick(m, "*", m.host("*"), m.host("shop"), m.host("one"), m.host("two"))
		// Istio's generator panics at a host `*/*` beside others.
		if m.chance(15) && host != "*" {
			host = pick(m, m.id, m.id+"-x", ".", "*") + "/" + host
		}
		hosts = append(hosts, host)
	}
	port := func(number int, protocol string) fields {
		return fields{"number": number, "name": fmt.Sprintf("p%d", n), "protocol": protocol}
	}
	cert := fields{"mode": "SIMPLE", "serverCertificate": fmt.Sprintf("/etc/%d.pem", n), "privateKey": fmt.Sprintf("/etc/%d.key", n)}
	if m.chance(25) {
		cert["mode"], cert["caCertificates"] = "MUTUAL", "/etc/ca.pem"
	}
	if m.chance(20) {
		cert["minProtocolVersion"] = pick(m, "TLSV1_2", "TLSV1_3")
	}
	switch m.IntN(10) {
	case 0:
		return fields{"port": port(8080, "HTTP"), "hosts": hosts, "tls": fields{"httpsRedirect": true}}
	case 1, 2:
		return fields{"port": port(8443, "HTTPS"), "hosts": hosts, "tls": cert}
	case 3:
		return fields{"port": port(8443, pick(m, "TLS", "HTTPS")), "hosts": hosts, "tls": fields{"mode": "PASSTHROUGH"}}
	case 4:
		return fields{"port": port(9000, "TCP"), "hosts": hosts}
	case 5:
		return fields{"port": port(8081, pick(m, "HTTP2", "GRPC")), "hosts": hosts}
	}
	return fields{"port": port(8080, "HTTP"), "hosts": hosts}
}

// hosts of a VirtualService.
func (m *maker) hosts(mesh bool) []any {
	names := []string{m.host("shop"), m.host("one"), m.host("two"), m.host("*")}
	if mesh {
		for _, s := range m.services {
			names = append(names, s.Host, s.Host)
		}
		for _, entry := range m.entries {
			names = append(names, entry, strings.Replace(entry, "*", "x", 1))
		}
	} else {
		names = append(names, "*")
	}
	hosts := []any{pick(m, names...)}
	if m.chance(25) {
		hosts = append(hosts, pick(m, names...))
	}
	return hosts
}

func (m *maker) virtual(n int) []corpus.Resource {
	spec := fields{}
	mesh := m.chance(35)
	spec["hosts"] = m.hosts(mesh)
	gateways := []any{}
	if mesh {
		gateways = append(gateways, "mesh")
	}
	if !mesh || m.chance(50) {
		gateways = append(gateways, pick(m, m.gateways...))
		if m.chance(30) {
			gateways = append(gateways, pick(m, m.gateways...))
		}
	}
	if len(gateways) != 1 || gateways[0] != "mesh" || m.chance(50) {
		spec["gateways"] = gateways
	}
	m.exportTo(spec)
	name := fmt.Sprintf("vs%d", n)
	all := []corpus.Resource{}
	switch {
	case m.chance(8):
		spec["tcp"] = []any{fields{"route": m.plain()}}
	case m.chance(8):
		sni := pick(m, m.host("shop"), m.host("one"), m.host("*"))
		spec["hosts"] = []any{sni}
		spec["tls"] = []any{fields{"match": []any{fields{"sniHosts": []any{sni}}}, "route": m.plain()}}
	default:
		var routes []any
		for r := range 1 + m.IntN(4) {
			route := m.route(r)
			if m.chance(8) {
				leaf := name + "-leaf"
				route = fields{"match": []any{m.match()}, "delegate": fields{"name": leaf, "namespace": m.id}}
				all = append(all, corpus.Resource{Kind: "VirtualService", Namespace: m.id, Name: fmt.Sprintf("%s%d", leaf, r), Spec: fields{
					"http": []any{m.route(0), m.route(1)},
				}})
				route["delegate"].(fields)["name"] = fmt.Sprintf("%s%d", leaf, r)
			}
			routes = append(routes, route)
		}
		spec["http"] = routes
	}
	if m.chance(6) {
		m.spoil(spec)
	}
	return append(all, corpus.Resource{Kind: "VirtualService", Namespace: m.namespace(), Name: name, Spec: spec})
}

// plain are destinations without more.
func (m *maker) plain() []any {
	if m.chance(60) {
		return []any{fields{"destination": m.destination()}}
	}
	return []any{
		fields{"destination": m.destination(), "weight": m.IntN(5)}, fields{"destination": m.destination(), "weight": 1 + m.IntN(5)},
	}
}

// spoil makes a VirtualService that Istio may refuse.
func (m *maker) spoil(spec fields) {
	routes, _ := spec["http"].([]any)
	if len(routes) == 0 {
		spec["hosts"] = []any{}
		return
	}
	route := routes[m.IntN(len(routes))].(fields)
	switch m.IntN(10) {
	case 0:
		route["match"] = []any{fields{"uri": fields{"regex": pick(m, "/(", "/[a", "(?!x)", "*", "a{2000}", strings.Repeat("a", 1025))}}}
	case 1:
		route["redirect"] = fields{"uri": "/x"}
	case 2:
		route["timeout"] = pick(m, "0s", "-1s", "1us")
	case 3:
		route["retries"] = pick(m, fields{"attempts": -1}, fields{"attempts": 1, "retryOn": "never"}, fields{"attempts": 0, "perTryTimeout": "1s"})
	case 4:
		route["fault"] = fields{"abort": fields{"httpStatus": pick(m, 99, 601), "percentage": fields{"value": 1}}}
	case 5:
		route["fault"] = fields{"delay": fields{"fixedDelay": "1s", "percentage": fields{"value": pick(m, 101.0, -1.0, 0.00001)}}}
	case 6:
		route["match"] = []any{fields{"headers": fields{"x": fields{"prefix": ""}}}}
	case 7:
		route["headers"] = fields{"request": fields{"set": fields{"x": pick(m, "100%", "%REQ(", "a\nb")}}}
	case 8:
		spec["hosts"] = pick(m, []any{}, []any{"a..b"}, []any{"*.*.b"}, []any{"x", "x"}, []any{"*", "mesh"})
	case 9:
		route["rewrite"] = pick(m, fields{}, fields{"uri": "/x", "uriRegexRewrite": fields{"match": "a", "rewrite": "b"}}, fields{"uriRegexRewrite": fields{"match": "(", "rewrite": "b"}})
	}
}
