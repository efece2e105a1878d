package planes

import (
	"context"
	"fmt"
	"sort"
	"time"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/structpb"
	"portolan.test/istio-judge/corpus"
	"portolan.test/istio-judge/evaluate"
)

const (
	clusters    = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
	assignments = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
	listeners   = "type.googleapis.com/envoy.config.listener.v3.Listener"
	routes      = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"

	// patience is how long a server may take for one proxy.
	patience = 60 * time.Second
	largest  = 256 << 20
)

func newNode(id, name, agent string, metadata map[string]any, at *core.Locality) (*core.Node, error) {
	fields, err := structpb.NewStruct(metadata)
	if err != nil {
		return nil, err
	}
	return &core.Node{Id: id, Cluster: name, UserAgentName: agent, Metadata: fields, Locality: at}, nil
}

// Server is a control plane that is asked by ADS, state of the world.
type Server struct{ connection *grpc.ClientConn }

// Dial connects to one.
func Dial(address string) (*Server, error) {
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(largest)))
	return &Server{connection}, err
}

// Output asks as that proxy, and follows the names from listeners to routes and from clusters to endpoints.
func (s *Server) Output(name string, proxy corpus.Proxy, targets []string) (*evaluate.Output, error) {
	self, err := Node(name, proxy)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	stream, err := discovery.NewAggregatedDiscoveryServiceClient(s.connection).StreamAggregatedResources(ctx)
	if err != nil {
		return nil, err
	}
	a := &asker{stream: stream, node: self, have: map[string]map[string]*discovery.Resource{}}
	out := &evaluate.Output{Routes: map[string]*route.RouteConfiguration{}, Clusters: map[string]*cluster.Cluster{}}
	assigned := map[string]*endpoint.ClusterLoadAssignment{}
	out.Endpoints = func(name string) *endpoint.ClusterLoadAssignment { return assigned[name] }

	if proxy.Type == "grpc" {
		err = a.program(out, targets)
	} else {
		err = a.envoy(out)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %v", self.GetId(), err)
	}
	names := evaluate.AssignmentNames(out)
	err = a.ask(assignments, names, len(names), func(r *discovery.DiscoveryResponse) (int, error) {
		for _, packed := range r.GetResources() {
			one := &endpoint.ClusterLoadAssignment{}
			if err := packed.UnmarshalTo(one); err != nil {
				return 0, err
			}
			assigned[one.GetClusterName()] = one
		}
		return len(assigned), nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %v", self.GetId(), err)
	}
	return out, nil
}

// asker is one stream.
type asker struct {
	stream discovery.AggregatedDiscoveryService_StreamAggregatedResourcesClient
	node   *core.Node
	have   map[string]map[string]*discovery.Resource
}

// ask subscribes and takes answers until so many resources are there; with 0 wanted, the first answer will do.
func (a *asker) ask(kind string, names []string, wanted int, take func(*discovery.DiscoveryResponse) (int, error)) error {
	if names != nil && len(names) == 0 {
		return nil
	}
	sort.Strings(names)
	request := &discovery.DiscoveryRequest{TypeUrl: kind, ResourceNames: names, Node: a.node}
	for {
		if err := a.stream.Send(request); err != nil {
			return fmt.Errorf("%s: %v", kind, err)
		}
		answer, err := a.next(kind)
		if err != nil {
			return fmt.Errorf("%s of %v: %v", kind, names, err)
		}
		have, err := take(answer)
		if err != nil {
			return fmt.Errorf("%s: %v", kind, err)
		}
		request = &discovery.DiscoveryRequest{
			TypeUrl: kind, ResourceNames: names, VersionInfo: answer.GetVersionInfo(), ResponseNonce: answer.GetNonce(),
		}
		if have >= wanted {
			return a.stream.Send(request)
		}
	}
}

// next is the next answer of a type; what comes of another is acknowledged by what is asked later.
func (a *asker) next(kind string) (*discovery.DiscoveryResponse, error) {
	for {
		answer, err := a.stream.Recv()
		if err != nil {
			return nil, err
		}
		if answer.GetTypeUrl() == kind {
			return answer, nil
		}
	}
}

func (a *asker) envoy(out *evaluate.Output) error {
	if err := a.ask(clusters, nil, 0, takeClusters(out)); err != nil {
		return err
	}
	if err := a.ask(listeners, nil, 0, takeListeners(out)); err != nil {
		return err
	}
	names := evaluate.RouteNames(out.Listeners)
	return a.ask(routes, names, len(names), takeRoutes(out))
}

// program asks by name; a name that nobody has is answered by an answer without it.
func (a *asker) program(out *evaluate.Output, targets []string) error {
	if err := a.ask(listeners, targets, 0, takeListeners(out)); err != nil {
		return err
	}
	names := evaluate.RouteNames(out.Listeners)
	if err := a.ask(routes, names, len(names), takeRoutes(out)); err != nil {
		return err
	}
	return a.ask(clusters, evaluate.ClusterNames(out), 0, takeClusters(out))
}

func takeClusters(out *evaluate.Output) func(*discovery.DiscoveryResponse) (int, error) {
	return func(r *discovery.DiscoveryResponse) (int, error) {
		for _, packed := range r.GetResources() {
			one := &cluster.Cluster{}
			if err := packed.UnmarshalTo(one); err != nil {
				return 0, err
			}
			out.Clusters[one.GetName()] = one
		}
		return len(out.Clusters), nil
	}
}

func takeListeners(out *evaluate.Output) func(*discovery.DiscoveryResponse) (int, error) {
	return func(r *discovery.DiscoveryResponse) (int, error) {
		for _, packed := range r.GetResources() {
			one := &listener.Listener{}
			if err := packed.UnmarshalTo(one); err != nil {
				return 0, err
			}
			out.Listeners = append(out.Listeners, one)
		}
		return len(out.Listeners), nil
	}
}

func takeRoutes(out *evaluate.Output) func(*discovery.DiscoveryResponse) (int, error) {
	return func(r *discovery.DiscoveryResponse) (int, error) {
		for _, packed := range r.GetResources() {
			one := &route.RouteConfiguration{}
			if err := packed.UnmarshalTo(one); err != nil {
				return 0, err
			}
			out.Routes[one.GetName()] = one
		}
		return len(out.Routes), nil
	}
}
