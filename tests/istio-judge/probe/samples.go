package probe

import (
	"regexp/syntax"
	"strings"

	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

// pathsOf are paths that a route may take, the one that it takes first.
func pathsOf(m *route.RouteMatch) []string {
	near := func(path string, more ...string) []string {
		all := append([]string{path}, more...)
		// A client sends no path that begins otherwise.
		for n, one := range all {
			if !strings.HasPrefix(one, "/") {
				all[n] = "/" + one
			}
		}
		path = all[0]
		return append(all, path+"x", path+"/", path+"/x", strings.ToUpper(path), swap(path), path[:max(1, len(path)-1)], path+"?x=1", "/"+path)
	}
	switch s := m.GetPathSpecifier().(type) {
	case *route.RouteMatch_Path:
		return near(s.Path)
	case *route.RouteMatch_Prefix:
		return near(s.Prefix)
	case *route.RouteMatch_PathSeparatedPrefix:
		return near(s.PathSeparatedPrefix)
	case *route.RouteMatch_SafeRegex:
		return near(sample(s.SafeRegex.GetRegex(), 0), sample(s.SafeRegex.GetRegex(), 1), sample(s.SafeRegex.GetRegex(), 2))
	}
	return []string{"/"}
}

// swap changes the case of the last letter.
func swap(path string) string {
	for n := len(path) - 1; n >= 0; n-- {
		switch c := path[n]; {
		case c >= 'a' && c <= 'z':
			return path[:n] + string(c-32) + path[n+1:]
		case c >= 'A' && c <= 'Z':
			return path[:n] + string(c+32) + path[n+1:]
		}
	}
	return path + "A"
}

// valuesOf are values of a header, the one that fits first.
func valuesOf(m *route.HeaderMatcher) []string {
	fits := []string{"sample"}
	switch s := m.GetHeaderMatchSpecifier().(type) {
	case *route.HeaderMatcher_StringMatch:
		fits = texts(s.StringMatch)
	case *route.HeaderMatcher_ExactMatch:
		fits = around(s.ExactMatch)
	case *route.HeaderMatcher_PrefixMatch:
		fits = around(s.PrefixMatch)
	case *route.HeaderMatcher_SafeRegexMatch:
		fits = around(sample(s.SafeRegexMatch.GetRegex(), 0))
	case *route.HeaderMatcher_PresentMatch:
		fits = []string{"sample", "", absent}
		if !s.PresentMatch {
			return []string{absent, "sample", ""}
		}
	}
	if m.GetInvertMatch() {
		return append([]string{"unlike", absent}, fits...)
	}
	return append(fits, absent, "", "unlike")
}

func texts(m *matcher.StringMatcher) []string {
	switch s := m.GetMatchPattern().(type) {
	case *matcher.StringMatcher_Exact:
		return around(s.Exact)
	case *matcher.StringMatcher_Prefix:
		return around(s.Prefix)
	case *matcher.StringMatcher_Suffix:
		return around(s.Suffix)
	case *matcher.StringMatcher_Contains:
		return around(s.Contains)
	case *matcher.StringMatcher_SafeRegex:
		r := s.SafeRegex.GetRegex()
		return append(around(sample(r, 0)), sample(r, 1), sample(r, 2))
	}
	return []string{"sample"}
}

func around(text string) []string {
	all := []string{text, text + "x", "x" + text, strings.ToUpper(text), swap(text)}
	if len(text) > 1 {
		all = append(all, text[:len(text)-1], text[1:])
	}
	return all
}

// query are parameters as they are sent, the one that fits first.
func query(m *route.QueryParameterMatcher) []string {
	var all []string
	values := []string{"1", ""}
	if text := m.GetStringMatch(); text != nil {
		values = append(texts(text), "", "unlike")
	}
	for _, value := range values {
		all = append(all, m.GetName()+"="+value)
	}
	return append(all, m.GetName(), "x"+m.GetName()+"="+values[0], m.GetName()+"=unlike&"+m.GetName()+"="+values[0])
}

// sample is a text that a regex matches; variants differ in what they repeat and choose.
func sample(regex string, variant int) string {
	parsed, err := syntax.Parse(regex, syntax.Perl)
	if err != nil {
		return "/unreadable"
	}
	var out strings.Builder
	write(&out, parsed, variant)
	return out.String()
}

func write(out *strings.Builder, r *syntax.Regexp, variant int) {
	repeat := func(least, most int) {
		times := least + variant
		if most >= 0 {
			times = min(times, most)
		}
		for range times {
			write(out, r.Sub[0], variant)
		}
	}
	switch r.Op {
	case syntax.OpLiteral:
		out.WriteString(string(r.Rune))
	case syntax.OpCharClass:
		if len(r.Rune) > 0 {
			pick := min(variant, len(r.Rune)/2-1) * 2
			low, high := r.Rune[pick], r.Rune[pick+1]
			// A negated class begins at 0; take a letter that it has.
			if low < 'a' && high > 'a' {
				low = 'a'
			}
			out.WriteRune(low)
		}
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		out.WriteByte('a')
	case syntax.OpCapture, syntax.OpConcat:
		for _, sub := range r.Sub {
			write(out, sub, variant)
		}
	case syntax.OpAlternate:
		write(out, r.Sub[variant%len(r.Sub)], variant)
	case syntax.OpStar:
		repeat(0, -1)
	case syntax.OpPlus:
		repeat(1, -1)
	case syntax.OpQuest:
		repeat(0, 1)
	case syntax.OpRepeat:
		repeat(r.Min, r.Max)
	}
}
