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
	// Whole says that nothing else of such a decision is compared.
	Whole  bool   `yaml:"whole"`
	Reason string `yaml:"reason"`

	field, istio, portolan *regexp.Regexp
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
		if one.Istio != nil {
			one.istio = pattern(*one.Istio)
		}
		if one.Portolan != nil {
			one.portolan = pattern(*one.Portolan)
		}
	}
	return all, nil
}

func pattern(text string) *regexp.Regexp {
	return regexp.MustCompile(`(?s)^` + strings.ReplaceAll(regexp.QuoteMeta(text), `\*`, `.*`) + `$`)
}

func (a *Allowed) fits(kind, field, istio, portolan string) bool {
	if len(a.Types) > 0 && !strings.Contains(" "+strings.Join(a.Types, " ")+" ", " "+kind+" ") {
		return false
	}
	return a.field.MatchString(field) && (a.istio == nil || a.istio.MatchString(istio)) &&
		(a.portolan == nil || a.portolan.MatchString(portolan))
}

// Difference is one that is not allowed.
type Difference struct{ Field, Istio, Portolan string }

// Compare gives the differences of two decisions that are not allowed, what decides most first.
func Compare(kind string, istio, portolan evaluate.Decision, allowed []*Allowed) []Difference {
	var left []Difference
next:
	for _, field := range evaluate.Differences(istio, portolan) {
		for _, one := range allowed {
			if one.fits(kind, field, istio[field], portolan[field]) {
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
