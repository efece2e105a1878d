package planes

import (
	"fmt"
	"net"
	"sort"
	"sync"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"portolan.test/istio-judge/evaluate"
)

// Serve gives outputs to real clients by ADS, state of the world, each answered once: for whoever a node is, what a function
// makes for it. It returns the address.
func Serve(address string, make func(*core.Node) (*evaluate.Output, error)) (net.Addr, error) {
	socket, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	server := grpc.NewServer(grpc.MaxSendMsgSize(largest))
	discovery.RegisterAggregatedDiscoveryServiceServer(server, &given{make: make})
	go func() { _ = server.Serve(socket) }()
	return socket.Addr(), nil
}

type given struct {
	discovery.UnimplementedAggregatedDiscoveryServiceServer
	make func(*core.Node) (*evaluate.Output, error)
	// Istio's generators are used by one at a time.
	mutex sync.Mutex
}

// StreamAggregatedResources answers the first request of a type, and those that name more.
func (g *given) StreamAggregatedResources(stream discovery.AggregatedDiscoveryService_StreamAggregatedResourcesServer) error {
	var out *evaluate.Output
	asked := map[string]string{}
	for nonce := 1; ; nonce++ {
		request, err := stream.Recv()
		if err != nil {
			return nil
		}
		if request.GetErrorDetail() != nil {
			fmt.Println("refused:", request.GetTypeUrl(), request.GetErrorDetail().GetMessage())
		}
		if out == nil {
			g.mutex.Lock()
			out, err = g.make(request.GetNode())
			g.mutex.Unlock()
			if err != nil {
				return err
			}
		}
		names := fmt.Sprint(request.GetResourceNames())
		if last, ok := asked[request.GetTypeUrl()]; ok && last == names {
			continue
		}
		asked[request.GetTypeUrl()] = names
		answer := &discovery.DiscoveryResponse{TypeUrl: request.GetTypeUrl(), VersionInfo: "1", Nonce: fmt.Sprint(nonce)}
		g.mutex.Lock()
		resources := resources(out, request)
		g.mutex.Unlock()
		for _, one := range resources {
			packed, err := anypb.New(one)
			if err != nil {
				return err
			}
			answer.Resources = append(answer.Resources, packed)
		}
		if err := stream.Send(answer); err != nil {
			return nil
		}
	}
}

// resources are those that a request asks for, in order.
func resources(out *evaluate.Output, request *discovery.DiscoveryRequest) []proto.Message {
	all := map[string]proto.Message{}
	switch request.GetTypeUrl() {
	case clusters:
		for name, c := range out.Clusters {
			all[name] = c
		}
	case listeners:
		for _, l := range out.Listeners {
			all[l.GetName()] = l
		}
	case routes:
		for name, rc := range out.Routes {
			all[name] = rc
		}
	case assignments:
		for _, name := range request.GetResourceNames() {
			if one := out.Endpoints(name); one != nil {
				all[name] = one
			}
		}
	}
	wanted := map[string]bool{}
	for _, name := range request.GetResourceNames() {
		wanted[name] = name != "*"
	}
	var names []string
	for name := range all {
		if len(wanted) == 0 || wanted["*"] || wanted[name] {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	var chosen []proto.Message
	for _, name := range names {
		chosen = append(chosen, all[name])
	}
	return chosen
}
