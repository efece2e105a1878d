package evaluate

import (
	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
)

// Managers are the HTTP connection managers of a listener, with their chains.
func Managers(l *listener.Listener, take func(*listener.FilterChain, *hcm.HttpConnectionManager)) {
	if manager, ok := message(l.GetApiListener().GetApiListener()).(*hcm.HttpConnectionManager); ok {
		take(nil, manager)
	}
	chains := l.GetFilterChains()
	if l.GetDefaultFilterChain() != nil {
		chains = append(chains[:len(chains):len(chains)], l.GetDefaultFilterChain())
	}
	for _, chain := range chains {
		for _, filter := range chain.GetFilters() {
			if manager, ok := message(filter.GetTypedConfig()).(*hcm.HttpConnectionManager); ok {
				take(chain, manager)
			}
		}
	}
}

// RouteNames are the route configurations that listeners ask for, each once.
func RouteNames(listeners []*listener.Listener) []string {
	found := map[string]bool{}
	for _, l := range listeners {
		Managers(l, func(_ *listener.FilterChain, manager *hcm.HttpConnectionManager) {
			if name := manager.GetRds().GetRouteConfigName(); name != "" {
				found[name] = true
			}
		})
	}
	return sortedKeys(found)
}

// ClusterNames are the clusters that routes name, each once.
func ClusterNames(out *Output) []string {
	found := map[string]bool{}
	for _, rc := range out.Routes {
		for _, vh := range rc.GetVirtualHosts() {
			for _, r := range vh.GetRoutes() {
				action := r.GetAction()
				if a, ok := action.(*route.Route_Route); ok {
					for _, one := range shares(a.Route, Call{}) {
						found[one.cluster] = true
					}
				}
			}
		}
	}
	delete(found, "")
	return sortedKeys(found)
}

// AssignmentNames are the assignments that clusters ask for, each once.
func AssignmentNames(out *Output) []string {
	found := map[string]bool{}
	for name, c := range out.Clusters {
		if c.GetType() != cluster.Cluster_EDS {
			continue
		}
		if service := c.GetEdsClusterConfig().GetServiceName(); service != "" {
			name = service
		}
		found[name] = true
	}
	return sortedKeys(found)
}
