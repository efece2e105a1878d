# A Dubbo provider and a Dubbo consumer: what the scripts dubbo2 and dubbo3 share. A script sets LINE. See java/dubbo/shop.
#
#   dubboN prepare
#   dubboN run PORT DIR provider [KEY=VALUE...]
#   dubboN run PORT DIR consumer [KEY=VALUE...]
#
# Both print READY when they can be used.
#
# The provider listens on PORT and answers `Orders.place(order)` with "REPLY order". Dubbo refuses to announce a loopback
# address, so it announces 192.0.2.10, and listens there if that is this machine's (see netns), else on 127.0.0.1. SIGTERM
# takes it out of its registries. Its keys:
#   registry=zookeeper://127.0.0.1:2181    or nacos://127.0.0.1:8848; several with commas between; USER:PASSWORD@ and a
#                                          query as Dubbo knows them. Without it, it registers nowhere
#   protocol=dubbo    or, in Dubbo 3, tri
#   application=shop  services=orders      or orders,payments
#   group= version= weight= parameters=KEY=VALUE&KEY=VALUE    of the services
#   mode=             of Dubbo 3: all (its default), interface or instance
#   metadata=local    or remote: a metadata report goes into the first registry, too
#   reply=done  announce=192.0.2.10
#
# The consumer calls HOST:PORT, with one order per line that it reads, and prints a line for each: "ANSWER ..." or
# "FAILED ...". At the end of its input it ends, with 1 if a call has failed. Its keys:
#   host=127.0.0.1  protocol=dubbo  application=customer  group=  version=
#   tag=              what its calls say as dubbo.tag
#   registry=         finds providers there and registers itself with announce=192.0.2.10, instead of calling HOST:PORT
SERVER=dubbo$LINE
. "$SERVERS/lib.sh"

prepare() { classpath "java/dubbo-$LINE" ../dubbo/shop/{Consumer,Orders,Payments,Provider,Settings}.java; }

command_line() {
    local port=$1 dir=$2 program=${3:-}
    case $program in
    provider) program=shop.Provider ;;
    consumer) program=shop.Consumer ;;
    *) fail "usage: $SERVER run PORT DIR provider|consumer [KEY=VALUE...]" ;;
    esac
    echo "127.0.0.1 loop.test localhost $(hostname)" >"$dir/hosts"
    HEAP=${HEAP:-192m} java_flags "$dir"
    # Dubbo complains of a machine without a network at each line that it logs.
    COMMAND=("${JAVA[@]}" --add-opens=java.base/java.lang=ALL-UNNAMED --add-opens=java.base/java.util=ALL-UNNAMED
        --add-opens=java.base/java.math=ALL-UNNAMED "-Djdk.net.hosts.file=$dir/hosts" -Ddubbo.application.logger=slf4j
        -Dorg.slf4j.simpleLogger.defaultLogLevel=warn
        -Dorg.slf4j.simpleLogger.log.org.apache.dubbo.common.utils.NetUtils=off
        -cp "$CLASSPATH" "$program" "port=$port" "${@:4}")
}

main "$@"
