package evaluate

import (
	"math"
	"net/netip"
	"slices"
	"strings"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcp "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	tls "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
)

const (
	tlsInspector  = "tls_inspector"
	httpInspector = "http_inspector"
)

// listener is the one that a connection arrives at: of the proxy's own sockets, or behind the one that takes what
// iptables redirects.
func (o *Output) listener(call Call) *listener.Listener {
	bound := func(l *listener.Listener) bool {
		return l.GetBindToPort() == nil || l.GetBindToPort().GetValue()
	}
	if !call.Redirected {
		return o.at(call.Address, call.Port, bound)
	}
	var gate *listener.Listener
	for _, l := range o.Listeners {
		if l.GetUseOriginalDst().GetValue() && bound(l) && l.GetTrafficDirection() != core.TrafficDirection_INBOUND {
			gate = l
		}
	}
	if gate == nil {
		return nil
	}
	if found := o.at(call.Address, call.Port, func(l *listener.Listener) bool { return l != gate }); found != nil {
		return found
	}
	return gate
}

// at prefers the exact address, then the one that stands for all.
func (o *Output) at(address string, port uint32, among func(*listener.Listener) bool) *listener.Listener {
	var any *listener.Listener
	for _, l := range o.Listeners {
		if !among(l) {
			continue
		}
		addresses := []*core.Address{l.GetAddress()}
		for _, more := range l.GetAdditionalAddresses() {
			addresses = append(addresses, more.GetAddress())
		}
		for _, a := range addresses {
			if a.GetSocketAddress().GetPortValue() != port || a.GetSocketAddress() == nil {
				continue
			}
			switch a.GetSocketAddress().GetAddress() {
			case address:
				return l
			case "0.0.0.0", "::":
				any = l
			case "127.0.0.1", "::1":
				if address == "" && any == nil {
					any = l
				}
			}
		}
	}
	return any
}

const doubled = "several filter chains fit equally well"

// connection goes on from the listener to its filter chain.
func (o *Output) connection(l *listener.Listener, call Call, d Decision) {
	d.note("listener", l.GetName())
	chain, why := chainOf(l, call)
	if chain == nil {
		if why == doubled {
			d.end(KindDoubled, why)
		} else {
			d.end(KindReset, why)
		}
		return
	}
	d.note("chain", chain.GetName())
	socket := chain.GetTransportSocket()
	if socket != nil {
		context := &tls.DownstreamTlsContext{}
		if err := unpack(socket.GetTypedConfig(), context); err != nil {
			d.end(KindReset, "transport socket: "+err.Error())
			return
		}
		switch {
		case !call.TLS:
			d.end(KindReset, "TLS is expected")
			return
		case context.GetRequireClientCertificate().GetValue() && !call.Certificate:
			d.end(KindReset, "a certificate is required")
			return
		}
		d.flatten("tls", downstream(context))
	}
	// Without TLS there is nothing to wait for.
	if timeout := chain.GetTransportSocketConnectTimeout(); timeout != nil && socket != nil {
		d["tls.connect_timeout"] = duration(timeout)
	}
	for _, filter := range chain.GetFilters() {
		switch config := message(filter.GetTypedConfig()).(type) {
		case *hcm.HttpConnectionManager:
			switch {
			case call.Raw:
				d.end(KindReset, "no HTTP to an HTTP listener")
			case call.TLS && socket == nil:
				d.end(KindReset, "TLS to an HTTP listener")
			default:
				o.http(config, call, d)
			}
			return
		case *tcp.TcpProxy:
			o.tcp(config, d)
			return
		}
	}
	d.end(KindReset, "the chain has no filter that ends it")
}

// chainOf follows Envoy's rule: condition after condition, each leaves the chains that fit it best, or those without it.
func chainOf(l *listener.Listener, call Call) (*listener.FilterChain, string) {
	chains := l.GetFilterChains()
	// What Envoy learns before it chooses.
	transport, sni, protocols := "raw_buffer", "", []string(nil)
	if inspects(l, tlsInspector, call.Port) || needsTLSInspector(chains) {
		if call.TLS {
			transport, sni, protocols = "tls", strings.ToLower(call.SNI), call.ALPN
		}
	}
	if inspects(l, httpInspector, call.Port) && !call.TLS && !call.Raw {
		protocols = []string{"http/1.1"}
		if call.HTTP2 {
			protocols = []string{"h2c"}
		}
	}
	type match = *listener.FilterChainMatch
	chains = sieve(chains, func(m match) int {
		return either(m.GetDestinationPort() == nil, m.GetDestinationPort().GetValue() == call.Port)
	})
	chains = sieve(chains, func(m match) int { return ranges(m.GetPrefixRanges(), call.Address) })
	chains = sieve(chains, func(m match) int {
		if len(m.GetServerNames()) == 0 {
			return 0
		}
		best := -1
		for _, name := range m.GetServerNames() {
			switch {
			case name == sni && sni != "":
				best = math.MaxInt
			case strings.HasPrefix(name, "*.") && strings.HasSuffix(sni, name[1:]):
				best = max(best, len(name))
			}
		}
		return best
	})
	chains = sieve(chains, func(m match) int {
		return either(m.GetTransportProtocol() == "", m.GetTransportProtocol() == transport)
	})
	chains = sieve(chains, func(m match) int {
		if len(m.GetApplicationProtocols()) == 0 {
			return 0
		}
		for n, protocol := range protocols {
			if slices.Contains(m.GetApplicationProtocols(), protocol) {
				return len(protocols) - n
			}
		}
		return -1
	})
	source := "10.255.255.254"
	chains = sieve(chains, func(m match) int { return ranges(m.GetDirectSourcePrefixRanges(), source) })
	chains = sieve(chains, func(m match) int {
		return either(m.GetSourceType() == listener.FilterChainMatch_ANY, m.GetSourceType() == listener.FilterChainMatch_EXTERNAL)
	})
	chains = sieve(chains, func(m match) int { return ranges(m.GetSourcePrefixRanges(), source) })
	chains = sieve(chains, func(m match) int {
		return either(len(m.GetSourcePorts()) == 0, slices.Contains(m.GetSourcePorts(), 50000))
	})
	switch {
	case len(chains) > 1:
		return nil, doubled
	case len(chains) == 1:
		return chains[0], ""
	case l.GetDefaultFilterChain() != nil:
		return l.GetDefaultFilterChain(), ""
	}
	return nil, "no filter chain fits"
}

// either is a rank: 0 for a condition that is not there, 1 for one that holds, -1 else.
func either(absent, holds bool) int {
	switch {
	case absent:
		return 0
	case holds:
		return 1
	}
	return -1
}

// sieve leaves the chains of the highest rank; below 0 they do not fit.
func sieve(chains []*listener.FilterChain, rank func(*listener.FilterChainMatch) int) []*listener.FilterChain {
	best, left := -1, []*listener.FilterChain(nil)
	for _, chain := range chains {
		switch r := rank(chain.GetFilterChainMatch()); {
		case r < 0:
		case r > best:
			best, left = r, []*listener.FilterChain{chain}
		case r == best:
			left = append(left, chain)
		}
	}
	return left
}

// ranges ranks by the longest prefix that holds the address.
func ranges(all []*core.CidrRange, address string) int {
	if len(all) == 0 {
		return 0
	}
	best := -1
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return best
	}
	for _, one := range all {
		prefix, err := netip.ParseAddr(one.GetAddressPrefix())
		if err != nil {
			continue
		}
		bits := int(one.GetPrefixLen().GetValue())
		if masked, err := prefix.Prefix(bits); err == nil && masked.Contains(ip) {
			best = max(best, bits+1)
		}
	}
	return best
}

// inspects says whether a listener has that listener filter, for connections to that port.
func inspects(l *listener.Listener, kind string, port uint32) bool {
	for _, filter := range l.GetListenerFilters() {
		if !strings.Contains(filter.GetName(), kind) && !strings.Contains(filter.GetTypedConfig().GetTypeUrl(), kind) {
			continue
		}
		return filter.GetFilterDisabled() == nil || !disabled(filter.GetFilterDisabled(), port)
	}
	return false
}

// Envoy adds the inspector itself where chains need what it finds.
func needsTLSInspector(chains []*listener.FilterChain) bool {
	for _, chain := range chains {
		m := chain.GetFilterChainMatch()
		if m.GetTransportProtocol() == "tls" ||
			m.GetTransportProtocol() == "" && (len(m.GetServerNames()) > 0 || len(m.GetApplicationProtocols()) > 0) {
			return true
		}
	}
	return false
}

func disabled(predicate *listener.ListenerFilterChainMatchPredicate, port uint32) bool {
	switch rule := predicate.GetRule().(type) {
	case *listener.ListenerFilterChainMatchPredicate_OrMatch:
		return slices.ContainsFunc(rule.OrMatch.GetRules(), func(p *listener.ListenerFilterChainMatchPredicate) bool {
			return disabled(p, port)
		})
	case *listener.ListenerFilterChainMatchPredicate_AndMatch:
		return !slices.ContainsFunc(rule.AndMatch.GetRules(), func(p *listener.ListenerFilterChainMatchPredicate) bool {
			return !disabled(p, port)
		})
	case *listener.ListenerFilterChainMatchPredicate_NotMatch:
		return !disabled(rule.NotMatch, port)
	case *listener.ListenerFilterChainMatchPredicate_AnyMatch:
		return rule.AnyMatch
	case *listener.ListenerFilterChainMatchPredicate_DestinationPortRange:
		return int32(port) >= rule.DestinationPortRange.GetStart() && int32(port) < rule.DestinationPortRange.GetEnd()
	}
	return false
}
