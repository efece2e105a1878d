// Istio's own client of config sources, without the rest of Istiod: it judges what Portolan serves.
//
// It does what Istiod does with the configSources of its mesh configuration: a connection and a validated store for each
// (`pkg/adsc`, `pilot/pkg/config/memory`), joined in their order. It fails to start when a source cannot be reached, as
// Istiod does. Then it prints its address and answers by HTTP what Istiod would know:
//
//	/configz   the store, in the shape of Istiod's /debug/configz
//	/synced    200 when every type of every source was answered, which is when Istiod opens its own port; else 503
//	/answers   every answer as it came: source, type, resources, bytes, nonce, and when
//	/events    every change of a ServiceEntry: what, its name and version, and whether its endpoints alone differ
//
// With the word `kinds`, `schema`, `read` or `traffic` it does something else and ends: see offline.go and traffic.go.
//
// What Istio refuses stands in its log, which goes to standard error.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pilot/pkg/config/aggregate"
	"istio.io/istio/pilot/pkg/config/kube/crd"
	"istio.io/istio/pilot/pkg/config/memory"
	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pkg/adsc"
	"istio.io/istio/pkg/config"
	"istio.io/istio/pkg/config/schema/collections"
	"istio.io/istio/pkg/config/schema/gvk"
	"istio.io/istio/pkg/config/schema/resource"
	"istio.io/istio/pkg/keepalive"
	"istio.io/istio/pkg/maps"
)

type sources []string

func (s *sources) String() string     { return strings.Join(*s, ",") }
func (s *sources) Set(v string) error { *s = append(*s, v); return nil }

type answer struct {
	Source    string  `json:"source"`
	Type      string  `json:"type"`
	Resources int     `json:"resources"`
	Bytes     int     `json:"bytes"`
	Nonce     string  `json:"nonce"`
	Seconds   float64 `json:"seconds"`
}

type event struct {
	Event         string  `json:"event"`
	Name          string  `json:"name"`
	Version       string  `json:"version"`
	EndpointsOnly bool    `json:"endpointsOnly"`
	Seconds       float64 `json:"seconds"`
}

// judge holds what was seen since the start.
type judge struct {
	started time.Time
	mutex   sync.Mutex
	answers []answer
	events  []event
}

func (j *judge) seconds() float64 { return time.Since(j.started).Seconds() }

// listener hears the answers of one source.
type listener struct {
	judge  *judge
	source string
}

func (l listener) HandleResponse(_ *adsc.ADSC, r *discovery.DiscoveryResponse) {
	l.judge.mutex.Lock()
	defer l.judge.mutex.Unlock()
	l.judge.answers = append(l.judge.answers,
		answer{l.source, r.TypeUrl, len(r.Resources), proto.Size(r), r.Nonce, l.judge.seconds()})
}

// protection is none, or with an authority what `tlsSettings` of mode SIMPLE with `caCertificates` make: the certificate must
// have the host of the address, and no certificate is shown.
func protection(authority string) (credentials.TransportCredentials, error) {
	if authority == "" {
		return insecure.NewCredentials(), nil
	}
	pem, err := os.ReadFile(authority)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", authority)
	}
	return credentials.NewTLS(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}), nil
}

func (j *judge) connect(
	source, revision, pod string, protection credentials.TransportCredentials,
) (model.ConfigStoreController, error) {
	client, err := adsc.New(source, &adsc.ADSConfig{
		InitialDiscoveryRequests: adsc.ConfigInitialRequests(),
		ResponseHandler:          listener{j, source},
		Config: adsc.Config{
			Namespace: "istio-system",
			Workload:  pod,
			Revision:  revision,
			Meta:      model.NodeMetadata{Generator: "api", IstioRevision: revision}.ToStruct(),
			GrpcOpts: []grpc.DialOption{
				keepalive.DefaultOption().ConvertToClientOption(),
				grpc.WithTransportCredentials(protection),
			},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("failed to dial XDS %s %v", source, err)
	}
	controller := memory.NewController(memory.Make(collections.Pilot))
	controller.RegisterHasSyncedHandler(client.HasSynced)
	client.Store = controller
	if err := client.Run(); err != nil {
		return nil, fmt.Errorf("MCP: failed running %v", err)
	}
	return controller, nil
}

// note records a change. The store is a collection of values, so an event comes only where values differ.
func (j *judge) note(old, new config.Config, kind model.Event) {
	same := false
	if was, ok := old.Spec.(*networking.ServiceEntry); ok && kind == model.EventUpdate {
		is := proto.Clone(new.Spec.(*networking.ServiceEntry)).(*networking.ServiceEntry)
		same = !proto.Equal(was, is)
		is.Endpoints = was.Endpoints
		same = same && proto.Equal(was, is) && maps.Equal(old.Labels, new.Labels) &&
			maps.Equal(old.Annotations, new.Annotations) && old.CreationTimestamp.Equal(new.CreationTimestamp)
	}
	j.mutex.Lock()
	defer j.mutex.Unlock()
	name := new.Namespace + "/" + new.Name
	j.events = append(j.events, event{kind.String(), name, new.ResourceVersion, same, j.seconds()})
}

func configz(store model.ConfigStore) []any {
	configs := make([]any, 0)
	store.Schemas().ForEach(func(schema resource.Schema) bool {
		for _, c := range store.List(schema.GroupVersionKind(), "") {
			object, err := crd.ConvertConfig(c)
			if err != nil {
				object = nil
				fmt.Fprintln(os.Stderr, "istio-judge:", err)
			}
			configs = append(configs, object)
		}
		return false
	})
	return configs
}

func (j *judge) serve(store model.ConfigStoreController) error {
	write := func(path string, value func() any) {
		http.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			j.mutex.Lock()
			defer j.mutex.Unlock()
			w.Header().Set("content-type", "application/json")
			_ = json.NewEncoder(w).Encode(value())
		})
	}
	write("/configz", func() any { return configz(store) })
	write("/answers", func() any { return append([]answer{}, j.answers...) })
	write("/events", func() any { return append([]event{}, j.events...) })
	http.HandleFunc("/synced", func(w http.ResponseWriter, _ *http.Request) {
		if !store.HasSynced() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Printf("judging on http://%s\n", socket.Addr())
	return http.Serve(socket, nil)
}

func run() error {
	var from sources
	flag.Var(&from, "source", "host:port of a config source; may stand several times")
	revision := flag.String("revision", "", "the revision that this Istiod has")
	pod := flag.String("pod", "istiod-judge", "the name of its pod")
	authority := flag.String("ca", "", "a file with the authority of all sources, which then speak TLS")
	flag.Parse()
	if done, err := offline(flag.Args()); done {
		return err
	}
	j := &judge{started: time.Now()}
	protected, err := protection(*authority)
	if err != nil {
		return err
	}
	var stores []model.ConfigStoreController
	for _, source := range from {
		store, err := j.connect(source, *revision, *pod, protected)
		if err != nil {
			return err
		}
		stores = append(stores, store)
	}
	store, err := aggregate.MakeCache(stores)
	if err != nil {
		return err
	}
	store.RegisterEventHandler(gvk.ServiceEntry, j.note)
	go store.Run(make(chan struct{}))
	return j.serve(store)
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "istio-judge:", err)
		os.Exit(1)
	}
}
