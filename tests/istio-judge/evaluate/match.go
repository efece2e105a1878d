package evaluate

import (
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

// hostOf is a vhost's domain for a Host header: exact, then the longest `*.suffix`, then the longest `prefix.*`, then `*`.
func hostOf(rc *route.RouteConfiguration, host string) *route.VirtualHost {
	host = strings.ToLower(host)
	if rc.GetIgnorePortInHostMatching() {
		host = withoutPort(host)
	}
	var best *route.VirtualHost
	rank := -1
	for _, vh := range rc.GetVirtualHosts() {
		for _, domain := range vh.GetDomains() {
			if r := domainRank(strings.ToLower(domain), host); r > rank {
				best, rank = vh, r
			}
		}
	}
	return best
}

// A domain has at most 255 characters, so a step of 1,000 keeps the kinds apart.
func domainRank(domain, host string) int {
	switch {
	case domain == host:
		return 3000
	case domain == "*":
		return 0
	case strings.HasPrefix(domain, "*") && len(host) >= len(domain) && strings.HasSuffix(host, domain[1:]):
		return 2000 + len(domain)
	case strings.HasSuffix(domain, "*") && len(host) >= len(domain) && strings.HasPrefix(host, domain[:len(domain)-1]):
		return 1000 + len(domain)
	}
	return -1
}

func withoutPort(host string) string {
	if bare, port, err := net.SplitHostPort(host); err == nil {
		if _, err := strconv.Atoi(port); err == nil {
			if strings.Contains(bare, ":") {
				return "[" + bare + "]"
			}
			return bare
		}
	}
	return host
}

// matches says whether a route's conditions hold.
func matches(m *route.RouteMatch, call Call) bool {
	path, query, _ := strings.Cut(call.Path, "?")
	if !matchesPath(m, path) {
		return false
	}
	for _, header := range m.GetHeaders() {
		if !matchesHeader(header, call) {
			return false
		}
	}
	for _, parameter := range m.GetQueryParameters() {
		if !matchesQuery(parameter, query) {
			return false
		}
	}
	if m.GetGrpc() != nil {
		if kind, _ := call.value("content-type"); !strings.HasPrefix(kind, "application/grpc") {
			return false
		}
	}
	// No filter of ours writes metadata or filter state, and clients show no certificate that a route asks for.
	for _, data := range m.GetDynamicMetadata() {
		if !data.GetInvert() {
			return false
		}
	}
	if context := m.GetTlsContext(); context != nil {
		if presented := context.GetPresented(); presented != nil && presented.GetValue() != call.Certificate {
			return false
		}
	}
	if fraction := m.GetRuntimeFraction(); fraction != nil && fraction.GetDefaultValue().GetNumerator() == 0 {
		return false
	}
	return len(m.GetFilterState()) == 0
}

func matchesPath(m *route.RouteMatch, path string) bool {
	fold := m.GetCaseSensitive() != nil && !m.GetCaseSensitive().GetValue()
	same := func(a, b string) bool { return a == b || fold && strings.EqualFold(a, b) }
	switch s := m.GetPathSpecifier().(type) {
	case *route.RouteMatch_Prefix:
		return len(path) >= len(s.Prefix) && same(path[:len(s.Prefix)], s.Prefix)
	case *route.RouteMatch_Path:
		return same(path, s.Path)
	case *route.RouteMatch_PathSeparatedPrefix:
		p := s.PathSeparatedPrefix
		return len(path) >= len(p) && same(path[:len(p)], p) && (len(path) == len(p) || path[len(p)] == '/')
	case *route.RouteMatch_SafeRegex:
		return whole(s.SafeRegex.GetRegex()).MatchString(path)
	}
	return false
}

var (
	regexes sync.Map
	never   = regexp.MustCompile(`[^\s\S]`)
)

// whole is a regex that has to match all of a text, as in Envoy.
func whole(text string) *regexp.Regexp { return compiled(`^(?:` + text + `)$`) }

// compiled is a regex; one that RE2 would refuse matches nothing.
func compiled(text string) *regexp.Regexp {
	if found, ok := regexes.Load(text); ok {
		return found.(*regexp.Regexp)
	}
	regex, err := regexp.Compile(text)
	if err != nil {
		regex = never
	}
	regexes.Store(text, regex)
	return regex
}

// matchesHeader takes a header's lines one by one, as Envoy 1.40 does (earlier ones joined them): one that fits is enough.
func matchesHeader(m *route.HeaderMatcher, call Call) bool {
	values := call.values(strings.ToLower(m.GetName()))
	present := len(values) > 0
	if s, ok := m.GetHeaderMatchSpecifier().(*route.HeaderMatcher_PresentMatch); ok {
		return (present == s.PresentMatch) != m.GetInvertMatch()
	}
	if m.GetHeaderMatchSpecifier() == nil {
		return present != m.GetInvertMatch()
	}
	if !present && !m.GetTreatMissingHeaderAsEmpty() {
		return false
	}
	if !present {
		values = []string{""}
	}
	return slices.ContainsFunc(values, func(value string) bool { return holds(m, value) }) != m.GetInvertMatch()
}

func holds(m *route.HeaderMatcher, value string) bool {
	switch s := m.GetHeaderMatchSpecifier().(type) {
	case *route.HeaderMatcher_StringMatch:
		return matchesText(s.StringMatch, value)
	case *route.HeaderMatcher_ExactMatch:
		return value == s.ExactMatch
	case *route.HeaderMatcher_PrefixMatch:
		return strings.HasPrefix(value, s.PrefixMatch)
	case *route.HeaderMatcher_SuffixMatch:
		return strings.HasSuffix(value, s.SuffixMatch)
	case *route.HeaderMatcher_ContainsMatch:
		return strings.Contains(value, s.ContainsMatch)
	case *route.HeaderMatcher_SafeRegexMatch:
		return whole(s.SafeRegexMatch.GetRegex()).MatchString(value)
	case *route.HeaderMatcher_RangeMatch:
		number, err := strconv.ParseInt(value, 10, 64)
		return err == nil && number >= s.RangeMatch.GetStart() && number < s.RangeMatch.GetEnd()
	}
	return false
}

func matchesText(m *matcher.StringMatcher, value string) bool {
	fold := func(text string) string {
		if m.GetIgnoreCase() {
			return strings.ToLower(text)
		}
		return text
	}
	value = fold(value)
	switch s := m.GetMatchPattern().(type) {
	case *matcher.StringMatcher_Exact:
		return value == fold(s.Exact)
	case *matcher.StringMatcher_Prefix:
		return strings.HasPrefix(value, fold(s.Prefix))
	case *matcher.StringMatcher_Suffix:
		return strings.HasSuffix(value, fold(s.Suffix))
	case *matcher.StringMatcher_Contains:
		return strings.Contains(value, fold(s.Contains))
	case *matcher.StringMatcher_SafeRegex:
		return whole(s.SafeRegex.GetRegex()).MatchString(value)
	}
	return false
}

// matchesQuery takes the first of several parameters of one name, undecoded, as Envoy does.
func matchesQuery(m *route.QueryParameterMatcher, query string) bool {
	value, present := "", false
	for _, pair := range strings.Split(query, "&") {
		name, text, _ := strings.Cut(pair, "=")
		if name == m.GetName() && pair != "" {
			value, present = text, true
			break
		}
	}
	switch s := m.GetQueryParameterMatchSpecifier().(type) {
	case *route.QueryParameterMatcher_PresentMatch:
		return present == s.PresentMatch
	case *route.QueryParameterMatcher_StringMatch:
		return present && matchesText(s.StringMatch, value)
	}
	return present
}

// normalised is a path as the connection manager's options leave it.
func normalised(path string, normalise, merge bool) string {
	bare, query, has := strings.Cut(path, "?")
	if normalise {
		bare = strings.ReplaceAll(bare, `\`, "/")
		bare = strings.NewReplacer("%2e", ".", "%2E", ".").Replace(bare)
		if parsed, err := url.ParseRequestURI(bare); err == nil {
			kept := parsed.EscapedPath()
			slash := strings.HasSuffix(kept, "/") || strings.HasSuffix(kept, "/.") || strings.HasSuffix(kept, "/..")
			var parts []string
			for _, part := range strings.Split(strings.TrimPrefix(kept, "/"), "/") {
				switch part {
				case ".":
				case "..":
					parts = parts[:max(0, len(parts)-1)]
				default:
					parts = append(parts, part)
				}
			}
			bare = "/" + strings.Join(parts, "/")
			if slash && !strings.HasSuffix(bare, "/") {
				bare += "/"
			}
		}
	}
	for merge && strings.Contains(bare, "//") {
		bare = strings.ReplaceAll(bare, "//", "/")
	}
	if has {
		return bare + "?" + query
	}
	return bare
}
