// Package corpus reads the written cases: services, Istio's resources, proxies and calls with what is expected.
//
// A file is a list of cases:
//
//   - case: a prefix is literal
//     services: { a: , b: [v1, v2] }          # `b` has two endpoints, by the label `version`
//     istio:
//     VirtualService shop:                  # kind, [namespace/]name; its value is the spec
//     { hosts: [shop.CASE], gateways: [gw], http: [{ route: [{ destination: { host: a.CASE } }] }] }
//     calls:
//     GET shop/foo: a                       # what it is expected to come to
//
// All cases of a run stand side by side in one mesh, so each has a namespace `NS` and a domain `CASE` of its own; the
// two words are replaced everywhere. Without a Gateway of its own a case has `gw`, for HTTP with every host on port 8080.
package corpus

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Case is one of them.
type Case struct {
	Name      string
	ID        string
	Services  []Service
	Resources []Resource
	Proxies   map[string]Proxy
	Calls     []Expected
	// Refused are resources that Istio itself does not take, as `Kind name`.
	Refused []string
	// Differs is why Portolan means to do something else than Istio; such a case is not compared.
	Differs string
	// Unknown says that nobody has said which are refused.
	Unknown bool
}

// Resource is one of Istio's.
type Resource struct {
	Kind, Namespace, Name string
	Labels                map[string]string
	Spec                  any
}

// Expected is a call with what is expected of it; without it the two planes are only to agree.
type Expected struct {
	Text, Result string
}

// Domain is the one that the hosts of the case end with.
func (c *Case) Domain() string { return c.ID + ".example" }

// Load reads all cases of a folder, or of a file; only those whose name contains a text, if one is given.
func Load(path, only string) ([]*Case, error) {
	files := []string{path}
	if info, err := os.Stat(path); err != nil {
		return nil, err
	} else if info.IsDir() {
		if files, err = filepath.Glob(filepath.Join(path, "*.yaml")); err != nil {
			return nil, err
		}
	}
	sort.Strings(files)
	var all []*Case
	names := map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		var nodes []yaml.Node
		if err := yaml.Unmarshal(text, &nodes); err != nil {
			return nil, fmt.Errorf("%s: %v", file, err)
		}
		for n := range nodes {
			base := strings.TrimSuffix(filepath.Base(file), ".yaml")
			c, err := read(&nodes[n], fmt.Sprintf("%s-%d", base, n+1), len(all))
			if err != nil {
				return nil, fmt.Errorf("%s:%d: %v", file, nodes[n].Line, err)
			}
			if names[c.Name] {
				return nil, fmt.Errorf("%s:%d: a second case %q", file, nodes[n].Line, c.Name)
			}
			names[c.Name] = true
			if only == "" || strings.Contains(c.Name, only) {
				all = append(all, c)
			}
		}
	}
	return all, nil
}

// written is a case as its file has it.
type written struct {
	Case     string              `yaml:"case"`
	Services yaml.Node           `yaml:"services"`
	Istio    yaml.Node           `yaml:"istio"`
	Proxies  map[string]Proxy    `yaml:"proxies"`
	Calls    yaml.Node           `yaml:"calls"`
	Refused  []string            `yaml:"refused"`
	Differs  string              `yaml:"differs"`
	Others   map[string]struct{} `yaml:",inline"`
}

var ownDomain, ownNamespace = regexp.MustCompile(`\bCASE\b`), regexp.MustCompile(`\bNS\b`)

// placed has the case's own domain and namespace for the two words.
func placed(text, id string) string {
	return ownNamespace.ReplaceAllString(ownDomain.ReplaceAllString(text, id+".example"), id)
}

func replace(node *yaml.Node, id string) {
	if node.Kind == yaml.ScalarNode {
		node.Value = placed(node.Value, id)
	}
	for _, inner := range node.Content {
		replace(inner, id)
	}
}

func read(node *yaml.Node, id string, number int) (*Case, error) {
	replace(node, id)
	var w written
	if err := node.Decode(&w); err != nil {
		return nil, err
	}
	if len(w.Others) > 0 || w.Case == "" {
		return nil, fmt.Errorf("a case has the keys case, services, istio, proxies, calls, refused and differs")
	}
	c := &Case{Name: w.Case, ID: id, Proxies: w.Proxies, Refused: w.Refused, Differs: w.Differs}
	err := pairs(&w.Services, func(name string, value *yaml.Node) error {
		service, err := readService(name, value, c, number)
		c.Services = append(c.Services, service)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := pairs(&w.Istio, c.resource); err != nil {
		return nil, err
	}
	gateway := false
	for _, one := range c.Resources {
		gateway = gateway || one.Kind == "Gateway"
	}
	if !gateway {
		c.Resources = append(c.Resources, Resource{Kind: "Gateway", Namespace: id, Name: "gw", Spec: map[string]any{
			"selector": map[string]any{"case": id},
			"servers": []any{map[string]any{
				"port": map[string]any{"number": 8080, "name": "http", "protocol": "HTTP"}, "hosts": []any{"*"},
			}},
		}})
	}
	err = pairs(&w.Calls, func(text string, value *yaml.Node) error {
		c.Calls = append(c.Calls, Expected{text, value.Value})
		return nil
	})
	if err != nil {
		return nil, err
	}
	if c.Proxies == nil {
		c.Proxies = map[string]Proxy{}
	}
	c.complete()
	return c, nil
}

// resource reads `Kind [namespace/]name: spec`. Labels stand in the spec's own key `(labels)`.
func (c *Case) resource(key string, value *yaml.Node) error {
	kind, name, ok := strings.Cut(key, " ")
	if !ok {
		return fmt.Errorf("%q is no kind and name", key)
	}
	one := Resource{Kind: kind, Namespace: c.ID, Name: name}
	if namespace, bare, ok := strings.Cut(name, "/"); ok {
		one.Namespace, one.Name = namespace, bare
	}
	spec := map[string]any{}
	var err error
	if kind == "Shop" {
		one.Kind, spec["hosts"], spec["gateways"] = "VirtualService", []any{"shop." + c.Domain()}, []any{"gw"}
		var routes []any
		err = value.Decode(&routes)
		spec["http"] = routes
	} else {
		err = value.Decode(&spec)
	}
	if err != nil {
		return fmt.Errorf("%s: %v", key, err)
	}
	if one.Kind == "VirtualService" {
		for _, list := range []string{"http", "tcp", "tls"} {
			c.destinations(spec[list])
		}
	}
	if labels, ok := spec["(labels)"].(map[string]any); ok {
		one.Labels = map[string]string{}
		for key, value := range labels {
			one.Labels[key] = fmt.Sprint(value)
		}
		delete(spec, "(labels)")
	}
	one.Spec = spec
	c.Resources = append(c.Resources, one)
	return nil
}

// destinations writes out what stands behind `to`.
func (c *Case) destinations(routes any) {
	list, _ := routes.([]any)
	for _, one := range list {
		route, ok := one.(map[string]any)
		if !ok {
			continue
		}
		switch to := route["to"].(type) {
		case string:
			route["route"] = []any{map[string]any{"destination": c.destination(to)}}
		case map[string]any:
			var all []any
			for _, name := range sortedKeys(to) {
				all = append(all, map[string]any{"destination": c.destination(name), "weight": to[name]})
			}
			route["route"] = all
		}
		delete(route, "to")
	}
}

func (c *Case) destination(text string) map[string]any {
	text, subset, _ := strings.Cut(text, "/")
	host, port, _ := strings.Cut(text, ":")
	destination := map[string]any{"host": c.host(host)}
	if subset != "" {
		destination["subset"] = subset
	}
	if number, err := strconv.Atoi(port); err == nil {
		destination["port"] = map[string]any{"number": number}
	}
	return destination
}

func sortedKeys(of map[string]any) []string {
	var keys []string
	for key := range of {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}

// pairs goes through a mapping in its order.
func pairs(node *yaml.Node, take func(key string, value *yaml.Node) error) error {
	if node.Kind == 0 || node.Tag == "!!null" {
		return nil
	}
	if node.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: a mapping is wanted", node.Line)
	}
	for n := 0; n < len(node.Content); n += 2 {
		if err := take(node.Content[n].Value, node.Content[n+1]); err != nil {
			return err
		}
	}
	return nil
}

// Place has another folder for the certificates that stand in /etc, and gives their paths.
func (c *Case) Place(folder string) []string {
	var paths []string
	var walk func(any) any
	walk = func(tree any) any {
		switch value := tree.(type) {
		case map[string]any:
			for key, inner := range value {
				value[key] = walk(inner)
			}
		case []any:
			for n, inner := range value {
				value[n] = walk(inner)
			}
		case string:
			if rest, ok := strings.CutPrefix(value, "/etc/"); ok {
				paths = append(paths, folder+"/"+rest)
				return folder + "/" + rest
			}
		}
		return tree
	}
	for _, one := range c.Resources {
		walk(one.Spec)
	}
	return paths
}

// Document is a resource as people write it.
func (r Resource) Document() map[string]any {
	metadata := map[string]any{"name": r.Name, "namespace": r.Namespace}
	if len(r.Labels) > 0 {
		metadata["labels"] = r.Labels
	}
	return map[string]any{
		"apiVersion": "networking.istio.io/v1", "kind": r.Kind, "metadata": metadata, "spec": r.Spec,
	}
}
