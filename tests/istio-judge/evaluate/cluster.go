package evaluate

import (
	"fmt"
	"sort"
	"strings"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	proxyprotocol "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/proxy_protocol/v3"
	tls "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"
)

// cluster writes what a cluster is: its policy and its endpoints. One that is not there is written where it is named.
func (o *Output) cluster(name string, d Decision) {
	c := o.Clusters[name]
	if !o.has(name) {
		return
	}
	under := "cluster " + name
	rest := proto.Clone(c).(*cluster.Cluster)
	rest.Name, rest.AltStatName, rest.Metadata, rest.Filters = "", "", nil, nil
	rest.EdsClusterConfig, rest.LoadAssignment, rest.ConnectTimeout, rest.TransportSocket = nil, nil, nil, nil
	d.flatten(under, rest)
	d[under+".connect_timeout"] = "5s"
	if timeout := c.GetConnectTimeout(); timeout != nil {
		d[under+".connect_timeout"] = duration(timeout)
	}
	if socket := c.GetTransportSocket(); socket != nil {
		d.upstreamSocket(under+".tls", socket)
	}
	assignment := c.GetLoadAssignment()
	if c.GetType() == cluster.Cluster_EDS {
		service := c.GetEdsClusterConfig().GetServiceName()
		if service == "" {
			service = name
		}
		if assignment = o.Endpoints(service); assignment == nil {
			d[under+".endpoints"] = "(no assignment: the cluster never warms)"
			return
		}
	}
	if c.GetType() != cluster.Cluster_ORIGINAL_DST {
		d[under+".endpoints"] = endpoints(c, assignment)
	}
}

// has says whether there is a cluster that a request may come to. One of names without any is as one that is not there: the answer
// is 503, and Istio makes none.
func (o *Output) has(name string) bool {
	c := o.Clusters[name]
	if c.GetType() != cluster.Cluster_STRICT_DNS && c.GetType() != cluster.Cluster_LOGICAL_DNS {
		return c != nil
	}
	for _, group := range c.GetLoadAssignment().GetEndpoints() {
		if len(group.GetLbEndpoints()) > 0 {
			return true
		}
	}
	return false
}

// endpoints are the addresses with the share of the cluster's traffic that each gets, by priority.
func endpoints(c *cluster.Cluster, assignment *endpoint.ClusterLoadAssignment) string {
	byLocality := c.GetCommonLbConfig().GetLocalityWeightedLbConfig() != nil
	type one struct {
		priority uint32
		address  string
		weight   float64
	}
	var all []one
	total := map[uint32]float64{}
	for _, group := range assignment.GetEndpoints() {
		var sum float64
		var in []one
		for _, e := range group.GetLbEndpoints() {
			if h := e.GetHealthStatus(); h != core.HealthStatus_UNKNOWN && h != core.HealthStatus_HEALTHY {
				continue
			}
			weight := 1.0
			if e.GetLoadBalancingWeight() != nil {
				weight = float64(e.GetLoadBalancingWeight().GetValue())
			}
			sum += weight
			in = append(in, one{group.GetPriority(), addressOf(e.GetEndpoint().GetAddress()), weight})
		}
		for _, e := range in {
			if byLocality {
				e.weight *= float64(group.GetLoadBalancingWeight().GetValue()) / sum
			}
			total[e.priority] += e.weight
			all = append(all, e)
		}
	}
	// Priorities count by their order: one without an endpoint is passed over.
	var order []int
	for priority := range total {
		order = append(order, int(priority))
	}
	sort.Ints(order)
	texts := map[string]bool{}
	for _, e := range all {
		share := 0.0
		if total[e.priority] > 0 {
			share = 100 * e.weight / total[e.priority]
		}
		if share > 0 || !byLocality {
			texts[fmt.Sprintf("%d %s %.4g%%", sort.SearchInts(order, int(e.priority)), e.address, share)] = true
		}
	}
	return strings.Join(sortedKeys(texts), ", ")
}

func addressOf(a *core.Address) string {
	if pipe := a.GetPipe(); pipe != nil {
		return pipe.GetPath()
	}
	return fmt.Sprintf("%s:%d", a.GetSocketAddress().GetAddress(), a.GetSocketAddress().GetPortValue())
}

func (d Decision) upstreamSocket(under string, socket *core.TransportSocket) {
	switch config := message(socket.GetTypedConfig()).(type) {
	case *tls.UpstreamTlsContext:
		rest := proto.Clone(config).(*tls.UpstreamTlsContext)
		named(rest.GetCommonTlsContext())
		d.flatten(under, rest)
		if len(d.below(under)) == 0 {
			d[under] = "{}"
		}
	case *proxyprotocol.ProxyProtocolUpstreamTransport:
		rest := proto.Clone(config).(*proxyprotocol.ProxyProtocolUpstreamTransport)
		rest.TransportSocket = nil
		d.flatten(under+".proxy_protocol", rest)
		d[under+".proxy_protocol"] = "on"
		if inner := config.GetTransportSocket(); inner != nil {
			d.upstreamSocket(under, inner)
		}
	case nil:
	default:
		if !strings.Contains(socket.GetTypedConfig().GetTypeUrl(), "raw_buffer") {
			d.flatten(under, config)
		}
	}
}

// downstream is a server's TLS with its files named.
func downstream(context *tls.DownstreamTlsContext) proto.Message {
	rest := proto.Clone(context).(*tls.DownstreamTlsContext)
	named(rest.GetCommonTlsContext())
	return rest
}

// named writes certificates in one way. Istio has its agent serve files as secrets, whose names hold the paths; a stock
// Envoy reads the files itself. What is left are the paths.
func named(common *tls.CommonTlsContext) {
	if common == nil {
		return
	}
	var pairs []*tls.TlsCertificate
	file := func(path string) *core.DataSource {
		return &core.DataSource{Specifier: &core.DataSource_Filename{Filename: path}}
	}
	for _, secret := range common.GetTlsCertificateSdsSecretConfigs() {
		if paths, ok := strings.CutPrefix(secret.GetName(), "file-cert:"); ok {
			chain, key, _ := strings.Cut(paths, "~")
			pairs = append(pairs, &tls.TlsCertificate{CertificateChain: file(chain), PrivateKey: file(key)})
		}
	}
	if len(pairs) > 0 {
		common.TlsCertificateSdsSecretConfigs, common.TlsCertificates = nil, pairs
	}
	for _, pair := range common.GetTlsCertificates() {
		pair.WatchedDirectory = nil
	}
	var context *tls.CertificateValidationContext
	switch v := common.GetValidationContextType().(type) {
	case *tls.CommonTlsContext_CombinedValidationContext:
		context = v.CombinedValidationContext.GetDefaultValidationContext()
		if context == nil {
			context = &tls.CertificateValidationContext{}
		}
		authority(context, v.CombinedValidationContext.GetValidationContextSdsSecretConfig(), file)
	case *tls.CommonTlsContext_ValidationContextSdsSecretConfig:
		context = &tls.CertificateValidationContext{}
		authority(context, v.ValidationContextSdsSecretConfig, file)
	case *tls.CommonTlsContext_ValidationContext:
		context = v.ValidationContext
	}
	if context != nil {
		context.WatchedDirectory = nil
		anyName(context)
		common.ValidationContextType = &tls.CommonTlsContext_ValidationContext{ValidationContext: context}
	}
}

// anyName writes a name that may be of any kind in the older way, where it stands for no kind.
func anyName(context *tls.CertificateValidationContext) {
	kinds := map[string]map[tls.SubjectAltNameMatcher_SanType]bool{}
	for _, one := range context.GetMatchTypedSubjectAltNames() {
		text := one.GetMatcher().String()
		if kinds[text] == nil {
			kinds[text] = map[tls.SubjectAltNameMatcher_SanType]bool{}
		}
		kinds[text][one.GetSanType()] = true
	}
	var left []*tls.SubjectAltNameMatcher
	for _, one := range context.GetMatchTypedSubjectAltNames() {
		of := kinds[one.GetMatcher().String()]
		switch {
		case !of[tls.SubjectAltNameMatcher_DNS] || !of[tls.SubjectAltNameMatcher_URI] || !of[tls.SubjectAltNameMatcher_IP_ADDRESS]:
			left = append(left, one)
		case one.GetSanType() == tls.SubjectAltNameMatcher_DNS:
			context.MatchSubjectAltNames = append(context.MatchSubjectAltNames, one.GetMatcher()) //nolint:staticcheck // Istio writes it so
		}
	}
	context.MatchTypedSubjectAltNames = left
}

// systemAuthorities is where Debian, Alpine and Envoy's own images have what the system trusts.
const systemAuthorities = "/etc/ssl/certs/ca-certificates.crt"

func authority(context *tls.CertificateValidationContext, secret *tls.SdsSecretConfig, file func(string) *core.DataSource) {
	if path, ok := strings.CutPrefix(secret.GetName(), "file-root:"); ok {
		// Istio's agent looks for what the system trusts.
		if path == "system" {
			path = systemAuthorities
		}
		context.TrustedCa = file(path)
	}
}
