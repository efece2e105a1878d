package evaluate

import (
	"encoding/base64"
	"fmt"
	"net"
	"strconv"
	"strings"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	router "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// passive filters change no request and no answer of those that are judged: they count, or have nothing to do without
// Istio's own peers.
var passive = map[string]bool{
	"istio.metadata_exchange": true, "istio.alpn": true, "istio.stats": true,
	"envoy.filters.http.grpc_stats": true, "envoy.filters.http.grpc_web": true,
	"waypoint_upstream_peer_metadata": true, "waypoint_downstream_peer_metadata": true,
}

// http goes on from a connection manager to the route.
func (o *Output) http(manager *hcm.HttpConnectionManager, call Call, d Decision) {
	rest := proto.Clone(manager).(*hcm.HttpConnectionManager)
	rest.RouteSpecifier, rest.HttpFilters, rest.StatPrefix, rest.Tracing = nil, nil, "", nil
	d.flatten("http", rest)
	filters := map[string]bool{}
	var names []string
	for _, filter := range manager.GetHttpFilters() {
		if !passive[filter.GetName()] {
			filters[filter.GetName()] = true
			names = append(names, filter.GetName())
			if config := message(filter.GetTypedConfig()); config != nil {
				if _, is := config.(*router.Router); !is {
					d.flatten("http.filter "+filter.GetName(), config)
				}
			}
		}
	}
	d["http.filters"] = strings.Join(names, " ")
	rc := manager.GetRouteConfig()
	if rds := manager.GetRds(); rds != nil {
		d.note("routes", rds.GetRouteConfigName())
		if rc = o.Routes[rds.GetRouteConfigName()]; rc == nil {
			// The listener waits for it, and does not open.
			d.end(KindRefused, "no route configuration "+rds.GetRouteConfigName())
			return
		}
	}
	if manager.GetStripAnyHostPort() {
		call.Host = withoutPort(call.Host)
	}
	if manager.GetStripTrailingHostDot() {
		call.Host = strings.TrimSuffix(call.Host, ".")
	}
	call.Path = normalised(call.Path, manager.GetNormalizePath().GetValue(), manager.GetMergeSlashes())
	r, vh := o.route(rc, call, d)
	if r != nil {
		o.action(r, vh, rc, filters, call, d)
	}
}

// route is the first of the host's that fits; without one the decision is made.
func (o *Output) route(rc *route.RouteConfiguration, call Call, d Decision) (*route.Route, *route.VirtualHost) {
	vh := hostOf(rc, call.Host)
	if vh == nil {
		d.end(KindNoRoute, "no virtual host for "+call.Host)
		return nil, nil
	}
	d.note("virtual host", vh.GetName())
	if vh.GetRequireTls() != route.VirtualHost_NONE && !call.TLS {
		d.end(KindRedirect, "the host requires TLS")
		d["redirect.status"] = "301"
		d["redirect.location"] = "https://" + call.Host + call.Path
		d["redirect.tls"] = "required"
		return nil, nil
	}
	for _, r := range vh.GetRoutes() {
		if matches(r.GetMatch(), call) {
			d.note("route", r.GetName())
			return r, vh
		}
	}
	d.end(KindNoRoute, "no route of "+vh.GetName())
	return nil, nil
}

func (o *Output) action(
	r *route.Route, vh *route.VirtualHost, rc *route.RouteConfiguration, filters map[string]bool, call Call, d Decision,
) {
	d["route.name"] = r.GetName()
	if prefix := r.GetStatPrefix(); prefix != "" {
		d["route.stat_prefix"] = prefix
	}
	levels := []mutations{mutationsOf(r), mutationsOf(vh), mutationsOf(rc)}
	if rc.GetMostSpecificHeaderMutationsWins() {
		levels = []mutations{levels[2], levels[1], levels[0]}
	}
	perFilter := []map[string]*anypb.Any{rc.GetTypedPerFilterConfig(), vh.GetTypedPerFilterConfig(), r.GetTypedPerFilterConfig()}
	switch a := r.GetAction().(type) {
	case *route.Route_Route:
		d[Kind] = KindRoute
		if vh.GetIncludeRequestAttemptCount() {
			d["route.include_request_attempt_count"] = "true"
		}
		o.forward(a.Route, r.GetMatch(), levels, perFilter, filters, call, d)
		return
	case *route.Route_Redirect:
		d.end(KindRedirect, "a redirect")
		d["redirect.status"] = map[route.RedirectAction_RedirectResponseCode]string{
			route.RedirectAction_MOVED_PERMANENTLY: "301", route.RedirectAction_FOUND: "302",
			route.RedirectAction_SEE_OTHER: "303", route.RedirectAction_TEMPORARY_REDIRECT: "307",
			route.RedirectAction_PERMANENT_REDIRECT: "308",
		}[a.Redirect.GetResponseCode()]
		d["redirect.location"] = location(a.Redirect, r.GetMatch(), call)
	case *route.Route_DirectResponse:
		d.end(KindDirect, "a direct response")
		d["direct.status"] = fmt.Sprint(a.DirectResponse.GetStatus())
		d["direct.body"] = body(a.DirectResponse.GetBody())
	default:
		d.end(KindDrop, "the route has no action")
	}
	d.answers("", levels)
	d.perFilter("", perFilter, filters)
}

func body(source *core.DataSource) string {
	switch s := source.GetSpecifier().(type) {
	case *core.DataSource_InlineString:
		return s.InlineString
	case *core.DataSource_InlineBytes:
		return string(s.InlineBytes)
	case nil:
		return ""
	default:
		return fmt.Sprint(s)
	}
}

// location is where a redirect leads.
func location(a *route.RedirectAction, m *route.RouteMatch, call Call) string {
	scheme, host := call.scheme(), call.Host
	switch {
	case a.GetHttpsRedirect():
		scheme = "https"
	case a.GetSchemeRedirect() != "":
		scheme = a.GetSchemeRedirect()
	}
	if scheme != call.scheme() {
		if bare, port, err := net.SplitHostPort(host); err == nil &&
			(call.scheme() == "http" && port == "80" || call.scheme() == "https" && port == "443") {
			host = bare
		}
	}
	if a.GetHostRedirect() != "" {
		host = a.GetHostRedirect()
	}
	if a.GetPortRedirect() != 0 {
		host = withoutPort(host) + ":" + strconv.Itoa(int(a.GetPortRedirect()))
	}
	path, query, has := strings.Cut(call.Path, "?")
	switch s := a.GetPathRewriteSpecifier().(type) {
	case *route.RedirectAction_PathRedirect:
		if s.PathRedirect == "" {
			break
		}
		if strings.Contains(s.PathRedirect, "?") {
			has = false
		}
		path = s.PathRedirect
	case *route.RedirectAction_PrefixRewrite:
		if s.PrefixRewrite != "" {
			path = replaced(m, path, s.PrefixRewrite)
		}
	case *route.RedirectAction_RegexRewrite:
		path = substituted(s.RegexRewrite.GetPattern().GetRegex(), s.RegexRewrite.GetSubstitution(), path)
	}
	if has && !a.GetStripQuery() {
		path += "?" + query
	}
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	return scheme + "://" + host + path
}

// replaced has another text for the part of a path that was matched.
func replaced(m *route.RouteMatch, path, by string) string {
	switch s := m.GetPathSpecifier().(type) {
	case *route.RouteMatch_Prefix:
		return by + path[min(len(path), len(s.Prefix)):]
	case *route.RouteMatch_PathSeparatedPrefix:
		return by + path[min(len(path), len(s.PathSeparatedPrefix)):]
	}
	return by
}

// substituted has a text for all that a regex finds, `\1` its groups.
func substituted(regex, by, path string) string {
	var text strings.Builder
	for n := 0; n < len(by); n++ {
		switch c := by[n]; {
		case c == '\\' && n+1 < len(by) && by[n+1] >= '0' && by[n+1] <= '9':
			n++
			fmt.Fprintf(&text, "${%c}", by[n])
		case c == '\\' && n+1 < len(by):
			n++
			text.WriteByte(by[n])
		case c == '$':
			text.WriteString("$$")
		default:
			text.WriteByte(c)
		}
	}
	return compiled(regex).ReplaceAllString(path, text.String())
}

// perFilter writes what filters are told for this route; what a filter that is not there is told does nothing.
func (d Decision) perFilter(under string, levels []map[string]*anypb.Any, filters map[string]bool) {
	last := map[string]*anypb.Any{}
	for _, level := range levels {
		for name, config := range level {
			last[name] = config
		}
	}
	for name, config := range last {
		key := under + strings.TrimPrefix(name, "envoy.filters.http.")
		switch value := message(config); {
		case passive[name]:
		case !filters[name]:
			d[key] = "told, and no filter for it"
		case value == nil:
			d[key] = base64.StdEncoding.EncodeToString(config.GetValue())
		default:
			d.flatten(key, value)
			if len(d.below(key)) == 0 {
				d[key] = "{}"
			}
		}
	}
}

func (d Decision) below(key string) []string {
	var found []string
	for name := range d {
		if name == key || strings.HasPrefix(name, key+".") || strings.HasPrefix(name, key+"[") {
			found = append(found, name)
		}
	}
	return found
}
