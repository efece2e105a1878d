// Consul as its module has it, with the one command that the tests need: `agent`.
package main

import (
	"fmt"
	"os"

	"github.com/hashicorp/consul/command/agent"
	"github.com/hashicorp/consul/command/cli"
	mitchellh "github.com/mitchellh/cli"
)

func main() {
	if len(os.Args) < 2 || os.Args[1] != "agent" {
		fmt.Fprintln(os.Stderr, "usage: consul agent FLAGS")
		os.Exit(2)
	}
	ui := &cli.BasicUI{BasicUi: mitchellh.BasicUi{Writer: os.Stdout, ErrorWriter: os.Stderr}}
	os.Exit(agent.New(ui).Run(os.Args[2:]))
}
