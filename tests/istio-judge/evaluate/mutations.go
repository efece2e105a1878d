package evaluate

import (
	"strings"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
)

// mutations are the changes of headers that one level asks for.
type mutations struct {
	add, answerAdd       []*core.HeaderValueOption
	remove, answerRemove []string
}

type mutating interface {
	GetRequestHeadersToAdd() []*core.HeaderValueOption
	GetRequestHeadersToRemove() []string
	GetResponseHeadersToAdd() []*core.HeaderValueOption
	GetResponseHeadersToRemove() []string
}

func mutationsOf(level mutating) mutations {
	return mutations{
		add: level.GetRequestHeadersToAdd(), remove: level.GetRequestHeadersToRemove(),
		answerAdd: level.GetResponseHeadersToAdd(), answerRemove: level.GetResponseHeadersToRemove(),
	}
}

// asks writes which headers the upstream gets that differ from those of the call.
func (d Decision) asks(under string, levels []mutations, call Call) {
	had := map[string]string{}
	for _, header := range call.Headers {
		had[header.Name], _ = call.value(header.Name)
	}
	has := map[string]string{}
	for name, value := range had {
		has[name] = value
	}
	for _, level := range levels {
		change(has, level.add, level.remove)
	}
	d.changed(under+"request", had, has)
}

// answers writes the same of an answer that has every header which is spoken of.
func (d Decision) answers(under string, levels []mutations) {
	had, has := map[string]string{}, map[string]string{}
	for _, level := range levels {
		for _, name := range level.answerRemove {
			had[strings.ToLower(name)] = "upstream"
		}
		for _, one := range level.answerAdd {
			had[strings.ToLower(one.GetHeader().GetKey())] = "upstream"
		}
	}
	for name, value := range had {
		has[name] = value
	}
	for _, level := range levels {
		change(has, level.answerAdd, level.answerRemove)
	}
	d.changed(under+"response", had, has)
	// An answer that has none of them.
	none := map[string]string{}
	for _, level := range levels {
		change(none, level.answerAdd, level.answerRemove)
	}
	d.changed(under+"response.bare", map[string]string{}, none)
}

func (d Decision) changed(under string, had, has map[string]string) {
	for name, value := range has {
		if was, ok := had[name]; !ok || was != value {
			d[under+"."+name] = value
		}
	}
	for name := range had {
		if _, ok := has[name]; !ok {
			d[under+"."+name] = "(removed)"
		}
	}
}

// change removes first, then adds, as Envoy does.
func change(headers map[string]string, add []*core.HeaderValueOption, remove []string) {
	for _, name := range remove {
		delete(headers, strings.ToLower(name))
	}
	for _, one := range add {
		name, value := strings.ToLower(one.GetHeader().GetKey()), one.GetHeader().GetValue()
		if value == "" {
			value = string(one.GetHeader().GetRawValue())
		}
		if value == "" && !one.GetKeepEmptyValue() {
			continue
		}
		action := one.GetAppendAction()
		if append := one.GetAppend(); append != nil && !append.GetValue() { //nolint:staticcheck // an older field of the same meaning
			action = core.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD
		}
		was, exists := headers[name]
		switch action {
		case core.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD:
			if exists {
				value = was + "," + value
			}
			headers[name] = value
		case core.HeaderValueOption_ADD_IF_ABSENT:
			if !exists {
				headers[name] = value
			}
		case core.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD:
			headers[name] = value
		case core.HeaderValueOption_OVERWRITE_IF_EXISTS:
			if exists {
				headers[name] = value
			}
		}
	}
}
