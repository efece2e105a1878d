// Package probe makes calls out of a configuration: for each route one call that it takes, and for each of its
// conditions near misses. It reads what two control planes made, so that what only one of them has is called, too.
package probe

import (
	"strings"

	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"portolan.test/istio-judge/evaluate"
)

// most calls of one proxy.
const most = 4000

// Calls are those of a proxy, without doubles. A virtual host counts if one of its domains is wanted.
func Calls(outputs []*evaluate.Output, wanted func(domain string) bool) []evaluate.Call {
	var all []evaluate.Call
	seen := map[string]bool{}
	add := func(call evaluate.Call) {
		if text := call.String(); !seen[text] && len(all) < most {
			seen[text] = true
			all = append(all, call)
		}
	}
	for _, out := range outputs {
		for _, l := range out.Listeners {
			ofListener(out, l, wanted, add)
		}
	}
	return all
}

func ofListener(out *evaluate.Output, l *listener.Listener, wanted func(string) bool, add func(evaluate.Call)) {
	port := l.GetAddress().GetSocketAddress().GetPortValue()
	if l.GetApiListener() != nil || l.GetUseOriginalDst().GetValue() || strings.HasPrefix(l.GetName(), "virtual") {
		return
	}
	base := evaluate.Call{Method: "GET", Path: "/", Port: port, Host: "any.invalid"}
	if bind := l.GetBindToPort(); bind != nil && !bind.GetValue() {
		base.Redirected, base.Address = true, "192.0.2.1"
		if own := l.GetAddress().GetSocketAddress().GetAddress(); own != "0.0.0.0" && own != "::" {
			base.Address = own
		}
	}
	// Whatever comes, in the clear and by TLS.
	add(base)
	add(evaluate.Call{Raw: true, Port: port, Address: base.Address, Redirected: base.Redirected})
	for _, chain := range l.GetFilterChains() {
		for _, call := range connections(base, chain) {
			raw := call
			raw.Raw = true
			add(raw)
			add(call)
		}
	}
	evaluate.Managers(l, func(chain *listener.FilterChain, manager *hcm.HttpConnectionManager) {
		rc := manager.GetRouteConfig()
		if rds := manager.GetRds(); rds != nil {
			rc = out.Routes[rds.GetRouteConfigName()]
		}
		for _, call := range connections(base, chain)[:1] {
			for _, vh := range rc.GetVirtualHosts() {
				ofHost(vh, call, wanted, add)
			}
		}
	})
}

// connections are those that a chain takes, first, and near misses.
func connections(base evaluate.Call, chain *listener.FilterChain) []evaluate.Call {
	m := chain.GetFilterChainMatch()
	if ranges := m.GetPrefixRanges(); len(ranges) > 0 {
		base.Address = ranges[0].GetAddressPrefix()
	}
	if chain.GetTransportSocket() == nil && len(m.GetServerNames()) == 0 && m.GetTransportProtocol() != "tls" {
		return []evaluate.Call{base}
	}
	names := m.GetServerNames()
	if len(names) == 0 {
		names = []string{"any.invalid"}
	}
	var all []evaluate.Call
	for _, name := range names {
		call := base
		call.TLS, call.Certificate = true, true
		call.SNI = strings.Replace(name, "*", "sample", 1)
		call.Host = call.SNI
		all = append(all, call)
		for _, sni := range []string{"x" + call.SNI, strings.ToUpper(call.SNI), "", "deep." + call.SNI} {
			other := call
			other.SNI = sni
			all = append(all, other)
		}
		other := call
		other.Certificate = false
		all = append(all, other)
	}
	plain := all[0]
	plain.TLS, plain.Certificate, plain.SNI = false, false, ""
	return append(all, plain)
}

// ofHost calls a virtual host by its names, and each of its routes by the first of them.
func ofHost(vh *route.VirtualHost, base evaluate.Call, wanted func(string) bool, add func(evaluate.Call)) {
	first := true
	for _, domain := range vh.GetDomains() {
		// No client sends a host with a slash.
		if !wanted(domain) || strings.Contains(domain, "/") {
			continue
		}
		host := strings.Replace(domain, "*", "sample", 1)
		if domain == "*" {
			host = "any.invalid"
		}
		for _, variant := range []string{
			host, host + ":8080", host + ".", "x" + host, "deep." + host, strings.ToUpper(host), strings.TrimSuffix(host, "e"),
		} {
			call := base
			call.Host = variant
			add(call)
		}
		if first {
			first = false
			call := base
			call.Host = host
			for _, r := range vh.GetRoutes() {
				ofRoute(r.GetMatch(), call, add)
			}
			for _, path := range []string{"/", "/none", "//", "/a/../b", "/?x=1"} {
				call.Path = path
				add(call)
			}
		}
	}
}

// ofRoute calls one route by all of its conditions, then misses them one after the other.
func ofRoute(m *route.RouteMatch, base evaluate.Call, add func(evaluate.Call)) {
	paths := pathsOf(m)
	base.Path = paths[0]
	var queries [][]string
	for _, parameter := range m.GetQueryParameters() {
		queries = append(queries, query(parameter))
	}
	ask := func(skip int, with string) string {
		var parts []string
		for n, values := range queries {
			switch {
			case n != skip:
				parts = append(parts, values[0])
			case with != "":
				parts = append(parts, with)
			}
		}
		if len(parts) == 0 {
			return ""
		}
		return "?" + strings.Join(parts, "&")
	}
	var headers [][]string
	for _, header := range m.GetHeaders() {
		values := valuesOf(header)
		headers = append(headers, values)
		set(&base, header.GetName(), values[0])
	}
	full := base
	full.Path += ask(-1, "")
	add(full)
	for _, path := range paths[1:] {
		call := full
		call.Path = path + ask(-1, "")
		add(call)
	}
	for n, header := range m.GetHeaders() {
		for _, value := range headers[n][1:] {
			call := full
			call.Headers = append([]evaluate.Header(nil), full.Headers...)
			set(&call, header.GetName(), value)
			add(call)
		}
	}
	for n, values := range queries {
		call := base
		call.Path += ask(n, "")
		add(call)
		for _, value := range values[1:] {
			call := base
			call.Path += ask(n, value)
			add(call)
		}
	}
}

// absent is the value of a header that is not sent.
const absent = "\x00"

func set(call *evaluate.Call, name, value string) {
	name = strings.ToLower(name)
	switch name {
	case ":method":
		if value != absent && value != "" {
			call.Method = value
		} else {
			call.Method = "DELETE"
		}
		return
	case ":authority":
		if value != absent && value != "" {
			call.Host = value
		}
		return
	case ":scheme", ":path":
		return
	}
	var kept []evaluate.Header
	for _, header := range call.Headers {
		if header.Name != name {
			kept = append(kept, header)
		}
	}
	if value != absent {
		kept = append(kept, evaluate.Header{Name: name, Value: value})
	}
	call.Headers = kept
}
