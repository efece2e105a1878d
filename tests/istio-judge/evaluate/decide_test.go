package evaluate

import (
	"testing"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/fault/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/anypb"
)

// output is a configuration with one listener on port 80, whose routes, clusters and assignments are given as JSON.
func output(t *testing.T, routes string, clusters, assignments []string) *Output {
	t.Helper()
	manager, err := anypb.New(read(t, `{"rds":{"route_config_name":"r"},"http_filters":[{"name":"envoy.filters.http.fault"}]}`,
		&hcm.HttpConnectionManager{}))
	if err != nil {
		t.Fatal(err)
	}
	l := read(t, `{"name":"l","address":{"socket_address":{"address":"0.0.0.0","port_value":80}}}`, &listener.Listener{})
	l.FilterChains = []*listener.FilterChain{{Filters: []*listener.Filter{
		{Name: "hcm", ConfigType: &listener.Filter_TypedConfig{TypedConfig: manager}},
	}}}
	o := &Output{
		Listeners: []*listener.Listener{l}, Clusters: map[string]*cluster.Cluster{},
		Routes: map[string]*route.RouteConfiguration{"r": read(t, routes, &route.RouteConfiguration{})},
	}
	for _, text := range clusters {
		c := read(t, text, &cluster.Cluster{})
		o.Clusters[c.GetName()] = c
	}
	byName := map[string]*endpoint.ClusterLoadAssignment{}
	for _, text := range assignments {
		one := read(t, text, &endpoint.ClusterLoadAssignment{})
		byName[one.GetClusterName()] = one
	}
	o.Endpoints = func(name string) *endpoint.ClusterLoadAssignment { return byName[name] }
	return o
}

// routesOf is a virtual host for everything with these routes.
func routesOf(routes string) string {
	return `{"name":"r","virtual_hosts":[{"name":"v","domains":["*"],"routes":[` + routes + `]}]}`
}

func expect(t *testing.T, d Decision, fields map[string]string) {
	t.Helper()
	for key, want := range fields {
		if d[key] != want {
			t.Errorf("%s is %q, not %q, in %v", key, d[key], want, d)
		}
	}
}

const eds = `{"name":"a","type":"EDS","lb_policy":"RANDOM","eds_cluster_config":{"service_name":"s"}}`

func TestACallEndsAtTheEndpointsOfAShare(t *testing.T) {
	o := output(t, routesOf(`{"match":{"prefix":"/x"},"route":{"prefix_rewrite":"/y","timeout":"2.5s","host_rewrite_literal":"h",
		"weighted_clusters":{"clusters":[{"name":"a","weight":3,"request_headers_to_add":[{"header":{"key":"X-A","value":"1"}}]},
		{"name":"b","weight":1},{"name":"c","weight":0}]}}}`), []string{eds},
		[]string{`{"cluster_name":"s","endpoints":[
			{"priority":0,"load_balancing_weight":1,"lb_endpoints":[
				{"load_balancing_weight":3,"endpoint":{"address":{"socket_address":{"address":"10.0.0.1","port_value":1}}}},
				{"health_status":"UNHEALTHY","endpoint":{"address":{"socket_address":{"address":"10.0.0.2","port_value":1}}}}]},
			{"priority":0,"load_balancing_weight":1,"lb_endpoints":[
				{"load_balancing_weight":1,"endpoint":{"address":{"socket_address":{"address":"10.0.0.3","port_value":1}}}}]},
			{"priority":2,"lb_endpoints":[{"endpoint":{"address":{"pipe":{"path":"/p"}}}}]}]}`})
	d := o.Decide(Call{Port: 80, Host: "any", Path: "/x/z?q=1"})
	expect(t, d, map[string]string{
		Kind: KindRoute, To: "75% a, 25% b (no cluster)", "path": "/y/z?q=1", "authority": "h", "route.timeout": "2.5s",
		"to a: request.x-a": "1", "cluster a.lb_policy": "RANDOM", "cluster a.connect_timeout": "5s",
		"cluster a.endpoints": "0 10.0.0.1:1 75%, 0 10.0.0.3:1 25%, 1 /p 100%",
	})
	expect(t, o.Decide(Call{Port: 80, Path: "/"}), map[string]string{Kind: KindNoRoute})
	expect(t, o.Decide(Call{Port: 81, Path: "/"}), map[string]string{Kind: KindRefused})
	expect(t, o.Decide(Call{Port: 80, Raw: true}), map[string]string{Kind: KindReset})
	expect(t, o.Decide(Call{Port: 80, TLS: true, Path: "/x"}), map[string]string{Kind: KindReset})
}

func TestWeightsOfLocalitiesCountWhereTheClusterSaysSo(t *testing.T) {
	c := `{"name":"a","type":"EDS","common_lb_config":{"locality_weighted_lb_config":{}}}`
	o := output(t, routesOf(`{"match":{"prefix":"/"},"route":{"cluster":"a"}}`), []string{c}, []string{`{"cluster_name":"a","endpoints":[
		{"load_balancing_weight":9,"lb_endpoints":[{"endpoint":{"address":{"pipe":{"path":"/1"}}}},{"endpoint":{"address":{"pipe":{"path":"/2"}}}}]},
		{"load_balancing_weight":1,"lb_endpoints":[{"endpoint":{"address":{"pipe":{"path":"/3"}}}}]}]}`})
	expect(t, o.Decide(Call{Port: 80, Path: "/"}), map[string]string{"cluster a.endpoints": "0 /1 45%, 0 /2 45%, 0 /3 10%"})
}

func TestAClusterWithoutAnAssignmentIsSeen(t *testing.T) {
	o := output(t, routesOf(`{"match":{"prefix":"/"},"route":{"cluster":"a"}}`), []string{eds}, nil)
	expect(t, o.Decide(Call{Port: 80, Path: "/"}), map[string]string{"cluster a.endpoints": "(no assignment: the cluster never warms)"})
}

func TestRedirectsLeadToAPlace(t *testing.T) {
	for action, want := range map[string]string{
		`{"host_redirect":"n"}`:                                                     "http://n/x/y?q=1",
		`{"https_redirect":true}`:                                                   "https://h:81/x/y?q=1",
		`{"path_redirect":"/new"}`:                                                  "http://h:81/new?q=1",
		`{"path_redirect":""}`:                                                      "http://h:81/x/y?q=1",
		`{"path_redirect":"/new?z=2"}`:                                              "http://h:81/new?z=2",
		`{"prefix_rewrite":"/p","strip_query":true}`:                                "http://h:81/p/y",
		`{"port_redirect":8443,"scheme_redirect":"https"}`:                          "https://h:8443/x/y?q=1",
		`{"host_redirect":"n","port_redirect":90}`:                                  "http://n:90/x/y?q=1",
		`{"regex_rewrite":{"pattern":{"regex":"/x(/.*)"},"substitution":"\\1\\1"}}`: "http://h:81/y/y?q=1",
	} {
		o := output(t, routesOf(`{"match":{"prefix":"/x"},"redirect":`+action+`}`), nil, nil)
		expect(t, o.Decide(Call{Port: 80, Host: "h:81", Path: "/x/y?q=1"}), map[string]string{
			Kind: KindRedirect, "redirect.location": want, "redirect.status": "301",
		})
	}
	o := output(t, `{"name":"r","virtual_hosts":[{"name":"v","domains":["*"],"require_tls":"ALL"}]}`, nil, nil)
	expect(t, o.Decide(Call{Port: 80, Host: "h", Path: "/x"}), map[string]string{"redirect.location": "https://h/x"})
}

func TestHeadersAreThoseThatResult(t *testing.T) {
	o := output(t, `{"name":"r","request_headers_to_add":[{"header":{"key":"x-last","value":"config"},"append_action":"OVERWRITE_IF_EXISTS_OR_ADD"}],
		"virtual_hosts":[{"name":"v","domains":["*"],"routes":[{"match":{"prefix":"/"},"route":{"cluster":"a"},
		"request_headers_to_add":[
			{"header":{"key":"x-last","value":"route"}},
			{"header":{"key":"x-more","value":"2"}},
			{"header":{"key":"x-only","value":"2"},"append_action":"ADD_IF_ABSENT"},
			{"header":{"key":"x-over","value":"2"},"append_action":"OVERWRITE_IF_EXISTS"}],
		"request_headers_to_remove":["X-Gone"],
		"response_headers_to_remove":["server"]}]}]}`, nil, nil)
	d := o.Decide(Call{Port: 80, Path: "/", Headers: []Header{{"x-more", "1"}, {"x-only", "1"}, {"x-gone", "1"}}})
	expect(t, d, map[string]string{
		"request.x-last": "config", "request.x-more": "1,2", "request.x-only": "", "request.x-over": "",
		"request.x-gone": "(removed)", "response.server": "(removed)",
	})
}

func TestWhatAFilterIsToldCountsOnlyWhereItIs(t *testing.T) {
	const fault = `"envoy.filters.http.fault":{"@type":"type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault",
		"abort":{"http_status":503,"percentage":{"numerator":5000,"denominator":"MILLION"}}}`
	o := output(t, routesOf(`{"match":{"prefix":"/"},"direct_response":{"status":200,"body":{"inline_bytes":"aGk="}},
		"typed_per_filter_config":{`+fault+`,"envoy.filters.http.cors":{"@type":"type.googleapis.com/google.protobuf.Empty"}}}`), nil, nil)
	expect(t, o.Decide(Call{Port: 80, Path: "/"}), map[string]string{
		Kind: KindDirect, "direct.body": "hi", "fault.abort.http_status": "503", "fault.abort.percentage": "0.5%",
		"cors": "told, and no filter for it",
	})
}

func TestDefaultsAreNotWritten(t *testing.T) {
	written := `{"name":"a","type":"EDS","connect_timeout":"5s","circuit_breakers":{"thresholds":[{"max_connections":1024,"max_retries":3}]},
		"common_lb_config":{"healthy_panic_threshold":{"value":50}},"outlier_detection":{"consecutive_5xx":5,"interval":"10s"}}`
	left := `{"name":"a","type":"EDS","circuit_breakers":{"thresholds":[{}]},"outlier_detection":{}}`
	route := routesOf(`{"match":{"prefix":"/"},"route":{"cluster":"a"}}`)
	a := output(t, route, []string{written}, nil).Decide(Call{Port: 80, Path: "/"})
	b := output(t, route, []string{left}, nil).Decide(Call{Port: 80, Path: "/"})
	if found := Differences(a, b); len(found) > 0 {
		t.Errorf("%v differ: %v %v", found, a, b)
	}
	c := output(t, route, []string{`{"name":"a","type":"EDS","connect_timeout":"6s"}`}, nil).Decide(Call{Port: 80, Path: "/"})
	if found := Differences(a, c); len(found) != 1 || found[0] != "cluster a.connect_timeout" {
		t.Errorf("%v differ", found)
	}
}
