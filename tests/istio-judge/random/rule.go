package random

import (
	"fmt"

	"portolan.test/istio-judge/corpus"
)

// rule is a DestinationRule.
func (m *maker) rule(n int) corpus.Resource {
	service := pick(m, m.services...)
	if len(m.entries) > 0 && m.chance(20) {
		service.Host = pick(m, m.entries...)
	}
	host := service.Host
	if m.chance(12) {
		host = m.host("*")
	}
	spec := fields{"host": host}
	if m.chance(75) {
		spec["trafficPolicy"] = m.policy(true)
	}
	if m.chance(65) && host == service.Host {
		var subsets []any
		for _, version := range []string{"v1", "v2"}[:1+m.IntN(2)] {
			subset := fields{"name": version, "labels": fields{"version": version}}
			if m.chance(15) {
				subset["labels"].(fields)["zone"] = "x"
			}
			if m.chance(30) {
				subset["trafficPolicy"] = m.policy(m.chance(50))
			}
			subsets = append(subsets, subset)
			m.subsets[host] = append(m.subsets[host], version)
		}
		spec["subsets"] = subsets
	}
	m.exportTo(spec)
	if m.chance(8) {
		spec["workloadSelector"] = fields{"matchLabels": pick(m, fields{"case": m.id}, fields{"app": "web"})}
	}
	if m.chance(5) {
		m.spoilRule(spec)
	}
	return corpus.Resource{Kind: "DestinationRule", Namespace: m.namespace(), Name: fmt.Sprintf("dr%d", n), Spec: spec}
}

func (m *maker) spoilRule(spec fields) {
	switch m.IntN(6) {
	case 0:
		spec["host"] = pick(m, "", "a..b")
	case 1:
		spec["subsets"] = []any{fields{"name": pick(m, "1.0", "", "a_b"), "labels": fields{"version": "v1"}}}
	case 2:
		spec["trafficPolicy"] = fields{"connectionPool": fields{"tcp": fields{"maxConnections": -1}}}
	case 3:
		spec["trafficPolicy"] = fields{"tls": fields{"mode": "MUTUAL", "clientCertificate": "/c.pem"}}
	case 4:
		spec["trafficPolicy"] = fields{"outlierDetection": fields{"interval": pick(m, "0s", "-1s", "1us"), "maxEjectionPercent": pick(m, 50, 101)}}
	case 5:
		spec["trafficPolicy"] = fields{"loadBalancer": fields{"consistentHash": pick(m, fields{}, fields{"httpCookie": fields{"ttl": "1s"}})}}
	}
}

func (m *maker) policy(ports bool) fields {
	p := fields{}
	if m.chance(50) {
		p["loadBalancer"] = m.balancer()
	}
	if m.chance(35) {
		p["connectionPool"] = m.pool()
	}
	if m.chance(25) {
		p["outlierDetection"] = m.outliers()
	}
	if m.chance(20) {
		p["tls"] = m.tls()
	}
	if len(p) == 0 && m.chance(95) {
		p["loadBalancer"] = m.balancer()
	}
	if m.chance(15) {
		balancer, ok := p["loadBalancer"].(fields)
		if !ok {
			balancer = fields{}
			p["loadBalancer"] = balancer
		}
		balancer["localityLbSetting"] = m.near()
	}
	if ports && m.chance(15) {
		level := m.policy(false)
		level["port"] = fields{"number": pick(m, 80, 9090, 81)}
		p["portLevelSettings"] = []any{level}
	}
	return p
}

// near says what counts as near.
func (m *maker) near() fields {
	switch m.IntN(4) {
	case 0:
		return fields{"distribute": []any{fields{
			"from": pick(m, "*", "cn/*", "cn/hz/*", "de"),
			"to":   pick(m, fields{"cn/*": 80, "de/*": 20}, fields{"cn/hz": 60, "cn/sh": 40}, fields{"de": 100}),
		}}}
	case 1:
		return fields{"failover": []any{fields{"from": pick(m, "cn", "us"), "to": "de"}}}
	case 2:
		return fields{"failoverPriority": pick(m,
			[]any{"topology.kubernetes.io/region", "version=v1"}, []any{"case", "zone"}, []any{"topology.kubernetes.io/zone"})}
	}
	return fields{"enabled": m.chance(50)}
}

func (m *maker) balancer() fields {
	if m.chance(50) {
		return fields{"simple": pick(m, "ROUND_ROBIN", "LEAST_REQUEST", "RANDOM", "LEAST_CONN", "UNSPECIFIED")}
	}
	hash := pick(m,
		fields{"httpHeaderName": "x-user"}, fields{"useSourceIp": true}, fields{"httpQueryParameterName": "q"},
		fields{"httpCookie": fields{"name": "c", "ttl": pick(m, "0s", "60s")}}, fields{"httpCookie": fields{"name": "c", "path": "/p"}})
	switch m.IntN(5) {
	case 0:
		hash["ringHash"] = fields{"minimumRingSize": pick(m, 1, 512, 2048)}
	case 1:
		hash["maglev"] = fields{"tableSize": pick(m, 1009, 65537)}
	case 2:
		hash["minimumRingSize"] = 128
	}
	return fields{"consistentHash": hash}
}

func (m *maker) pool() fields {
	p := fields{}
	if m.chance(60) {
		tcp := fields{}
		if m.chance(60) {
			tcp["maxConnections"] = 1 + m.IntN(100)
		}
		if m.chance(30) {
			tcp["connectTimeout"] = pick(m, "30ms", "2s")
		}
		if m.chance(20) {
			tcp["tcpKeepalive"] = pick(m, fields{"probes": 3}, fields{"time": "60s", "interval": "10s"})
		}
		if m.chance(15) {
			tcp["maxConnectionDuration"] = "600s"
		}
		if m.chance(15) {
			tcp["idleTimeout"] = "60s"
		}
		p["tcp"] = tcp
	}
	if m.chance(60) {
		http := fields{}
		for _, key := range []string{"http1MaxPendingRequests", "http2MaxRequests", "maxRequestsPerConnection", "maxRetries"} {
			if m.chance(30) {
				http[key] = 1 + m.IntN(50)
			}
		}
		if m.chance(15) {
			http["idleTimeout"] = "30s"
		}
		if m.chance(20) {
			http["h2UpgradePolicy"] = pick(m, "UPGRADE", "DO_NOT_UPGRADE", "DEFAULT")
		} else if m.chance(10) {
			http["useClientProtocol"] = true
		}
		if m.chance(10) {
			http["maxConcurrentStreams"] = 20
		}
		p["http"] = http
	}
	if len(p) == 0 && m.chance(95) {
		p["tcp"] = fields{"maxConnections": 7}
	}
	return p
}

func (m *maker) outliers() fields {
	o := fields{}
	if m.chance(50) {
		o["consecutive5xxErrors"] = m.IntN(8)
	}
	if m.chance(30) {
		o["consecutiveGatewayErrors"] = m.IntN(5)
	}
	if m.chance(30) {
		o["interval"] = pick(m, "5s", "60s")
	}
	if m.chance(30) {
		o["baseEjectionTime"] = "90s"
	}
	if m.chance(30) {
		o["maxEjectionPercent"] = pick(m, 50, 100)
	}
	if m.chance(30) {
		o["minHealthPercent"] = pick(m, 10, 50)
	}
	if m.chance(15) {
		o["splitExternalLocalOriginErrors"] = true
		o["consecutiveLocalOriginFailures"] = 3
	}
	return o
}

func (m *maker) tls() fields {
	switch m.IntN(4) {
	case 0:
		return fields{"mode": "DISABLE"}
	case 1:
		return fields{"mode": "MUTUAL", "clientCertificate": "/etc/c.pem", "privateKey": "/etc/c.key", "caCertificates": "/etc/ca.pem"}
	}
	t := fields{"mode": "SIMPLE"}
	if m.chance(50) {
		t["sni"] = "inner.example"
	}
	if m.chance(50) {
		t["caCertificates"] = "/etc/ca.pem"
	}
	if m.chance(30) {
		t["subjectAltNames"] = []any{"a.example", "b.example"}
	} else if m.chance(20) {
		t["insecureSkipVerify"] = true
	}
	return t
}
