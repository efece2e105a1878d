// Calls through real Envoys: the word `traffic envoy`. It wants a network of its own, in which it may listen anywhere:
//
//	unshare -n sh -c 'ip link set lo up; ip addr add 10.0.0.1/8 dev lo; istio-judge traffic envoy --cases ... --envoy ...'
package main

import (
	"fmt"
	"strings"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"portolan.test/istio-judge/corpus"
	"portolan.test/istio-judge/evaluate"
	"portolan.test/istio-judge/planes"
	"portolan.test/istio-judge/probe"
	"portolan.test/istio-judge/real"
)

// real has one Envoy after the other be each proxy, and compares what its calls come to with what is decided of the same
// configuration. So it judges decisions, and with them both control planes.
func (t *traffic) real() error {
	files, err := real.NewFiles()
	if err != nil {
		return err
	}
	for _, path := range t.paths {
		if err := files.Write(path); err != nil {
			return err
		}
	}
	scene, err := real.NewScene(t.envoy, files)
	if err != nil {
		return err
	}
	defer scene.End()
	if t.server != "" {
		server, err := planes.Dial(t.server)
		if err != nil {
			return err
		}
		return t.each(scene, t.server, func(c *corpus.Case, name string) (*evaluate.Output, error) {
			return server.Output(name, c.Proxies[name], nil)
		})
	}
	all, err := t.parsed()
	if err != nil {
		return err
	}
	var failed error
	err = planes.With(all, func(istio *planes.Istio) {
		output := func(c *corpus.Case, name string) (*evaluate.Output, error) {
			out := istio.Output(name, c.Proxies[name], nil)
			// All cases are one mesh to Istio; what other cases have nobody calls here.
			for cluster := range out.Clusters {
				if strings.HasPrefix(cluster, "outbound|") && !strings.Contains(cluster+".", c.ID+".") {
					delete(out.Clusters, cluster)
				}
			}
			return out, evaluate.Stock(out)
		}
		address, err := planes.Serve("127.0.0.1:0", func(node *core.Node) (*evaluate.Output, error) {
			c, name, err := t.proxyOf(node)
			if err != nil {
				return nil, err
			}
			return output(c, name)
		})
		if failed = err; err == nil {
			failed = t.each(scene, address.String(), output)
		}
	})
	if err == nil {
		err = failed
	}
	return err
}

func (t *traffic) proxyOf(node *core.Node) (*corpus.Case, string, error) {
	for _, c := range t.cases {
		for name, proxy := range c.Proxies {
			if planes.IsNode(name, proxy, node) {
				return c, name, nil
			}
		}
	}
	return nil, "", fmt.Errorf("%s is no proxy of a case", node.GetId())
}

func (t *traffic) each(
	scene *real.Scene, server string, output func(*corpus.Case, string) (*evaluate.Output, error),
) error {
	for _, c := range t.cases {
		for _, name := range names(c.Proxies) {
			if c.Proxies[name].Type == "grpc" {
				continue
			}
			out, err := output(c, name)
			if err != nil {
				return fmt.Errorf("%s: %s: %v", c.Name, name, err)
			}
			node, err := planes.Node(name, c.Proxies[name])
			if err != nil {
				return err
			}
			if err := scene.Become(server, node); err != nil {
				t.fault(c, "%s: %v", name, err)
				continue
			}
			t.made(c, name, out, scene)
		}
	}
	return nil
}

// made makes the calls of one proxy.
func (t *traffic) made(c *corpus.Case, name string, out *evaluate.Output, scene *real.Scene) {
	found := 0
	try := func(text string, call evaluate.Call) bool {
		d := out.Decide(call)
		wrong, made := scene.Try(call, d)
		if wrong != "" {
			t.differences++
			if found++; found <= shown {
				t.fault(c, "%s %s: decided %q %s; %s", name, text, c.Summary(d), notes(d), wrong)
			}
		}
		return made
	}
	t.calls(c, name, func(call corpus.Expected, parsed evaluate.Call) {
		if try(call.Text, parsed) {
			t.written++
		}
	})
	calls := probe.Calls([]*evaluate.Output{out}, func(string) bool { return true })
	// Evenly from all.
	step := max(1, len(calls)/max(1, t.most))
	for n := 0; n < len(calls); n += step {
		if try(calls[n].String(), calls[n]) {
			t.generated++
		}
	}
}
