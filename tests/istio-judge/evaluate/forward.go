package evaluate

import (
	"fmt"
	"strings"

	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tcp "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// share is one of the clusters that a call may go to.
type share struct {
	cluster string
	weight  uint64
	one     *route.WeightedCluster_ClusterWeight
}

// forward writes what a route action does with a request.
func (o *Output) forward(
	a *route.RouteAction, m *route.RouteMatch, levels []mutations, perFilter []map[string]*anypb.Any,
	filters map[string]bool, call Call, d Decision,
) {
	rest := proto.Clone(a).(*route.RouteAction)
	rest.ClusterSpecifier, rest.HostRewriteSpecifier, rest.RequestMirrorPolicies = nil, nil, nil
	rest.PrefixRewrite, rest.RegexRewrite, rest.HashPolicy = "", nil, nil
	// It decides between statuses for a cluster that is not there; 503 is the default.
	d.flatten("route", rest)
	if policy := a.GetRetryPolicy(); policy.GetRetryOn() != "" {
		// The order of the words has no meaning, and empty ones are passed over.
		on := sortedWords(strings.FieldsFunc(policy.GetRetryOn(), func(c rune) bool { return c == ',' }))
		d["route.retry_policy.retry_on"] = strings.Join(on, ",")
	}
	if timeout := a.GetTimeout(); timeout != nil {
		d["route.timeout"] = duration(timeout)
	}
	d["path"] = rewritten(a, m, call.Path)
	d.authority(a, call)
	hashes(a.GetHashPolicy(), d)
	o.mirrors(a, d)
	shares := shares(a, call)
	o.share(shares, d)
	// What is only for one of several clusters stands below its name.
	for _, one := range shares {
		under := ""
		ownLevels, ownFilters := levels, perFilter
		if one.one != nil {
			under = "to " + one.cluster + ": "
			ownLevels = append([]mutations{mutationsOf(one.one)}, levels...)
			ownFilters = append(append([]map[string]*anypb.Any{}, perFilter...), one.one.GetTypedPerFilterConfig())
			if literal := one.one.GetHostRewriteLiteral(); literal != "" {
				d[under+"authority"] = literal
			}
		}
		d.asks(under, ownLevels, call)
		d.answers(under, ownLevels)
		d.perFilter(under, ownFilters, filters)
	}
}

func shares(a *route.RouteAction, call Call) []share {
	switch s := a.GetClusterSpecifier().(type) {
	case *route.RouteAction_Cluster:
		return []share{{cluster: s.Cluster, weight: 1}}
	case *route.RouteAction_ClusterHeader:
		name, _ := call.value(strings.ToLower(s.ClusterHeader))
		return []share{{cluster: name, weight: 1}}
	case *route.RouteAction_WeightedClusters:
		var all []share
		for _, one := range s.WeightedClusters.GetClusters() {
			if one.GetWeight().GetValue() > 0 {
				all = append(all, share{one.GetName(), uint64(one.GetWeight().GetValue()), one})
			}
		}
		return all
	}
	return nil
}

// share writes who gets how much, and what each is.
func (o *Output) share(shares []share, d Decision) {
	sum, of := uint64(0), map[string]uint64{}
	for _, one := range shares {
		sum += one.weight
		of[one.cluster] += one.weight
	}
	var texts []string
	for _, name := range sortedKeys(of) {
		text := name
		if len(of) > 1 {
			text = fmt.Sprintf("%.5g%% %s", 100*float64(of[name])/float64(sum), name)
		}
		if !o.has(name) {
			text += " (no cluster)"
		}
		texts = append(texts, text)
		o.cluster(name, d)
	}
	d[To] = strings.Join(texts, ", ")
}

// rewritten is the path that the upstream sees.
func rewritten(a *route.RouteAction, m *route.RouteMatch, whole string) string {
	path, query, has := strings.Cut(whole, "?")
	switch {
	case a.GetPrefixRewrite() != "":
		path = replaced(m, path, a.GetPrefixRewrite())
	case a.GetRegexRewrite() != nil:
		path = substituted(a.GetRegexRewrite().GetPattern().GetRegex(), a.GetRegexRewrite().GetSubstitution(), path)
	}
	if has {
		path += "?" + query
	}
	return path
}

func (d Decision) authority(a *route.RouteAction, call Call) {
	d["authority"] = call.Host
	switch s := a.GetHostRewriteSpecifier().(type) {
	case *route.RouteAction_HostRewriteLiteral:
		d["authority"] = s.HostRewriteLiteral
	case *route.RouteAction_AutoHostRewrite:
		if s.AutoHostRewrite.GetValue() {
			d["authority"] = "(the upstream's name)"
		}
	case *route.RouteAction_HostRewriteHeader:
		if value, ok := call.value(strings.ToLower(s.HostRewriteHeader)); ok {
			d["authority"] = value
		}
	case *route.RouteAction_HostRewritePathRegex:
		path, _, _ := strings.Cut(call.Path, "?")
		d["authority"] = substituted(s.HostRewritePathRegex.GetPattern().GetRegex(), s.HostRewritePathRegex.GetSubstitution(), path)
	}
}

func hashes(policies []*route.RouteAction_HashPolicy, d Decision) {
	for n, policy := range policies {
		d.flatten(fmt.Sprintf("hash[%d]", n), policy)
	}
}

func (o *Output) mirrors(a *route.RouteAction, d Decision) {
	for n, mirror := range a.GetRequestMirrorPolicies() {
		under := fmt.Sprintf("mirror[%d]", n)
		rest := proto.Clone(mirror).(*route.RouteAction_RequestMirrorPolicy)
		rest.RuntimeFraction = nil
		d.flatten(under, rest)
		if !o.has(mirror.GetCluster()) {
			d[under+".cluster"] += " (no cluster)"
		}
		d[under+".share"] = "100%"
		if fraction := mirror.GetRuntimeFraction(); fraction != nil {
			delete(d, under+".share")
			d.flatten(under+".share", fraction.GetDefaultValue())
		}
		o.cluster(mirror.GetCluster(), d)
	}
}

// tcp writes where a connection's bytes go.
func (o *Output) tcp(proxy *tcp.TcpProxy, d Decision) {
	d[Kind] = KindTCP
	rest := proto.Clone(proxy).(*tcp.TcpProxy)
	rest.ClusterSpecifier, rest.StatPrefix = nil, ""
	d.flatten("tcp", rest)
	var all []share
	switch s := proxy.GetClusterSpecifier().(type) {
	case *tcp.TcpProxy_Cluster:
		all = append(all, share{cluster: s.Cluster, weight: 1})
	case *tcp.TcpProxy_WeightedClusters:
		for _, one := range s.WeightedClusters.GetClusters() {
			if one.GetWeight() > 0 {
				all = append(all, share{cluster: one.GetName(), weight: uint64(one.GetWeight())})
			}
		}
	}
	o.share(all, d)
}
