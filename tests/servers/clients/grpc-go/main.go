// Calls a service by grpc-go, with no proxy: see tests/servers/grpc-go.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	_ "google.golang.org/grpc/xds"
)

// raw sends and takes bytes as they are.
type raw struct{}

func (raw) Marshal(v any) ([]byte, error) { return *(v.(*[]byte)), nil }
func (raw) Unmarshal(data []byte, v any) error {
	*(v.(*[]byte)) = append([]byte(nil), data...)
	return nil
}
func (raw) Name() string { return "proto" }

func main() {
	var target string
	for _, word := range os.Args[1:] {
		if value, ok := strings.CutPrefix(word, "target="); ok {
			target = value
		}
	}
	channel, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("READY")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		count, err := strconv.Atoi(words[0])
		if err != nil {
			fmt.Println("FAILED", err)
			continue
		}
		answers := map[string]int{}
		for range count {
			answers[call(channel, words[1:])]++
		}
		text, _ := json.Marshal(answers)
		fmt.Println("ANSWER", string(text))
	}
}

func call(channel *grpc.ClientConn, pairs []string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, pair := range pairs {
		key, value, _ := strings.Cut(pair, "=")
		ctx = metadata.AppendToOutgoingContext(ctx, key, value)
	}
	var question, answer []byte
	err := channel.Invoke(ctx, "/shop.Orders/Ask", &question, &answer, grpc.ForceCodec(raw{}))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return fmt.Sprintf("CODE %d", status.Code(err))
	}
	return "OK " + string(answer)
}
