package evaluate

import (
	"strings"

	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tls "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// Stock leaves out what an Envoy without Istio's own extensions and agent would refuse, and what nobody calls. It changes no decision:
// what it takes away is passed over by decisions, too, and certificates are named as decisions name them.
func Stock(out *Output) error {
	var kept []*listener.Listener
	for _, l := range out.Listeners {
		if strings.HasPrefix(l.GetName(), "virtual") {
			continue
		}
		chains := l.GetFilterChains()
		if l.GetDefaultFilterChain() != nil {
			chains = append(chains[:len(chains):len(chains)], l.GetDefaultFilterChain())
		}
		for _, chain := range chains {
			if err := stockChain(chain); err != nil {
				return err
			}
		}
		l.AccessLog = nil
		kept = append(kept, l)
	}
	out.Listeners = kept
	for _, c := range out.Clusters {
		c.Filters = nil
		if socket := c.GetTransportSocket(); socket != nil {
			context := &tls.UpstreamTlsContext{}
			err := repack(socket.GetTypedConfig(), context, func() { named(context.GetCommonTlsContext()) })
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func stockChain(chain *listener.FilterChain) error {
	if socket := chain.GetTransportSocket(); socket != nil {
		context := &tls.DownstreamTlsContext{}
		if err := repack(socket.GetTypedConfig(), context, func() { named(context.GetCommonTlsContext()) }); err != nil {
			return err
		}
	}
	var filters []*listener.Filter
	for _, filter := range chain.GetFilters() {
		if strings.HasPrefix(filter.GetName(), "istio.") {
			continue
		}
		filters = append(filters, filter)
		manager := &hcm.HttpConnectionManager{}
		err := repack(filter.GetTypedConfig(), manager, func() {
			var kept []*hcm.HttpFilter
			for _, one := range manager.GetHttpFilters() {
				if !passive[one.GetName()] {
					kept = append(kept, one)
				}
			}
			manager.HttpFilters, manager.Tracing = kept, nil
		})
		if err != nil {
			return err
		}
	}
	chain.Filters = filters
	return nil
}

// repack changes what is packed, if it is of that type.
func repack(packed *anypb.Any, as proto.Message, change func()) error {
	if !packed.MessageIs(as) {
		return nil
	}
	if err := packed.UnmarshalTo(as); err != nil {
		return err
	}
	change()
	again, err := anypb.New(as)
	if err != nil {
		return err
	}
	packed.Value = again.Value
	return nil
}
