// Registers an instance in Nacos, as Go programs do, until it is told to end.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/nacos-group/nacos-sdk-go/v2/clients"
	"github.com/nacos-group/nacos-sdk-go/v2/common/constant"
	"github.com/nacos-group/nacos-sdk-go/v2/vo"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run reads DIR and the keys that the script nacos-go names.
func run(words []string) error {
	given := map[string]string{
		"registry": "", "name": "shop", "ip": "127.0.0.1", "port": "", "group": "DEFAULT_GROUP", "namespace": "",
		"cluster": "DEFAULT", "weight": "1", "metadata": "", "username": "", "password": "",
	}
	folder := words[0]
	for _, word := range words[1:] {
		key, value, found := strings.Cut(word, "=")
		if _, known := given[key]; !found || !known {
			return fmt.Errorf("unknown: %s", word)
		}
		given[key] = value
	}
	host, serverPort, err := address(given["registry"])
	if err != nil {
		return err
	}
	port, err := strconv.ParseUint(given["port"], 10, 16)
	if err != nil {
		return err
	}
	weight, err := strconv.ParseFloat(given["weight"], 64)
	if err != nil {
		return err
	}
	metadata := map[string]string{}
	for _, pair := range strings.Split(given["metadata"], "&") {
		if key, value, found := strings.Cut(pair, "="); found {
			metadata[key] = value
		}
	}
	client, err := clients.NewNamingClient(vo.NacosClientParam{
		ClientConfig: constant.NewClientConfig(
			constant.WithNamespaceId(given["namespace"]), constant.WithUsername(given["username"]),
			constant.WithPassword(given["password"]), constant.WithNotLoadCacheAtStart(true),
			constant.WithLogDir(folder+"/log.d"), constant.WithCacheDir(folder+"/cache"), constant.WithLogLevel("warn"),
		),
		ServerConfigs: []constant.ServerConfig{*constant.NewServerConfig(host, serverPort)},
	})
	if err != nil {
		return err
	}
	instance := vo.RegisterInstanceParam{
		Ip: given["ip"], Port: port, ServiceName: given["name"], GroupName: given["group"], ClusterName: given["cluster"],
		Weight: weight, Metadata: metadata, Enable: true, Healthy: true, Ephemeral: true,
	}
	if _, err := client.RegisterInstance(instance); err != nil {
		return err
	}
	fmt.Println("READY")
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	<-end
	_, err = client.DeregisterInstance(vo.DeregisterInstanceParam{
		Ip: given["ip"], Port: port, ServiceName: given["name"], GroupName: given["group"], Cluster: given["cluster"],
		Ephemeral: true,
	})
	return err
}

func address(text string) (string, uint64, error) {
	host, port, _ := strings.Cut(text, ":")
	number, err := strconv.ParseUint(port, 10, 16)
	return host, number, err
}
