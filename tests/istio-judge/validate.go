// Which resources Istio and Portolan refuse: both are to take a resource, or both to refuse it.
package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"istio.io/istio/pilot/pkg/config/kube/crd"
	"portolan.test/istio-judge/corpus"
	"portolan.test/istio-judge/differ"
)

// refusals are what Portolan says of resources that it does not use as they are.
type refusals struct {
	// Of which resource Istio's validation would say so, too; by `kind namespace/name`.
	invalid map[string]string
	// Which resource is refused though Istio takes it.
	beyond map[string]string
	// Which file holds no resource.
	wrong map[string]string
}

// plural are the kinds as Portolan's pages name them.
func plural(kind string) string {
	kind = strings.ToLower(kind)
	if rest, ok := strings.CutSuffix(kind, "entry"); ok {
		return rest + "entries"
	}
	return kind + "s"
}

func (t *traffic) page(path string, into any) error {
	answer, err := http.Get("http://" + t.admin + path)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, answer.Status)
	}
	return json.NewDecoder(answer.Body).Decode(into)
}

func (t *traffic) refusals() (*refusals, error) {
	var findings []struct{ Code, Kind, Name, Place, Text string }
	if err := t.page("/api/v1/findings", &findings); err != nil {
		return nil, err
	}
	var manifests []struct{ Name, State, Error string }
	if err := t.page("/api/v1/manifests", &manifests); err != nil {
		return nil, err
	}
	all := &refusals{map[string]string{}, map[string]string{}, map[string]string{}}
	for _, one := range findings {
		key, text := one.Kind+" "+one.Name, one.Place+": "+one.Text
		switch one.Code {
		case "invalid":
			all.invalid[key] = text
		case "field_refused":
			all.beyond[key] = text
		}
	}
	for _, one := range manifests {
		if one.State != "good" {
			all.wrong[one.Name] = one.Error
		}
	}
	return all, nil
}

// validated compares which resources of a case are refused; false if what Portolan refuses, and Istio takes, makes decisions
// differ.
func (t *traffic) validated(c *corpus.Case, portolan *refusals) (bool, error) {
	comparable := true
	for n, one := range c.Resources {
		text, err := json.Marshal(one.Document())
		if err != nil {
			return false, err
		}
		_, _, refused := crd.ParseInputs(string(text))
		key := plural(one.Kind) + " " + one.Namespace + "/" + one.Name
		ours := portolan.invalid[key]
		if wrong := portolan.wrong[fileOf(c, n)]; wrong != "" {
			ours = wrong
		}
		beyond := portolan.beyond[key]
		t.validations++
		switch {
		case refused != nil && ours == "" && beyond == "":
			t.differences++
			t.fault(c, "Istio refuses %s %s, and Portolan takes it: %v", one.Kind, one.Name, refused)
		case refused == nil && ours != "":
			t.differences++
			t.fault(c, "Portolan refuses %s %s as invalid, and Istio takes it: %s", one.Kind, one.Name, ours)
		case refused == nil && beyond != "":
			comparable = false
			if !differ.Refusal(beyond, t.allowed) {
				t.differences++
				t.fault(c, "Portolan refuses %s %s, and Istio takes it: %s", one.Kind, one.Name, beyond)
			}
		}
	}
	return comparable, nil
}
