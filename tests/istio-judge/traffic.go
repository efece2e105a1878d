// What the judge says of listeners and routes: the same cases through Istio's own generators and through Portolan, decided
// call by call. It is the word `traffic` with one of these behind it:
//
//	write    writes the services and Istio's resources of the cases as files that Portolan reads
//	expect   has Istio's generators read the cases, and compares decisions with what the cases expect
//	envoy    has a real Envoy for each proxy, on what Istio's generators or Portolan give it, and makes the calls (see real.go)
//	serve    gives what Istio's generators make of the cases by ADS, to whoever is one of their proxies
//	compare  has Istio's client read what Portolan serves, asks Portolan by ADS as each proxy, and compares all decisions
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"go.yaml.in/yaml/v3"
	"google.golang.org/grpc/credentials/insecure"
	"istio.io/istio/pilot/pkg/config/kube/crd"
	"istio.io/istio/pkg/config"
	"istio.io/istio/pkg/config/schema/resource"
	"portolan.test/istio-judge/corpus"
	"portolan.test/istio-judge/differ"
	"portolan.test/istio-judge/evaluate"
	"portolan.test/istio-judge/planes"
	"portolan.test/istio-judge/probe"
	"portolan.test/istio-judge/random"
)

// inSync is how long a server may take to answer every type.
const inSync = 60 * time.Second

// shown are the differences of a case that are printed.
const shown = 5

// mostWays are the ways to differ that are printed.
const mostWays = 100

var anyCluster = regexp.MustCompile(`^(cluster|to) [^ ]*outbound\|\d+\|[^|]*\|\S+?\.example`)

type traffic struct {
	cases   []*corpus.Case
	allowed []*differ.Allowed
	server  string
	admin   string
	texts   bool
	// Whether what iptables redirects is compared.
	redirected bool
	// Of real calls: the binary, the folder of certificates, and how many calls are made of each proxy.
	envoy, files string
	most         int
	paths        []string
	// What was found; of the cases, those that are not compared.
	written, generated, differences, unforeseen, validations, left int
	faults                                                         []string
	// How often each field differed in each way.
	fields map[string]int
}

// judgeTraffic runs one of the words.
func judgeTraffic(words []string) error {
	if len(words) == 0 {
		return fmt.Errorf("traffic needs write, expect, serve, envoy or compare")
	}
	flags := flag.NewFlagSet("traffic", flag.ContinueOnError)
	cases := flags.String("cases", "", "a folder of cases, or a file")
	only := flags.String("only", "", "only the cases whose name contains this")
	count := flags.Int("random", 0, "so many random cases in the place of written ones")
	seed := flags.Uint64("seed", 1, "what random cases follow from")
	first := flags.Int("first", 0, "the number of the first of them")
	into := flags.String("into", "", "the folder that `write` writes to")
	allowed := flags.String("allowed", "", "the list of allowed differences")
	server := flags.String("portolan", "", "where Portolan serves xDS")
	admin := flags.String("admin", "", "where people ask Portolan; with it, which resources both refuse is compared, too")
	texts := flags.Bool("texts", false, "Istio's generators read the cases themselves, not what Portolan serves of them")
	redirected := flags.Bool("redirected", false, "compare what sidecars do with connections that iptables redirects, too")
	envoy := flags.String("envoy", "", "the path of an Envoy")
	files := flags.String("files", "/etc", "the folder of certificates that cases name")
	most := flags.Int("most", 60, "so many derived calls through a real Envoy for each proxy")
	if err := flags.Parse(words[1:]); err != nil {
		return err
	}
	t := &traffic{server: *server, admin: *admin, texts: *texts, redirected: *redirected, envoy: *envoy, files: *files, most: *most, fields: map[string]int{}}
	var err error
	if *count > 0 {
		t.cases = random.Cases(*seed, *first, *count)
	} else if t.cases, err = corpus.Load(*cases, *only); err != nil {
		return err
	}
	for _, c := range t.cases {
		t.paths = append(t.paths, c.Place(t.files)...)
	}
	if *allowed != "" {
		if t.allowed, err = differ.Read(*allowed); err != nil {
			return err
		}
	}
	switch words[0] {
	case "write":
		return t.write(*into)
	case "expect":
		err = t.expect()
	case "serve":
		return t.serve()
	case "compare":
		err = t.compare()
	case "envoy":
		err = t.real()
	default:
		err = fmt.Errorf("%q is none of write, expect, serve, envoy and compare", words[0])
	}
	if reported := t.report(); err == nil {
		err = reported
	}
	return err
}

func (t *traffic) report() error {
	for _, fault := range t.faults {
		fmt.Println(fault)
	}
	ways := names(t.fields)
	sort.SliceStable(ways, func(a, b int) bool { return t.fields[ways[a]] > t.fields[ways[b]] })
	for _, way := range ways[:min(len(ways), mostWays)] {
		fmt.Printf("differs %d times: %s\n", t.fields[way], way)
	}
	for _, one := range t.allowed {
		fmt.Printf("allowed %d times: %s\n", one.Seen, one.Field)
	}
	fmt.Printf("%d cases (%d of them not compared), %d resources validated, %d refused unforeseen, %d written calls, %d generated calls, "+
		"%d differences\n", len(t.cases), t.left, t.validations, t.unforeseen, t.written, t.generated, t.differences)
	if len(t.faults) > 0 {
		return fmt.Errorf("%d faults", len(t.faults))
	}
	return nil
}

func (t *traffic) fault(c *corpus.Case, format string, words ...any) {
	t.faults = append(t.faults, fmt.Sprintf("%s (%s): ", c.Name, c.ID)+fmt.Sprintf(format, words...))
}

// write makes `services.yaml` and a file in `traffic` for each case.
func (t *traffic) write(into string) error {
	if err := os.MkdirAll(filepath.Join(into, "traffic"), 0o755); err != nil {
		return err
	}
	services := []any{}
	for _, c := range t.cases {
		var documents []string
		for _, one := range c.Resources {
			text, err := yaml.Marshal(one.Document())
			if err != nil {
				return err
			}
			// A document of its own file: what is wrong with one costs no other.
			documents = append(documents, string(text))
		}
		for n, text := range documents {
			if err := os.WriteFile(filepath.Join(into, "traffic", fileOf(c, n)), []byte(text), 0o644); err != nil {
				return err
			}
		}
		for _, service := range c.Services {
			services = append(services, service.Catalogue())
		}
	}
	text, err := yaml.Marshal(map[string]any{"services": services})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(into, "services.yaml"), text, 0o644)
}

// fileOf is the file of a case's resource.
func fileOf(c *corpus.Case, n int) string { return fmt.Sprintf("%s-%02d.yaml", c.ID, n) }

// expect has every written call decided.
func (t *traffic) expect() error {
	all, err := t.parsed()
	if err != nil {
		return err
	}
	return planes.With(all, func(istio *planes.Istio) {
		for _, c := range t.cases {
			for _, name := range names(c.Proxies) {
				out := istio.Output(name, c.Proxies[name], targets(c, name))
				t.calls(c, name, func(call corpus.Expected, parsed evaluate.Call) {
					t.check(c, call, out.Decide(parsed))
				})
			}
		}
	})
}

// serve is an Istiod of these cases, until it is ended.
func (t *traffic) serve() error {
	all, err := t.parsed()
	if err != nil {
		return err
	}
	var failed error
	err = planes.With(all, func(istio *planes.Istio) {
		address, err := planes.Serve("127.0.0.1:0", func(node *core.Node) (*evaluate.Output, error) {
			c, name, err := t.proxyOf(node)
			if err != nil {
				return nil, err
			}
			return istio.Output(name, c.Proxies[name], targets(c, name)), nil
		})
		if failed = err; err == nil {
			fmt.Printf("serving on %s\n", address)
			select {}
		}
	})
	if err == nil {
		err = failed
	}
	return err
}

// parsed are the cases' resources, each read by Istio's own parser and validation.
func (t *traffic) parsed() ([]config.Config, error) {
	moment := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	var all []config.Config
	for _, c := range t.cases {
		resources := c.Resources
		for _, service := range c.Services {
			resources = append(resources, service.Entry())
		}
		var refused []string
		for _, one := range resources {
			text, err := json.Marshal(one.Document())
			if err != nil {
				return nil, err
			}
			configs, _, err := crd.ParseInputs(string(text))
			if err != nil {
				refused = append(refused, one.Kind+" "+one.Name)
				why := fmt.Sprintf("Istio refuses %s %s: %v", one.Kind, one.Name, err)
				if c.Unknown {
					fmt.Println(c.Name + ": " + why)
				} else if len(c.Refused) == 0 {
					t.fault(c, "%s", why)
				}
			}
			for _, parsed := range configs {
				parsed.CreationTimestamp = moment
				all = append(all, parsed)
			}
		}
		t.refused(c, refused)
	}
	return all, nil
}

func (t *traffic) refused(c *corpus.Case, refused []string) {
	if c.Unknown {
		t.unforeseen += len(refused)
		return
	}
	sort.Strings(refused)
	sort.Strings(c.Refused)
	if strings.Join(refused, ", ") != strings.Join(c.Refused, ", ") {
		t.fault(c, "Istio is expected to refuse %q, and refuses %q", c.Refused, refused)
	}
}

func (t *traffic) check(c *corpus.Case, call corpus.Expected, d evaluate.Decision) {
	t.written++
	if call.Result == "" {
		return
	}
	if err := c.Check(call.Result, d); err != nil {
		t.fault(c, "%s: %v", call.Text, err)
	}
}

// calls are the written ones of one proxy.
func (t *traffic) calls(c *corpus.Case, proxy string, take func(corpus.Expected, evaluate.Call)) {
	for _, call := range c.Calls {
		name, parsed, err := c.Parse(call.Text)
		switch {
		case err != nil:
			t.fault(c, "%v", err)
		case name == proxy:
			take(call, parsed)
		}
	}
}

// targets are what a program calls.
func targets(c *corpus.Case, proxy string) []string {
	found := map[string]bool{}
	for _, call := range c.Calls {
		if name, parsed, err := c.Parse(call.Text); err == nil && name == proxy && parsed.Target != "" {
			found[parsed.Target] = true
		}
	}
	return names(found)
}

func names[V any](of map[string]V) []string {
	all := make([]string, 0, len(of))
	for name := range of {
		all = append(all, name)
	}
	sort.Strings(all)
	return all
}

// compare has both planes make everything from what Portolan holds.
func (t *traffic) compare() error {
	read := t.served
	if t.texts {
		read = t.parsed
	}
	configs, err := read()
	if err != nil {
		return err
	}
	server, err := planes.Dial(t.server)
	if err != nil {
		return err
	}
	took := map[string]bool{}
	for _, one := range configs {
		took[one.GroupVersionKind.Kind+" "+one.Namespace+"/"+one.Name] = true
	}
	var portolan *refusals
	if t.admin != "" {
		if portolan, err = t.refusals(); err != nil {
			return err
		}
	}
	var failed error
	failures := 0
	err = planes.With(configs, func(istio *planes.Istio) {
		for _, c := range t.cases {
			if !t.texts {
				t.refused(c, missing(c, took))
			}
			if c.Differs != "" {
				fmt.Printf("%s: not compared: %s\n", c.Name, c.Differs)
				t.left++
				continue
			}
			if portolan != nil {
				comparable, err := t.validated(c, portolan)
				if failed = err; err != nil {
					return
				}
				if !comparable {
					t.left++
					continue
				}
			}
			for _, name := range names(c.Proxies) {
				if err := t.proxy(c, name, istio, server); err != nil {
					t.fault(c, "%s: %v", name, err)
					if failures++; failures > shown {
						failed = fmt.Errorf("too many proxies get no answer")
						return
					}
				}
			}
		}
	})
	if err == nil {
		err = failed
	}
	return err
}

// missing are the resources that Istio's store does not have.
func missing(c *corpus.Case, took map[string]bool) []string {
	var all []string
	for _, one := range c.Resources {
		if !took[one.Kind+" "+one.Namespace+"/"+one.Name] {
			all = append(all, one.Kind+" "+one.Name)
		}
	}
	return all
}

// proxy compares what both planes give one proxy.
func (t *traffic) proxy(c *corpus.Case, name string, istio *planes.Istio, server *planes.Server) error {
	proxy := c.Proxies[name]
	theirs := istio.Output(name, proxy, targets(c, name))
	ours, err := server.Output(name, proxy, targets(c, name))
	if err != nil {
		return err
	}
	found := 0
	judge := func(text string, call evaluate.Call) evaluate.Decision {
		a, b := theirs.Decide(call), ours.Decide(call)
		differences := differ.Compare(proxy.Type, call.String(), a, b, t.allowed)
		if len(differences) == 0 {
			return a
		}
		t.differences++
		for _, one := range differences {
			t.fields[fmt.Sprintf("%s: Istio %q, Portolan %q", anyCluster.ReplaceAllString(one.Field, "$1 *"),
				c.Short(one.Istio), c.Short(one.Portolan))]++
		}
		if found++; found <= shown {
			first := differences[0]
			t.fault(c, "%s %s: %s: Istio %q %s, Portolan %q %s; %d fields differ", name, text, first.Field,
				c.Short(first.Istio), notes(a), c.Short(first.Portolan), notes(b), len(differences))
		}
		return a
	}
	t.calls(c, name, func(call corpus.Expected, parsed evaluate.Call) { t.check(c, call, judge(call.Text, parsed)) })
	if proxy.Type == "grpc" {
		return nil
	}
	own := func(domain string) bool { return domain == "*" || strings.Contains(domain, c.ID+".") }
	for _, call := range probe.Calls([]*evaluate.Output{theirs, ours}, own) {
		if call.Redirected && !t.redirected {
			continue
		}
		t.generated++
		judge(call.String(), call)
	}
	if found > shown {
		t.fault(c, "%s: %d more", name, found-shown)
	}
	return nil
}

// notes say where a decision comes from.
func notes(d evaluate.Decision) string {
	var all []string
	for _, key := range names(d) {
		if evaluate.Notes(key) {
			all = append(all, d[key])
		}
	}
	return "(" + strings.Join(all, "; ") + ")"
}

// served is all that Istio's client takes of what Portolan serves.
func (t *traffic) served() ([]config.Config, error) {
	j := &judge{started: time.Now()}
	store, err := j.connect(t.server, "", "istiod-judge", insecure.NewCredentials())
	if err != nil {
		return nil, err
	}
	stop := make(chan struct{})
	defer close(stop)
	go store.Run(stop)
	for deadline := time.Now().Add(inSync); !store.HasSynced(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("some type was not answered within %s: %v", inSync, j.answers)
		}
	}
	var all []config.Config
	store.Schemas().ForEach(func(schema resource.Schema) bool {
		all = append(all, store.List(schema.GroupVersionKind(), "")...)
		return false
	})
	return all, nil
}
