// What the judge says without any server: which messages Istio's kinds are, and what Istio reads from a manifest.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"istio.io/istio/pilot/pkg/config/kube/crd"
	"istio.io/istio/pkg/config/schema/collections"
	"istio.io/istio/pkg/config/schema/resource"
)

// kinds gives the message of each kind that Istiod asks config sources for, by group and kind.
func kinds() map[string]string {
	all := map[string]string{}
	collections.Pilot.ForEach(func(schema resource.Schema) bool {
		all[schema.Group()+"/"+schema.Kind()] = schema.Proto()
		return false
	})
	delete(all, "/MeshConfig")
	return all
}

// schema writes the descriptors of those messages and of all that they hold: names, numbers and types, and nothing else.
func schema(out io.Writer) error {
	var files []protoreflect.FileDescriptor
	wanted := map[protoreflect.FullName]bool{}
	for _, name := range kinds() {
		found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(name))
		if err != nil {
			return fmt.Errorf("%s: %v", name, err)
		}
		reach(found.(protoreflect.MessageDescriptor), wanted)
		files = append(files, found.ParentFile())
	}
	set := &descriptorpb.FileDescriptorSet{}
	done := map[string]bool{}
	var add func(protoreflect.FileDescriptor)
	add = func(file protoreflect.FileDescriptor) {
		if done[file.Path()] {
			return
		}
		done[file.Path()] = true
		for i := 0; i < file.Imports().Len(); i++ {
			add(file.Imports().Get(i).FileDescriptor)
		}
		if pruned := prune(file, wanted); pruned != nil {
			set.File = append(set.File, pruned)
		}
	}
	sort.Slice(files, func(a, b int) bool { return files[a].Path() < files[b].Path() })
	for _, file := range files {
		add(file)
	}
	kept := map[string]bool{}
	for _, file := range set.File {
		kept[file.GetName()] = true
	}
	for _, file := range set.File {
		var imports []string
		for _, path := range file.Dependency {
			if kept[path] {
				imports = append(imports, path)
			}
		}
		file.Dependency = imports
	}
	bytes, err := proto.MarshalOptions{Deterministic: true}.Marshal(set)
	if err != nil {
		return err
	}
	_, err = out.Write(bytes)
	return err
}

// reach notes a message and all messages and enumerations in it, and those around them.
func reach(message protoreflect.MessageDescriptor, wanted map[protoreflect.FullName]bool) {
	if wanted[message.FullName()] {
		return
	}
	wanted[message.FullName()] = true
	for parent := message.Parent(); parent != nil; parent = parent.Parent() {
		if around, ok := parent.(protoreflect.MessageDescriptor); ok {
			reach(around, wanted)
		}
	}
	for i := 0; i < message.Fields().Len(); i++ {
		field := message.Fields().Get(i)
		if field.Message() != nil {
			reach(field.Message(), wanted)
		}
		if field.Enum() != nil {
			wanted[field.Enum().FullName()] = true
			if around, ok := field.Enum().Parent().(protoreflect.MessageDescriptor); ok {
				reach(around, wanted)
			}
		}
	}
}

// prune leaves what is wanted of a file, without options; nil if that is nothing.
func prune(file protoreflect.FileDescriptor, wanted map[protoreflect.FullName]bool) *descriptorpb.FileDescriptorProto {
	whole := protodesc.ToFileDescriptorProto(file)
	pruned := &descriptorpb.FileDescriptorProto{
		Name: whole.Name, Package: whole.Package, Dependency: whole.Dependency, Syntax: whole.Syntax,
	}
	name := string(file.Package())
	for _, message := range whole.MessageType {
		if wanted[protoreflect.FullName(name+"."+message.GetName())] {
			pruned.MessageType = append(pruned.MessageType, bare(message, name, wanted))
		}
	}
	for _, enum := range whole.EnumType {
		if wanted[protoreflect.FullName(name+"."+enum.GetName())] {
			pruned.EnumType = append(pruned.EnumType, bareEnum(enum))
		}
	}
	if len(pruned.MessageType)+len(pruned.EnumType) == 0 {
		return nil
	}
	return pruned
}

func bare(
	message *descriptorpb.DescriptorProto, parent string, wanted map[protoreflect.FullName]bool,
) *descriptorpb.DescriptorProto {
	name := parent + "." + message.GetName()
	var nested []*descriptorpb.DescriptorProto
	for _, inner := range message.NestedType {
		if wanted[protoreflect.FullName(name+"."+inner.GetName())] {
			nested = append(nested, bare(inner, name, wanted))
		}
	}
	var enums []*descriptorpb.EnumDescriptorProto
	for _, enum := range message.EnumType {
		if wanted[protoreflect.FullName(name+"."+enum.GetName())] {
			enums = append(enums, bareEnum(enum))
		}
	}
	// That it is a map's entry is the one option that has a meaning here.
	var options *descriptorpb.MessageOptions
	if message.GetOptions().GetMapEntry() {
		options = &descriptorpb.MessageOptions{MapEntry: proto.Bool(true)}
	}
	for _, field := range message.Field {
		field.Options = nil
		if field.GetJsonName() == jsonName(field.GetName()) {
			field.JsonName = nil
		}
	}
	for _, oneof := range message.OneofDecl {
		oneof.Options = nil
	}
	return &descriptorpb.DescriptorProto{
		Name: message.Name, Field: message.Field, NestedType: nested, EnumType: enums, OneofDecl: message.OneofDecl,
		Options: options,
	}
}

func bareEnum(enum *descriptorpb.EnumDescriptorProto) *descriptorpb.EnumDescriptorProto {
	for _, value := range enum.Value {
		value.Options = nil
	}
	return &descriptorpb.EnumDescriptorProto{Name: enum.Name, Value: enum.Value}
}

// jsonName is what a field is called in JSON where nothing else is said.
func jsonName(name string) string {
	var out strings.Builder
	upper := false
	for _, c := range name {
		switch {
		case c == '_':
			upper = true
		case upper:
			out.WriteString(strings.ToUpper(string(c)))
			upper = false
		default:
			out.WriteRune(c)
		}
	}
	return out.String()
}

type object struct {
	Kind      string            `json:"kind"`
	Namespace string            `json:"namespace"`
	Name      string            `json:"name"`
	Labels    map[string]string `json:"labels"`
	Proto     string            `json:"proto"`
	Spec      []byte            `json:"spec"`
}

// read prints what Istio reads from the manifest on standard input, checked by Istio's own validation.
func read(in io.Reader, out io.Writer) error {
	text, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	configs, others, err := crd.ParseInputs(string(text))
	if err != nil {
		return err
	}
	if len(others) > 0 {
		return fmt.Errorf("%s is no kind of Istio's", others[0].Kind)
	}
	objects := make([]object, 0)
	for _, c := range configs {
		spec, ok := c.Spec.(proto.Message)
		if !ok {
			return fmt.Errorf("%s is no message", c.GroupVersionKind.Kind)
		}
		bytes, err := proto.MarshalOptions{Deterministic: true}.Marshal(spec)
		if err != nil {
			return err
		}
		name := string(proto.MessageName(spec))
		objects = append(objects, object{c.GroupVersionKind.Kind, c.Namespace, c.Name, c.Labels, name, bytes})
	}
	return json.NewEncoder(out).Encode(objects)
}

// offline runs the word that stands for one of them, if it does.
func offline(words []string) (bool, error) {
	if len(words) == 0 {
		return false, nil
	}
	switch words[0] {
	case "kinds":
		return true, json.NewEncoder(os.Stdout).Encode(kinds())
	case "schema":
		return true, schema(os.Stdout)
	case "read":
		return true, read(os.Stdin, os.Stdout)
	case "traffic":
		return true, judgeTraffic(words[1:])
	}
	return false, nil
}
