// Registers an instance in Nacos, as Go programs do, until it is told to end.
package main

import (
	"bufio"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/nacos-group/nacos-sdk-go/v2/clients"
	"github.com/nacos-group/nacos-sdk-go/v2/clients/naming_client"
	"github.com/nacos-group/nacos-sdk-go/v2/common/constant"
	"github.com/nacos-group/nacos-sdk-go/v2/vo"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// settings are the keys that the script nacos-go names.
type settings map[string]string

// run reads DIR and the keys.
func run(words []string) error {
	given := settings{
		"registry": "", "name": "shop", "ip": "127.0.0.1", "port": "", "group": "DEFAULT_GROUP", "namespace": "",
		"cluster": "DEFAULT", "weight": "1", "metadata": "", "enabled": "true", "healthy": "true", "ephemeral": "true",
		"username": "", "password": "",
	}
	if err := given.take(words[1:]); err != nil {
		return err
	}
	client, err := given.client(words[0])
	if err != nil {
		return err
	}
	instance, err := given.instance()
	if err != nil {
		return err
	}
	if err := register(client, instance); err != nil {
		return err
	}
	fmt.Println("READY")
	end, failed := make(chan os.Signal, 1), make(chan error, 1)
	signal.Notify(end, syscall.SIGTERM)
	go func() { failed <- given.follow(client) }()
	for {
		select {
		case <-end:
			_, err = client.DeregisterInstance(vo.DeregisterInstanceParam{
				Ip: instance.Ip, Port: instance.Port, ServiceName: instance.ServiceName, GroupName: instance.GroupName,
				Cluster: instance.ClusterName, Ephemeral: instance.Ephemeral,
			})
			return err
		case err := <-failed:
			if err != nil {
				return err
			}
		}
	}
}

// register tries for a while: on a busy machine the client may not be connected yet, and does not wait for it.
func register(client naming_client.INamingClient, instance vo.RegisterInstanceParam) error {
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		if _, err := client.RegisterInstance(instance); err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

// follow takes the keys in each line that it reads, and updates the instance, until there are no more.
func (given settings) follow(client naming_client.INamingClient) error {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		if err := given.take(strings.Fields(lines.Text())); err != nil {
			return err
		}
		instance, err := given.instance()
		if err != nil {
			return err
		}
		if _, err := client.UpdateInstance(vo.UpdateInstanceParam(instance)); err != nil {
			return err
		}
		fmt.Println("DONE", lines.Text())
	}
	return lines.Err()
}

func (given settings) take(words []string) error {
	for _, word := range words {
		key, value, found := strings.Cut(word, "=")
		if _, known := given[key]; !found || !known {
			return fmt.Errorf("unknown: %s", word)
		}
		given[key] = value
	}
	return nil
}

func (given settings) client(folder string) (naming_client.INamingClient, error) {
	host, port, _ := strings.Cut(given["registry"], ":")
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, err
	}
	return clients.NewNamingClient(vo.NacosClientParam{
		ClientConfig: constant.NewClientConfig(
			constant.WithNamespaceId(given["namespace"]), constant.WithUsername(given["username"]),
			constant.WithPassword(given["password"]), constant.WithNotLoadCacheAtStart(true),
			constant.WithLogDir(folder+"/log.d"), constant.WithCacheDir(folder+"/cache"), constant.WithLogLevel("warn"),
		),
		ServerConfigs: []constant.ServerConfig{*constant.NewServerConfig(host, number)},
	})
}

func (given settings) instance() (vo.RegisterInstanceParam, error) {
	port, err := strconv.ParseUint(given["port"], 10, 16)
	if err != nil {
		return vo.RegisterInstanceParam{}, err
	}
	weight, err := strconv.ParseFloat(given["weight"], 64)
	if err != nil {
		return vo.RegisterInstanceParam{}, err
	}
	metadata := map[string]string{}
	for _, pair := range strings.Split(given["metadata"], "&") {
		if key, value, found := strings.Cut(pair, "="); found {
			metadata[key] = value
		}
	}
	return vo.RegisterInstanceParam{
		Ip: given["ip"], Port: port, ServiceName: given["name"], GroupName: given["group"], ClusterName: given["cluster"],
		Weight: weight, Metadata: metadata, Enable: given["enabled"] == "true", Healthy: given["healthy"] == "true",
		Ephemeral: given["ephemeral"] == "true",
	}, nil
}
