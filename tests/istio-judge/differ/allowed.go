// Package differ compares the decisions of two control planes, up to a list of differences that are allowed.
package differ

import (
	"fmt"
	"os"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
	"portolan.test/istio-judge/evaluate"
)

// Allowed is a difference that is meant, with its reason. `*` stands for any text.
type Allowed struct {
	Field    string  `yaml:"field"`
	Istio    *string `yaml:"istio"`
	Portolan *string `yaml:"portolan"`
	// Types are those of proxies: router, sidecar, grpc; all by default.
	Types []string `yaml:"types"`
	// Call narrows it by the call, as it is written in reports.
	Call *string `yaml:"call"`
	// Whole says that nothing else of such a decision is compared.
	Whole  bool   `yaml:"whole"`
	Reason string `yaml:"reason"`

	field, istio, portolan, call *regexp.Regexp
	// Seen counts how often it was needed.
	Seen int `yaml:"-"`
}

// Read reads the list.
func Read(path string) ([]*Allowed, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var all []*Allowed
	decoder := yaml.NewDecoder(strings.NewReader(string(text)))
	decoder.KnownFields(true)
	if err := decoder.Decode(&all); err != nil {
		return nil, fmt.Errorf("%s: %v", path, err)
	}
	for _, one := range all {
		if one.Reason == "" || one.Field == "" {
			return nil, fmt.Errorf("%s: an allowed difference needs a field and a reason", path)
		}
		one.field = pattern(one.Field)
		one.istio, one.portolan, one.call = optional(one.Istio), optional(one.Portolan), optional(one.Call)
	}
	return all, nil
}

func optional(text *string) *regexp.Regexp {
	if text == nil {
		return nil
	}
	return pattern(*text)
}

func pattern(text string) *regexp.Regexp {
	return regexp.MustCompile(`(?s)^` + strings.ReplaceAll(regexp.QuoteMeta(text), `\*`, `.*`) + `$`)
}

func (a *Allowed) fits(kind, call, field, istio, portolan string) bool {
	if len(a.Types) > 0 && !strings.Contains(" "+strings.Join(a.Types, " ")+" ", " "+kind+" ") {
		return false
	}
	fits := func(pattern *regexp.Regexp, text string) bool { return pattern == nil || pattern.MatchString(text) }
	return a.field.MatchString(field) && fits(a.istio, istio) && fits(a.portolan, portolan) && fits(a.call, call)
}

// Refusal says whether it is meant that Portolan refuses a resource for a reason, and Istio takes it.
func Refusal(reason string, allowed []*Allowed) bool {
	for _, one := range allowed {
		if one.Field == Refused && one.fits("", "", Refused, "", reason) {
			one.Seen++
			return true
		}
	}
	return false
}

// Refused stands for a field where not a decision differs but whether a resource is taken at all.
const Refused = "refused"

// Difference is one that is not allowed.
type Difference struct{ Field, Istio, Portolan string }

// Compare gives the differences of two decisions of a call that are not allowed, what decides most first.
func Compare(kind, call string, istio, portolan evaluate.Decision, allowed []*Allowed) []Difference {
	var left []Difference
next:
	for _, field := range evaluate.Differences(istio, portolan) {
		for _, one := range allowed {
			if one.fits(kind, call, field, istio[field], portolan[field]) {
				one.Seen++
				if one.Whole {
					return nil
				}
				continue next
			}
		}
		left = append(left, Difference{field, istio[field], portolan[field]})
	}
	return left
}
