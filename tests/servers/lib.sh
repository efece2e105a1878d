# Shared by the server scripts; sourced, never run. A script sets SERVER, and defines `command_line PORT DIR [WORD...]`,
# which leaves the command in the array COMMAND; it ends with: main "$@"
set -euo pipefail
SERVERS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
CACHE=${PORTOLAN_SERVERS_CACHE:-$SERVERS/../../target/servers}

fail() { echo "$SERVER: $*" >&2; exit 1; }

# classpath NAME [SOURCE...]: fetches what NAME/pom.xml names, and compiles the sources (paths from NAME), once; the class
# path is in CLASSPATH. The folder's name holds a digest of all, so that a changed pom is fetched anew. Two scripts may run
# at once.
classpath() {
    local from=$SERVERS/$1 digest done attempt
    local sources=("${@:2}")
    for tool in java javac mvn curl; do command -v $tool >/dev/null || fail "$tool is missing (openjdk-17-jdk-headless, maven, curl)"; done
    digest=$(cd "$from" && cat pom.xml "${sources[@]}" | sha256sum | cut -c1-12)
    done=$CACHE/${1##*/}-$digest
    mkdir -p "$CACHE"
    exec 9>"$CACHE/lock"
    flock -w 900 9 || fail "another script has been fetching for 15 minutes"
    if [ ! -e "$done/complete" ]; then
        mkdir -p "$done/classes"
        for attempt in 1 2 3; do
            mvn -q -B -f "$from/pom.xml" -Dmaven.repo.local="$CACHE/m2" dependency:build-classpath \
                -Dmdep.outputFile="$done/classpath" >"$done/mvn.log" 2>&1 && break
            [ $attempt -lt 3 ] || { grep -m 3 ERROR "$done/mvn.log" >&2; fail "Maven could not fetch the jars; see $done/mvn.log"; }
            sleep 3
        done
        if [ ${#sources[@]} != 0 ]; then
            (cd "$from" && javac -nowarn -cp "$(cat "$done/classpath")" -d "$done/classes" "${sources[@]}") 2>"$done/javac.log" ||
                fail "the sources of $1 do not compile; see $done/javac.log"
        fi
        touch "$done/complete"
    fi
    exec 9>&-
    CLASSPATH=$done/classes:$(cat "$done/classpath")
}

# nacos_settings PORT AUTH: what both generations of Nacos are told.
nacos_settings() {
    cat <<SETTINGS
server.address=127.0.0.1
server.error.include-message=ALWAYS
server.tomcat.basedir=file:.
nacos.core.auth.enabled=$2
nacos.core.auth.system.type=nacos
nacos.core.auth.caching.enabled=false
nacos.core.auth.server.identity.key=tests
nacos.core.auth.server.identity.value=tests
nacos.core.auth.plugin.nacos.token.secret.key=UG9ydG9sYW5Pbmx5Rm9yTG9jYWxUZXN0c19fX19fX19fX18=
nacos.core.auth.plugin.nacos.token.expire.seconds=${NACOS_TOKEN_SECONDS:-18000}
SETTINGS
}

# java_flags DIR: small, quick to start, at home in DIR.
java_flags() {
    JAVA=(java -Xms128m "-Xmx${HEAP:-384m}" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData
        "-Duser.home=$1" "-Djava.io.tmpdir=$1" "-Dnacos.home=$1" -Dnacos.standalone=true -Dnacos.server.ip=127.0.0.1)
}

main() {
    case ${1:-} in
    prepare) prepare ;;
    run)
        [ $# -ge 3 ] || fail "usage: $SERVER run PORT DIR"
        mkdir -p "$3/conf"
        local dir
        dir=$(cd "$3" && pwd)
        prepare
        command_line "$2" "$dir" "${@:4}"
        cd "$dir"
        exec "${COMMAND[@]}"
        ;;
    *) fail "usage: $SERVER prepare | run PORT DIR" ;;
    esac
}
