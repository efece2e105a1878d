package evaluate

import (
	"strings"

	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
)

// words are the conditions for retries that gRPC knows; it passes over the others.
var words = map[string]bool{
	"cancelled": true, "deadline-exceeded": true, "internal": true, "resource-exhausted": true, "unavailable": true,
}

// program decides the call of a gRPC program that has the configuration itself: listener by the target's text, virtual
// host by the same text, route, clusters. Only what gRPC uses stands in the decision.
func (o *Output) program(call Call, d Decision) {
	var found *listener.Listener
	for _, l := range o.Listeners {
		if l.GetName() == call.Target {
			found = l
		}
	}
	if found == nil {
		d.end(KindRefused, "no listener "+call.Target)
		return
	}
	manager, ok := message(found.GetApiListener().GetApiListener()).(*hcm.HttpConnectionManager)
	if !ok {
		d.end(KindReset, "the listener is none for programs")
		return
	}
	filters := map[string]bool{}
	for _, filter := range manager.GetHttpFilters() {
		filters[filter.GetName()] = true
	}
	rc := manager.GetRouteConfig()
	if rds := manager.GetRds(); rds != nil {
		rc = o.Routes[rds.GetRouteConfigName()]
	}
	if rc == nil {
		d.end(KindRefused, "no route configuration")
		return
	}
	call.Host = call.Target
	r, vh := o.route(rc, call, d)
	if r == nil {
		return
	}
	action, ok := r.GetAction().(*route.Route_Route)
	if !ok {
		// Whatever it is, the call fails; a redirect and a direct response alike.
		d.end(KindDrop, "no route action")
		return
	}
	d[Kind] = KindRoute
	whole := Decision{}
	o.forward(action.Route, r.GetMatch(), []mutations{mutationsOf(r), mutationsOf(vh), mutationsOf(rc)}, nil, filters, call, whole)
	for key, value := range whole {
		if used(key) {
			d[key] = value
		}
	}
	d.limits(action.Route)
	d.retries(action.Route.GetRetryPolicy())
	if fault := r.GetTypedPerFilterConfig()["envoy.filters.http.fault"]; fault != nil && filters["envoy.filters.http.fault"] {
		d.flatten("fault", message(fault))
	}
}

// used says whether gRPC reads what a field says.
func used(key string) bool {
	if key == To {
		return true
	}
	if !strings.HasPrefix(key, "cluster ") {
		return false
	}
	for _, part := range []string{".endpoints", ".lb_policy", "_lb_config", "max_requests", ".type"} {
		if strings.Contains(key, part) {
			return true
		}
	}
	return false
}

func (d Decision) limits(a *route.RouteAction) {
	limit := a.GetMaxStreamDuration()
	switch {
	case limit.GetGrpcTimeoutHeaderMax() != nil:
		d["limit"] = duration(limit.GetGrpcTimeoutHeaderMax())
	case limit.GetMaxStreamDuration() != nil:
		d["limit"] = duration(limit.GetMaxStreamDuration())
	}
	if d["limit"] == "0s" {
		delete(d, "limit")
	}
}

func (d Decision) retries(policy *route.RetryPolicy) {
	var on []string
	for _, word := range strings.Split(policy.GetRetryOn(), ",") {
		if words[word] {
			on = append(on, word)
		}
	}
	if len(on) > 0 {
		times := Decision{}
		times.flatten("retries", policy.GetNumRetries())
		d["retries"] = times["retries"] + " on " + strings.Join(sortedWords(on), ",")
	}
}

func sortedWords(of []string) []string {
	set := map[string]bool{}
	for _, word := range of {
		set[word] = true
	}
	return sortedKeys(set)
}
