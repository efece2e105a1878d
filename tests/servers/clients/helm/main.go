// Renders a Helm chart as `helm template` does, values checked by its schema, and has each document read strictly as what it says
// that it is: a field that Kubernetes does not know is an error. Prints the documents, and the notes, as JSON.
//
//	helm FOLDER [VALUES.yaml]
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path"
	"regexp"
	"sort"
	"strings"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	policy "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"
)

// What a chart gives.
type rendered struct {
	Documents []json.RawMessage `json:"documents"`
	Notes     string            `json:"notes"`
}

// The kinds that are known, each with its API version.
var kinds = map[string]func() any{
	"v1/ConfigMap":                  func() any { return &core.ConfigMap{} },
	"v1/Service":                    func() any { return &core.Service{} },
	"v1/ServiceAccount":             func() any { return &core.ServiceAccount{} },
	"apps/v1/StatefulSet":           func() any { return &apps.StatefulSet{} },
	"policy/v1/PodDisruptionBudget": func() any { return &policy.PodDisruptionBudget{} },
}

var separator = regexp.MustCompile(`(?m)^---\s*$`)

func main() {
	all, err := render(os.Args[1:])
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(all)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "helm:", err)
		os.Exit(1)
	}
}

func render(arguments []string) (*rendered, error) {
	if len(arguments) < 1 || len(arguments) > 2 {
		return nil, fmt.Errorf("usage: helm FOLDER [VALUES.yaml]")
	}
	chart, err := loader.LoadDir(arguments[0])
	if err != nil {
		return nil, err
	}
	if err := chart.Validate(); err != nil {
		return nil, err
	}
	values := chartutil.Values{}
	if len(arguments) == 2 {
		if values, err = chartutil.ReadValuesFile(arguments[1]); err != nil {
			return nil, err
		}
	}
	release := chartutil.ReleaseOptions{Name: "test", Namespace: "mesh", IsInstall: true}
	all, err := chartutil.ToRenderValues(chart, values, release, nil)
	if err != nil {
		return nil, err
	}
	files, err := engine.Engine{Strict: true}.Render(chart, all)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	sort.Strings(names)
	out := rendered{}
	for _, name := range names {
		switch {
		case path.Base(name) == "NOTES.txt":
			out.Notes = files[name]
		case strings.HasSuffix(name, ".yaml"):
			for _, text := range separator.Split(files[name], -1) {
				document, err := read(text)
				if err != nil {
					return nil, fmt.Errorf("%s: %w\n%s", name, err, text)
				}
				if document != nil {
					out.Documents = append(out.Documents, document)
				}
			}
		}
	}
	return &out, nil
}

// The document as JSON; nil where there is none.
func read(text string) (json.RawMessage, error) {
	var head struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
	}
	if err := yaml.Unmarshal([]byte(text), &head); err != nil {
		return nil, err
	}
	if head.APIVersion == "" && head.Kind == "" {
		return nil, nil
	}
	kind := head.APIVersion + "/" + head.Kind
	known, ok := kinds[kind]
	if !ok {
		return nil, fmt.Errorf("%s is not known here", kind)
	}
	if err := yaml.UnmarshalStrict([]byte(text), known()); err != nil {
		return nil, err
	}
	return yaml.YAMLToJSON([]byte(text))
}
