package corpus

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Service is one of a registry.
type Service struct {
	Host, Namespace, Protocol string
	Aliases                   []string
	Port                      int
	Endpoints                 []Endpoint
}

// Endpoint is one of its instances.
type Endpoint struct {
	Address  string            `yaml:"address"`
	Port     int               `yaml:"port"`
	Weight   int               `yaml:"weight"`
	Locality string            `yaml:"locality"`
	Labels   map[string]string `yaml:"labels"`
	Version  string            `yaml:"version"`
}

// ownPorts are the ports that services have where nothing is written.
var ownPorts = map[string]int{"http": 80, "http2": 80, "grpc": 9090, "https": 443, "tls": 443, "tcp": 9000}

// readService reads a list of versions, or a mapping; nothing is a service of one endpoint.
func readService(name string, node *yaml.Node, c *Case, number int) (Service, error) {
	s := Service{Host: name, Namespace: c.ID, Protocol: "http"}
	if !strings.Contains(name, ".") {
		s.Host = name + "." + c.Domain()
	}
	var of struct {
		Port      int                 `yaml:"port"`
		Protocol  string              `yaml:"protocol"`
		Namespace string              `yaml:"namespace"`
		Endpoints []Endpoint          `yaml:"endpoints"`
		Others    map[string]struct{} `yaml:",inline"`
	}
	of.Endpoints = []Endpoint{{}}
	switch {
	case node.Tag == "!!null":
	case node.Kind == yaml.SequenceNode:
		var versions []string
		if err := node.Decode(&versions); err != nil {
			return s, err
		}
		of.Endpoints = nil
		for _, version := range versions {
			of.Endpoints = append(of.Endpoints, Endpoint{Version: version})
		}
	default:
		if err := node.Decode(&of); err != nil {
			return s, fmt.Errorf("%s: %v", name, err)
		}
		if len(of.Others) > 0 {
			return s, fmt.Errorf("%s: a service has port, protocol, namespace and endpoints", name)
		}
	}
	if of.Protocol != "" {
		s.Protocol = of.Protocol
	}
	if s.Port = of.Port; s.Port == 0 {
		s.Port = ownPorts[s.Protocol]
	}
	if of.Namespace != "" {
		s.Namespace = of.Namespace
	}
	for n, e := range of.Endpoints {
		if e.Address == "" {
			e.Address = fmt.Sprintf("10.%d.%d.%d", 10+number/250, number%250, 1+len(c.Services)*16+n)
		}
		if e.Port == 0 {
			e.Port = 18080
		}
		if e.Version != "" {
			labels := map[string]string{"version": e.Version}
			for key, value := range e.Labels {
				labels[key] = value
			}
			e.Labels = labels
		}
		s.Endpoints = append(s.Endpoints, e)
	}
	return s, nil
}

// Catalogue is the service in Portolan's own file.
func (s Service) Catalogue() map[string]any {
	var endpoints []any
	for _, e := range s.Endpoints {
		one := map[string]any{"address": e.Address, "port": e.Port}
		if e.Weight > 0 {
			one["weight"] = e.Weight
		}
		if e.Locality != "" {
			one["locality"] = e.Locality
		}
		if len(e.Labels) > 0 {
			one["labels"] = e.Labels
		}
		endpoints = append(endpoints, one)
	}
	return map[string]any{
		"host": s.Host, "namespace": s.Namespace, "endpoints": endpoints,
		"ports": []any{map[string]any{"name": s.Protocol, "port": s.Port, "protocol": s.Protocol}},
	}
}

// Entry is the service as Portolan tells it to an Istiod.
func (s Service) Entry() Resource {
	var endpoints []any
	for _, e := range s.Endpoints {
		one := map[string]any{"address": e.Address, "ports": map[string]any{s.Protocol: e.Port}}
		if e.Weight > 0 {
			one["weight"] = e.Weight
		}
		if e.Locality != "" {
			one["locality"] = e.Locality
		}
		if len(e.Labels) > 0 {
			one["labels"] = e.Labels
		}
		endpoints = append(endpoints, one)
	}
	return Resource{Kind: "ServiceEntry", Namespace: s.Namespace, Name: s.Host, Spec: map[string]any{
		"hosts": []any{s.Host}, "location": "MESH_INTERNAL", "resolution": "STATIC", "endpoints": endpoints,
		"ports": []any{map[string]any{"number": s.Port, "name": s.Protocol, "protocol": strings.ToUpper(s.Protocol)}},
	}}
}
