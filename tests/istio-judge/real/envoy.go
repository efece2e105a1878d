package real

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/encoding/protojson"
)

// patience is how long an Envoy may take to be what it was told.
const patience = 60 * time.Second

const admin = "127.0.0.1:19901"

// Envoy is a running one.
type Envoy struct {
	process *exec.Cmd
	log     string
}

// bootstrap has nothing but the way to a control plane.
const bootstrap = `{
  "node": %s,
  "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 19901}}},
  "dynamic_resources": {
    "ads_config": {"api_type": "GRPC", "transport_api_version": "V3", "grpc_services": [{"envoy_grpc": {"cluster_name": "xds"}}]},
    "cds_config": {"ads": {}, "resource_api_version": "V3"}, "lds_config": {"ads": {}, "resource_api_version": "V3"}
  },
  "static_resources": {"clusters": [{
    "name": "xds", "type": "STATIC", "connect_timeout": "5s",
    "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
      "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
      "explicit_http_config": {"http2_protocol_options": {}}}},
    "load_assignment": {"cluster_name": "xds", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {
      "socket_address": {"address": "%s", "port_value": %s}}}}]}]}
  }]},
  "layered_runtime": {"layers": [{"name": "static", "static_layer": {"re2.max_program_size.error_level": 32768}}]}
}`

// start runs one on a control plane, and waits until it has done all that it was told.
func start(binary, folder, server string, node *core.Node) (*Envoy, error) {
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(node)
	if err != nil {
		return nil, err
	}
	host, port, _ := strings.Cut(server, ":")
	path := filepath.Join(folder, "bootstrap.json")
	if err := os.WriteFile(path, fmt.Appendf(nil, bootstrap, text, host, port), 0o644); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(folder, "envoy.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	e := &Envoy{exec.Command(binary, "-c", path, "--concurrency", "1", "--use-dynamic-base-id", "-l", "warning"), log.Name()}
	e.process.Stdout, e.process.Stderr = log, log
	if err := e.process.Start(); err != nil {
		return nil, err
	}
	if err := e.settle(); err != nil {
		e.end()
		return nil, err
	}
	return e, nil
}

func (e *Envoy) end() {
	_ = e.process.Process.Kill()
	_ = e.process.Wait()
}

// settle waits until clusters and listeners have come and nothing is warming. What Envoy refused is an error.
func (e *Envoy) settle() error {
	var last map[string]int
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		stats, err := counters()
		if err != nil {
			continue
		}
		last = stats
		if stats["listener_manager.lds.update_rejected"]+stats["cluster_manager.cds.update_rejected"]+stats["rejected"] > 0 {
			return fmt.Errorf("envoy refuses: %s", e.warnings())
		}
		if stats["listener_manager.lds.update_success"] > 0 && stats["cluster_manager.cds.update_success"] > 0 &&
			stats["listener_manager.total_listeners_warming"] == 0 &&
			stats["listener_manager.listener_create_success"] == stats["listener_manager.total_listeners_active"] && stats["cluster_manager.warming_clusters"] == 0 {
			return nil
		}
	}
	return fmt.Errorf("envoy did not settle: %v %s", last, e.warnings())
}

var rejected = regexp.MustCompile(`\.rds\..*update_rejected$`)

func counters() (map[string]int, error) {
	answer, err := http.Get("http://" + admin + "/stats?format=json&filter=(lds|cds|rds).*update_(success|rejected)|_warming|warming_clusters|listeners_active|create_success")
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, err
	}
	var all struct {
		Stats []struct {
			Name  string
			Value json.RawMessage
		}
	}
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, err
	}
	found := map[string]int{}
	for _, one := range all.Stats {
		value, err := strconv.Atoi(string(one.Value))
		if err != nil {
			continue
		}
		found[one.Name] = value
		if rejected.MatchString(one.Name) {
			found["rejected"] += value
		}
	}
	return found, nil
}

// warnings are the last of its log.
func (e *Envoy) warnings() string {
	text, err := os.ReadFile(e.log)
	if err != nil {
		return err.Error()
	}
	var lines []string
	for _, line := range strings.Split(string(text), "\n") {
		if strings.Contains(line, "rejected") || strings.Contains(line, "[error]") || strings.Contains(line, "[critical]") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-3):], " / ")
}
