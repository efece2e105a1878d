package evaluate

import (
	"testing"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// read makes a message of JSON.
func read[M proto.Message](t *testing.T, text string, into M) M {
	t.Helper()
	if err := protojson.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return into
}

func TestDomainsGoFromExactOverLongestSuffixAndPrefixToAll(t *testing.T) {
	rc := &route.RouteConfiguration{IgnorePortInHostMatching: true}
	for _, domain := range []string{"*", "a.b.c", "*.b.c", "*.c", "*-x.b.c", "a.b.*", "a.*"} {
		rc.VirtualHosts = append(rc.VirtualHosts, &route.VirtualHost{Name: domain, Domains: []string{domain}})
	}
	for host, want := range map[string]string{
		"a.b.c": "a.b.c", "A.B.c": "a.b.c", "a.b.c:80": "a.b.c", "x.b.c": "*.b.c", "y.x.b.c": "*.b.c", "x.c": "*.c",
		"y-x.b.c": "*-x.b.c", "a.b.d": "a.b.*", "a.d": "a.*", "d": "*", "b.c": "*.c", ".b.c": "*.c", "a.b.c.": "a.b.*",
	} {
		if vh := hostOf(rc, host); vh.GetName() != want {
			t.Errorf("%s: %s, not %s", host, vh.GetName(), want)
		}
	}
	rc.IgnorePortInHostMatching = false
	if vh := hostOf(rc, "a.b.c:80"); vh.GetName() != "a.b.*" {
		t.Errorf("with its port: %s", vh.GetName())
	}
}

func TestRoutesMatch(t *testing.T) {
	for _, one := range []struct {
		match    string
		hits     []Call
		misses   []Call
		whatever string
	}{
		{match: `{"prefix":"/a"}`, hits: []Call{{Path: "/ab?x"}, {Path: "/a"}}, misses: []Call{{Path: "/"}, {Path: "/A"}}},
		{match: `{"prefix":"/a","case_sensitive":false}`, hits: []Call{{Path: "/Ab"}}, misses: []Call{{Path: "/b"}}},
		{match: `{"path":"/a"}`, hits: []Call{{Path: "/a?x=/b"}}, misses: []Call{{Path: "/a/"}, {Path: "/ab"}}},
		{match: `{"path_separated_prefix":"/a"}`, hits: []Call{{Path: "/a"}, {Path: "/a/b"}, {Path: "/a?x"}}, misses: []Call{{Path: "/ab"}}},
		{match: `{"safe_regex":{"regex":"/a|/b+"}}`, hits: []Call{{Path: "/a?c"}, {Path: "/bb"}}, misses: []Call{{Path: "/ab"}, {Path: "/x/a"}}},
		{
			match:  `{"prefix":"/","headers":[{"name":"X","string_match":{"exact":"1"}}]}`,
			hits:   []Call{{Path: "/", Headers: []Header{{"x", "1"}}}, {Path: "/", Headers: []Header{{"x", "2"}, {"x", "1"}}}},
			misses: []Call{{Path: "/"}, {Path: "/", Headers: []Header{{"x", "1,2"}}}},
		}, {
			match:  `{"prefix":"/","headers":[{"name":"x","string_match":{"prefix":"v"},"invert_match":true}]}`,
			hits:   []Call{{Path: "/", Headers: []Header{{"x", "w"}}}},
			misses: []Call{{Path: "/"}, {Path: "/", Headers: []Header{{"x", "w"}, {"x", "v1"}}}},
		}, {
			match:  `{"prefix":"/","headers":[{"name":"x","string_match":{"prefix":"v"},"invert_match":true,"treat_missing_header_as_empty":true}]}`,
			hits:   []Call{{Path: "/"}, {Path: "/", Headers: []Header{{"x", "w"}}}},
			misses: []Call{{Path: "/", Headers: []Header{{"x", "v1"}}}},
		}, {
			match:  `{"prefix":"/","headers":[{"name":"x","present_match":true,"invert_match":true}]}`,
			hits:   []Call{{Path: "/"}},
			misses: []Call{{Path: "/", Headers: []Header{{"x", ""}}}},
		}, {
			match:  `{"prefix":"/","headers":[{"name":"x","range_match":{"start":"-1","end":"5"}}]}`,
			hits:   []Call{{Path: "/", Headers: []Header{{"x", "-1"}}}, {Path: "/", Headers: []Header{{"x", "4"}}}},
			misses: []Call{{Path: "/", Headers: []Header{{"x", "5"}}}, {Path: "/", Headers: []Header{{"x", "a"}}}, {Path: "/"}},
		}, {
			match:  `{"prefix":"/","headers":[{"name":":method","string_match":{"exact":"PUT"}},{"name":":authority","string_match":{"suffix":":81"}}]}`,
			hits:   []Call{{Path: "/", Method: "PUT", Host: "a:81"}},
			misses: []Call{{Path: "/", Method: "PUT", Host: "a"}, {Path: "/", Method: "GET", Host: "a:81"}},
		}, {
			match:  `{"prefix":"/","headers":[{"name":":scheme","string_match":{"exact":"https"}}]}`,
			hits:   []Call{{Path: "/", TLS: true}},
			misses: []Call{{Path: "/"}},
		}, {
			match:  `{"prefix":"/","query_parameters":[{"name":"q","string_match":{"safe_regex":{"regex":"[0-9]+"}}},{"name":"p","present_match":true}]}`,
			hits:   []Call{{Path: "/?p&q=12"}, {Path: "/?q=1&q=x&p=3"}},
			misses: []Call{{Path: "/?q=12"}, {Path: "/?p&q=1a"}, {Path: "/?p&q=x&q=1"}, {Path: "/?p"}},
		},
		{match: `{"prefix":"/","grpc":{}}`, hits: []Call{{Path: "/", Headers: []Header{{"content-type", "application/grpc"}}}}, misses: []Call{{Path: "/"}}},
	} {
		m := read(t, one.match, &route.RouteMatch{})
		for _, call := range one.hits {
			if !matches(m, call) {
				t.Errorf("%s does not match %v", one.match, call)
			}
		}
		for _, call := range one.misses {
			if matches(m, call) {
				t.Errorf("%s matches %v", one.match, call)
			}
		}
	}
}

func TestPathsAreNormalised(t *testing.T) {
	for path, want := range map[string]string{
		"/a/../b": "/b", "/a/./b": "/a/b", "/../b": "/b", "/a/b/..": "/a/", "/a//b": "/a//b", "/a%2e%2e/b": "/a../b",
		"/a/%2E%2e/b?x=/../y": "/b?x=/../y", `/a\b`: "/a/b", "/": "/", "/a%2Fb": "/a%2Fb",
	} {
		if is := normalised(path, true, false); is != want {
			t.Errorf("%s: %s, not %s", path, is, want)
		}
		if is := normalised(path, false, false); is != path {
			t.Errorf("%s without it: %s", path, is)
		}
	}
	if is := normalised("//a///b?x=//", false, true); is != "/a/b?x=//" {
		t.Errorf("merged: %s", is)
	}
}

func chain(name, match string, t *testing.T) *listener.FilterChain {
	return &listener.FilterChain{Name: name, FilterChainMatch: read(t, match, &listener.FilterChainMatch{})}
}

func TestChainsAreSieved(t *testing.T) {
	l := &listener.Listener{FilterChains: []*listener.FilterChain{
		chain("exact", `{"server_names":["a.b.c"]}`, t),
		chain("suffix", `{"server_names":["*.b.c"]}`, t),
		chain("short", `{"server_names":["*.c"]}`, t),
		chain("plain", `{}`, t),
		chain("port", `{"destination_port":81}`, t),
		chain("net", `{"prefix_ranges":[{"address_prefix":"10.0.0.0","prefix_len":8}]}`, t),
		chain("net, tls", `{"prefix_ranges":[{"address_prefix":"10.0.0.0","prefix_len":8}],"transport_protocol":"tls"}`, t),
		chain("host", `{"prefix_ranges":[{"address_prefix":"10.0.0.1","prefix_len":32}]}`, t),
		chain("h2", `{"prefix_ranges":[{"address_prefix":"10.0.0.1","prefix_len":32}],"transport_protocol":"tls","application_protocols":["h2"]}`, t),
	}}
	for _, one := range []struct {
		call Call
		want string
	}{
		{Call{TLS: true, SNI: "A.b.c"}, "exact"},
		{Call{TLS: true, SNI: "x.b.c"}, "suffix"},
		{Call{TLS: true, SNI: "y.x.b.c"}, "suffix"},
		{Call{TLS: true, SNI: "x.c"}, "short"},
		{Call{TLS: true, SNI: "c"}, "plain"},
		{Call{SNI: "a.b.c"}, "plain"},
		{Call{Port: 81, TLS: true, SNI: "a.b.c"}, "port"},
		{Call{Address: "10.0.0.9", TLS: true, SNI: "a.b.c"}, "net, tls"},
		{Call{Address: "10.0.0.9"}, "net"},
		{Call{Address: "10.0.0.1"}, "host"},
		{Call{Address: "10.0.0.1", TLS: true, ALPN: []string{"h2", "http/1.1"}}, "h2"},
		{Call{Address: "11.0.0.1"}, "plain"},
	} {
		found, why := chainOf(l, one.call)
		if found.GetName() != one.want {
			t.Errorf("%v: %q (%s), not %q", one.call, found.GetName(), why, one.want)
		}
	}
	// A step that leaves nothing is not taken back: no chain of the port has a name, so names do not count there.
	only := &listener.Listener{FilterChains: []*listener.FilterChain{
		chain("port and name", `{"destination_port":81,"server_names":["x"]}`, t), chain("name", `{"server_names":["a"]}`, t),
	}}
	if found, _ := chainOf(only, Call{Port: 81, TLS: true, SNI: "a"}); found != nil {
		t.Errorf("went back to %s", found.GetName())
	}
	only.DefaultFilterChain = &listener.FilterChain{Name: "default"}
	if found, _ := chainOf(only, Call{Port: 81, TLS: true, SNI: "a"}); found.GetName() != "default" {
		t.Errorf("not the default: %v", found)
	}
}

func TestListenersAreFoundByAddressAndPort(t *testing.T) {
	at := func(name, address string, port uint32, bound bool) *listener.Listener {
		l := &listener.Listener{Name: name, Address: &core.Address{Address: &core.Address_SocketAddress{
			SocketAddress: &core.SocketAddress{Address: address, PortSpecifier: &core.SocketAddress_PortValue{PortValue: port}},
		}}}
		if !bound {
			l.BindToPort = wrapperspb.Bool(false)
		}
		return l
	}
	gate := at("gate", "0.0.0.0", 15001, true)
	gate.UseOriginalDst = wrapperspb.Bool(true)
	o := &Output{Listeners: []*listener.Listener{
		at("all", "0.0.0.0", 80, true), at("one", "10.0.0.1", 80, true), gate, at("behind", "0.0.0.0", 90, false),
		at("exactly", "10.0.0.2", 90, false), at("local", "127.0.0.1", 70, true),
	}}
	for _, one := range []struct {
		call Call
		want string
	}{
		{Call{Port: 80}, "all"}, {Call{Address: "10.0.0.1", Port: 80}, "one"}, {Call{Address: "10.0.0.3", Port: 80}, "all"},
		{Call{Port: 90}, ""}, {Call{Address: "10.0.0.9", Port: 90, Redirected: true}, "behind"},
		{Call{Address: "10.0.0.2", Port: 90, Redirected: true}, "exactly"},
		{Call{Address: "10.0.0.2", Port: 91, Redirected: true}, "gate"}, {Call{Port: 70}, "local"},
	} {
		if found := o.listener(one.call); found.GetName() != one.want {
			t.Errorf("%v: %q, not %q", one.call, found.GetName(), one.want)
		}
	}
}
