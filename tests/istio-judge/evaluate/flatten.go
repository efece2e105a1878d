package evaluate

import (
	"encoding/json"
	"fmt"
	"sort"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
)

// defaults are Envoy's own: a field that is written with its default means what one means that is left out. The key is
// the end of a field's name.
var defaults = []struct{ field, value string }{
	{"stream_idle_timeout", "300s"},
	{"use_remote_address", "false"},
	{"normalize_path", "false"},
	{"generate_request_id", "true"},
	{"path_with_escaped_slashes_action", "KEEP_UNCHANGED"},
	{"typed_config.use_request_id_for_trace_sampling", "true"},
	{"request_id_extension.typed_config.@type", "type.googleapis.com/envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig"},
	{"require_client_certificate", "false"},
	{"accept_http_10", "false"},
	{"connect_timeout", "5s"},
	{"type", "STATIC"},
	{"healthy_panic_threshold.value", "50"},
	{"thresholds[0].max_connections", "1024"},
	{"thresholds[0].max_pending_requests", "1024"},
	{"thresholds[0].max_requests", "1024"},
	{"thresholds[0].max_retries", "3"},
	{"outlier_detection.consecutive_5xx", "5"},
	{"outlier_detection.interval", "10s"},
	{"outlier_detection.base_ejection_time", "30s"},
	{"outlier_detection.max_ejection_percent", "10"},
	{"outlier_detection.enforcing_consecutive_5xx", "100"},
	{"outlier_detection.enforcing_success_rate", "100"},
	{"outlier_detection.enforcing_consecutive_gateway_failure", "0"},
	{"outlier_detection.consecutive_gateway_failure", "5"},
	{"outlier_detection.enforcing_local_origin_success_rate", "100"},
	{"outlier_detection.enforcing_consecutive_local_origin_failure", "100"},
	{"outlier_detection.consecutive_local_origin_failure", "5"},
	{"least_request_lb_config.choice_count", "2"},
	{"ring_hash_lb_config.minimum_ring_size", "1024"},
	{"ring_hash_lb_config.maximum_ring_size", "8388608"},
	{"maglev_lb_config.table_size", "65537"},
	{"min_weight_percent.value", "10"},
	{"aggression.default_value", "1"},
	{"retry_policy.num_retries", "1"},
	{"retry_policy.host_selection_retry_max_attempts", "1"},
	{"retry_budget.budget_percent.value", "20"},
	{"retry_budget.min_retry_concurrency", "3"},
	{"enabled.default_value.numerator", "100"},
	{"filter_enabled.default_value.numerator", "100"},
	{"shadow_enabled.default_value.numerator", "0"},
	{"allow_credentials", "false"},
	{"forward_not_matching_preflights", "true"},
	{"auto_host_rewrite", "false"},
}

func isDefault(key, value string) bool {
	for _, one := range defaults {
		if value == one.value && (key == one.field || strings.HasSuffix(key, "."+one.field)) {
			return true
		}
	}
	return false
}

// flatten writes a message below a name: each leaf a field, Envoy's defaults left out, percentages as such.
func (d Decision) flatten(name string, value proto.Message) {
	if value == nil || !value.ProtoReflect().IsValid() {
		return
	}
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(value)
	if err != nil {
		d[name] = "unreadable: " + err.Error()
		return
	}
	var tree any
	if err := json.Unmarshal(text, &tree); err != nil {
		d[name] = "unreadable: " + err.Error()
		return
	}
	d.leaves(name, tree)
}

func (d Decision) leaves(name string, tree any) {
	switch value := tree.(type) {
	case map[string]any:
		if percent, ok := fraction(value); ok {
			d[name] = percent
			return
		}
		for key, inner := range value {
			if key != "@type" || len(value) == 1 {
				d.leaves(name+"."+key, inner)
			}
		}
	case []any:
		for n, inner := range value {
			d.leaves(fmt.Sprintf("%s[%d]", name, n), inner)
		}
	case nil:
	default:
		if text := fmt.Sprint(value); !isDefault(name, text) {
			d[name] = text
		}
	}
}

// fraction reads a FractionalPercent. One without a numerator is left out by JSON; it has the denominator at most.
func fraction(value map[string]any) (string, bool) {
	per := map[string]float64{"": 1, "HUNDRED": 1, "TEN_THOUSAND": 100, "MILLION": 10000}
	denominator, _ := value["denominator"].(string)
	numerator, has := value["numerator"].(float64)
	for key := range value {
		if key != "numerator" && key != "denominator" {
			return "", false
		}
	}
	if !has && denominator == "" {
		return "", false
	}
	return fmt.Sprintf("%g%%", numerator/per[denominator]), true
}

func duration(d *durationpb.Duration) string { return fmt.Sprintf("%gs", d.AsDuration().Seconds()) }

func unpack(packed *anypb.Any, into proto.Message) error {
	if packed == nil {
		return fmt.Errorf("nothing")
	}
	return packed.UnmarshalTo(into)
}

// message is what is packed, or nil.
func message(packed *anypb.Any) proto.Message {
	if packed == nil {
		return nil
	}
	found, err := packed.UnmarshalNew()
	if err != nil {
		return nil
	}
	return found
}

func sortedKeys[V any](of map[string]V) []string {
	keys := make([]string, 0, len(of))
	for key := range of {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}
