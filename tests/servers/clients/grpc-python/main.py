"""Calls a service by grpcio, with no proxy: see tests/servers/grpc-python."""

import json
import sys

import grpc


def ask(call, pairs):
    try:
        return "OK " + call(b"", timeout=10, metadata=pairs).decode()
    except grpc.RpcError as error:
        print(error.code(), error.details(), file=sys.stderr, flush=True)
        return f"CODE {error.code().value[0]}"


def main():
    target = dict(word.split("=", 1) for word in sys.argv[1:])["target"]
    call = grpc.insecure_channel(target).unary_unary("/shop.Orders/Ask")
    print("READY", flush=True)
    for line in sys.stdin:
        count, *pairs = line.split()
        pairs = [tuple(pair.split("=", 1)) for pair in pairs]
        answers = {}
        for _ in range(int(count)):
            answer = ask(call, pairs)
            answers[answer] = answers.get(answer, 0) + 1
        print("ANSWER", json.dumps(answers), flush=True)


main()
