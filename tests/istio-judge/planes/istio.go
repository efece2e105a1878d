// Package planes asks two control planes for what they give a proxy: Istio's own generators, and a server by ADS.
package planes

import (
	"fmt"
	"strconv"
	"strings"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"
	"istio.io/istio/pilot/pkg/model"
	generators "istio.io/istio/pilot/pkg/networking/core"
	"istio.io/istio/pilot/pkg/networking/grpcgen"
	"istio.io/istio/pilot/pkg/xds/endpoints"
	"istio.io/istio/pkg/config"
	"istio.io/istio/pkg/config/mesh"
	"istio.io/istio/pkg/test"
	"portolan.test/istio-judge/corpus"
	"portolan.test/istio-judge/evaluate"
)

// With starts what generates an Istiod's configuration, on these resources, for as long as a function runs.
func With(configs []config.Config, use func(*Istio)) error {
	return test.Wrap(func(t test.Failer) {
		settings := mesh.DefaultMeshConfig()
		// No endpoint of a registry has Istio's own TLS; without the setting clusters would only have the choice.
		settings.EnableAutoMtls = wrapperspb.Bool(false)
		use(&Istio{generators.NewConfigGenTest(t, generators.TestOptions{Configs: configs, MeshConfig: settings})})
	})
}

// Istio is Istio's generators with a state of the mesh.
type Istio struct{ test *generators.ConfigGenTest }

// Output is what an Istiod would give a proxy. A program names the listeners that it wants.
func (i *Istio) Output(name string, proxy corpus.Proxy, targets []string) *evaluate.Output {
	node := i.test.SetupProxy(described(name, proxy))
	out := &evaluate.Output{Routes: map[string]*route.RouteConfiguration{}, Clusters: map[string]*cluster.Cluster{}}
	push := i.test.PushContext()
	out.Endpoints = func(name string) *endpoint.ClusterLoadAssignment {
		builder := endpoints.NewEndpointBuilder(name, node, push)
		return builder.BuildClusterLoadAssignment(i.test.Env().EndpointIndex)
	}
	if proxy.Type == "grpc" {
		i.program(out, node, targets)
		return out
	}
	out.Listeners = i.test.Listeners(node)
	for _, rc := range i.test.RoutesFromListeners(node, out.Listeners) {
		out.Routes[rc.GetName()] = rc
	}
	for _, c := range i.test.Clusters(node) {
		out.Clusters[c.GetName()] = c
	}
	return out
}

// program follows the names as a gRPC client does.
func (i *Istio) program(out *evaluate.Output, node *model.Proxy, targets []string) {
	generator, push := &grpcgen.GrpcConfigGenerator{}, i.test.PushContext()
	for _, one := range generator.BuildListeners(node, push, targets) {
		l := &listener.Listener{}
		if one.GetResource().UnmarshalTo(l) == nil {
			out.Listeners = append(out.Listeners, l)
		}
	}
	for _, one := range generator.BuildHTTPRoutes(node, push, evaluate.RouteNames(out.Listeners)) {
		rc := &route.RouteConfiguration{}
		if one.GetResource().UnmarshalTo(rc) == nil {
			out.Routes[rc.GetName()] = rc
		}
	}
	for _, one := range generator.BuildClusters(node, push, evaluate.ClusterNames(out)) {
		c := &cluster.Cluster{}
		if one.GetResource().UnmarshalTo(c) == nil {
			out.Clusters[c.GetName()] = c
		}
	}
}

// described is the proxy as Istio has it.
func described(name string, p corpus.Proxy) *model.Proxy {
	kind := model.SidecarProxy
	if p.Type == "router" {
		kind = model.Router
	}
	metadata := &model.NodeMetadata{Namespace: p.Namespace, Labels: p.Labels, IstioVersion: "1.31.0"}
	if p.HTTPProxy > 0 {
		metadata.HTTPProxyPort = strconv.Itoa(p.HTTPProxy)
	}
	if p.Bound {
		metadata.InterceptionMode = model.InterceptionNone
	}
	if p.Type == "grpc" {
		metadata.Generator = "grpc"
	}
	return &model.Proxy{
		Type: kind, ID: name + "." + p.Namespace, IPAddresses: []string{address}, ConfigNamespace: p.Namespace,
		DNSDomain: p.Namespace + ".svc.cluster.local", Labels: labels(p), Metadata: metadata, Locality: locality(p),
	}
}

// labels are a proxy's, with what an Istiod puts to them of where it is.
func labels(p corpus.Proxy) map[string]string {
	all := map[string]string{"topology.istio.io/cluster": "Kubernetes"}
	for key, value := range p.Labels {
		all[key] = value
	}
	at := locality(p)
	for key, value := range map[string]string{
		"topology.kubernetes.io/region": at.GetRegion(), "topology.kubernetes.io/zone": at.GetZone(), "topology.istio.io/subzone": at.GetSubZone(),
	} {
		if value != "" {
			all[key] = value
		}
	}
	return all
}

// address is that of every proxy.
const address = "10.255.0.1"

func locality(p corpus.Proxy) *core.Locality {
	parts := append(strings.Split(p.Locality, "/"), "", "")
	return &core.Locality{Region: parts[0], Zone: parts[1], SubZone: parts[2]}
}

// IsNode says whether a node is that proxy.
func IsNode(name string, p corpus.Proxy, of *core.Node) bool {
	self, err := Node(name, p)
	return err == nil && self.GetId() == of.GetId()
}

// Node is the same proxy as it tells a server of itself.
func Node(name string, p corpus.Proxy) (*core.Node, error) {
	d := described(name, p)
	kind := string(d.Type)
	metadata := map[string]any{"NAMESPACE": p.Namespace, "ISTIO_VERSION": "1.31.0"}
	labels := map[string]any{}
	for key, value := range p.Labels {
		labels[key] = value
	}
	metadata["LABELS"] = labels
	if p.HTTPProxy > 0 {
		metadata["HTTP_PROXY_PORT"] = strconv.Itoa(p.HTTPProxy)
	}
	if p.Bound {
		metadata["INTERCEPTION_MODE"] = "NONE"
	}
	agent := "envoy"
	if p.Type == "grpc" {
		metadata["GENERATOR"], agent = "grpc", "gRPC Go"
	}
	return newNode(fmt.Sprintf("%s~%s~%s~%s", kind, address, d.ID, d.DNSDomain), name, agent, metadata, d.Locality)
}
