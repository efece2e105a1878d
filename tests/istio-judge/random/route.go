package random

import "fmt"

func (m *maker) text() string { return pick(m, "1", "v1", "jason", "true", "a-b") }

func (m *maker) match() fields {
	match := fields{}
	if m.chance(75) {
		match["uri"] = pick(m,
			fields{"prefix": pick(m, "/", "/a", "/a/", "/a/b", "/api", "/A", "/x%20y")},
			fields{"prefix": pick(m, "/", "/a", "/a/b")},
			fields{"exact": pick(m, "/", "/a", "/a/b", "/api", "/a/")},
			fields{"regex": pick(m, "/a.*", "/v[12]/.*", "/(a|b)+", "/[a-z]+/[0-9]{1,3}", ".*", "(?i)/A", "/a?", `/a\.b`)})
		if m.chance(15) {
			match["ignoreUriCase"] = m.chance(80)
		}
	}
	if m.chance(30) {
		match["headers"] = m.headers(1 + m.IntN(2))
	}
	if m.chance(12) {
		match["withoutHeaders"] = m.headers(1)
	}
	if m.chance(12) {
		match["queryParams"] = fields{pick(m, "q", "debug"): m.value()}
	}
	if m.chance(10) {
		match["method"] = fields{"exact": pick(m, "GET", "POST")}
	}
	if m.chance(6) {
		match["authority"] = pick(m, fields{"exact": m.host("shop")}, fields{"prefix": "shop"}, fields{"regex": "shop.*"})
	}
	if m.chance(4) {
		match["scheme"] = fields{"exact": pick(m, "http", "https")}
	}
	if m.chance(8) {
		match["port"] = pick(m, 80, 8080, 8443)
	}
	if m.chance(6) {
		match["sourceLabels"] = pick(m, fields{"app": "web"}, fields{"case": m.id})
	}
	if m.chance(4) {
		match["sourceNamespace"] = m.namespace()
	}
	if m.chance(5) {
		match["gateways"] = []any{pick(m, append(m.gateways, "mesh")...)}
	}
	if m.chance(10) {
		match["name"] = "m"
	}
	return match
}

func (m *maker) headers(count int) fields {
	all := fields{}
	for range count {
		all[pick(m, "x-user", "gray", "X-V", "cookie")] = m.value()
	}
	return all
}

func (m *maker) value() fields {
	return pick(m, fields{"exact": m.text()}, fields{"prefix": m.text()}, fields{"regex": pick(m, "v[0-9]", "(a|b).*", ".+", ".*")}, fields{})
}

func (m *maker) route(n int) fields {
	route := fields{}
	var matches []any
	for range m.IntN(3) {
		matches = append(matches, m.match())
	}
	if len(matches) > 0 {
		route["match"] = matches
	}
	if m.chance(20) {
		route["name"] = fmt.Sprintf("route-%d", n)
	}
	if m.chance(25) {
		route["headers"] = m.mutations()
	}
	switch {
	case m.chance(8):
		route["redirect"] = m.redirect()
		return route
	case m.chance(6):
		response := fields{"status": pick(m, 200, 204, 404, 503)}
		if m.chance(60) {
			response["body"] = pick(m, fields{"string": "closed"}, fields{"bytes": "aGVsbG8="})
		}
		route["directResponse"] = response
		return route
	}
	m.forward(route)
	return route
}

func (m *maker) redirect() fields {
	r := fields{}
	if m.chance(50) {
		r["uri"] = "/new"
	}
	if m.chance(50) || len(r) == 0 {
		r["authority"] = "new.example"
	}
	if m.chance(30) {
		r["scheme"] = pick(m, "http", "https")
	}
	switch m.IntN(6) {
	case 0:
		r["port"] = pick(m, 80, 443, 8443)
	case 1:
		r["derivePort"] = pick(m, "FROM_REQUEST_PORT", "FROM_PROTOCOL_DEFAULT")
	}
	if m.chance(40) {
		r["redirectCode"] = pick(m, 301, 302, 303, 307, 308)
	}
	return r
}

func (m *maker) mutations() fields {
	one := func() fields {
		o := fields{}
		if m.chance(60) {
			o["set"] = fields{pick(m, "x-set", "X-User", "x-both"): pick(m, "1", "%START_TIME%", "100%%")}
		}
		if m.chance(40) {
			o["add"] = fields{pick(m, "x-add", "x-both"): "2"}
		}
		if m.chance(30) {
			o["remove"] = []any{pick(m, "x-gone", "server")}
		}
		return o
	}
	all := fields{}
	if m.chance(70) {
		all["request"] = one()
	}
	if m.chance(50) {
		all["response"] = one()
	}
	return all
}

// forward gives a route destinations, and what can stand beside them.
func (m *maker) forward(route fields) {
	to := m.plain()
	for _, one := range to {
		if m.chance(10) {
			one.(fields)["headers"] = m.mutations()
		}
	}
	route["route"] = to
	if m.chance(20) {
		route["rewrite"] = pick(m,
			fields{"uri": pick(m, "/", "/new")}, fields{"authority": "inner.example"}, fields{"uri": "/z", "authority": "inner.example"},
			fields{"uriRegexRewrite": fields{"match": "^/a(/.*)?$", "rewrite": `/b\1`}})
	}
	if m.chance(20) {
		route["timeout"] = pick(m, "1s", "2.5s", "30s", "0.25s")
	}
	if m.chance(25) {
		route["retries"] = m.retries()
	}
	if m.chance(12) {
		route["fault"] = m.fault()
	}
	if m.chance(10) {
		route["mirror"] = m.destination()
		if m.chance(60) {
			route["mirrorPercentage"] = fields{"value": pick(m, 0.0, 1.0, 12.5, 100.0, 0.01)}
		}
	} else if m.chance(5) {
		route["mirrors"] = []any{fields{"destination": m.destination()}, fields{"destination": m.destination(), "percentage": fields{"value": 50}}}
	}
	if m.chance(10) {
		route["corsPolicy"] = m.cors()
	}
}

func (m *maker) retries() fields {
	if m.chance(20) {
		return fields{"attempts": 0}
	}
	r := fields{"attempts": 1 + m.IntN(4)}
	if m.chance(40) {
		r["perTryTimeout"] = pick(m, "1s", "0.5s")
	}
	if m.chance(50) {
		r["retryOn"] = pick(m, "5xx", "gateway-error,reset", "503", "503,connect-failure", "retriable-4xx,502,503", "unavailable,cancelled")
	}
	if m.chance(15) {
		r["retryRemoteLocalities"] = m.chance(70)
	}
	if m.chance(15) {
		r["backoff"] = "100ms"
	}
	if m.chance(15) {
		r["retryIgnorePreviousHosts"] = m.chance(50)
	}
	return r
}

func (m *maker) fault() fields {
	f := fields{}
	percent := func(o fields) fields {
		if m.chance(85) {
			o["percentage"] = fields{"value": pick(m, 0.0, 0.1, 50.0, 100.0, 33.3333)}
		}
		return o
	}
	if m.chance(60) {
		f["delay"] = percent(fields{"fixedDelay": pick(m, "1s", "0.5s")})
	}
	if m.chance(60) || len(f) == 0 {
		f["abort"] = percent(pick(m, fields{"httpStatus": pick(m, 500, 503, 404)}, fields{"grpcStatus": pick(m, "UNAVAILABLE", "NOT_FOUND")}))
	}
	return f
}

func (m *maker) cors() fields {
	c := fields{"allowOrigins": []any{pick(m,
		fields{"exact": "https://a.example"}, fields{"prefix": "https://"}, fields{"regex": `https://.*\.example`}, fields{"exact": "*"})}}
	if m.chance(50) {
		c["allowMethods"] = []any{"GET", "POST"}
	}
	if m.chance(30) {
		c["allowHeaders"] = []any{"x-one", "x-two"}
	}
	if m.chance(30) {
		c["exposeHeaders"] = []any{"x-three"}
	}
	if m.chance(30) {
		c["maxAge"] = pick(m, "1h", "30s")
	}
	if m.chance(30) {
		c["allowCredentials"] = m.chance(50)
	}
	if m.chance(20) {
		c["unmatchedPreflights"] = pick(m, "IGNORE", "FORWARD")
	}
	return c
}
