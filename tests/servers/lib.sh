# Shared by the server scripts; sourced, never run. A script sets SERVER, and defines `command_line PORT DIR [WORD...]`,
# which leaves the command in the array COMMAND; it ends with: main "$@"
set -euo pipefail
SERVERS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
CACHE=${PORTOLAN_SERVERS_CACHE:-$SERVERS/../../target/servers}
mkdir -p "$CACHE"
# npm takes a package behind a link for another one.
CACHE=$(cd "$CACHE" && pwd -P)

fail() { echo "$SERVER: $*" >&2; exit 1; }

# must_make NAME FILE...: is true if what is made of NAME's files (paths from NAME) has not been made; then `made` is to
# follow. FROM is NAME's folder, MADE the one for what is made; its name holds a digest, so that what was changed is made
# anew. Nothing that is made may hold the path of the cache, so that it can be moved. Two scripts may run at once.
must_make() {
    FROM=$SERVERS/$1
    MADE=$CACHE/${1##*/}-$(cd "$FROM" && cat "${@:2}" | sha256sum | cut -c1-12)
    exec 9>"$CACHE/lock"
    flock -w 900 9 || fail "another script has been fetching for 15 minutes"
    [ ! -e "$MADE/complete" ] || { exec 9>&-; return 1; }
    mkdir -p "$MADE"
}

made() {
    touch "$MADE/complete"
    exec 9>&-
}

# fetch LOG COMMAND...: up to three times, as what it fetches from may be busy.
fetch() {
    local attempt
    for attempt in 1 2 3; do
        ! "${@:2}" >"$1" 2>&1 || return 0
        [ $attempt = 3 ] || sleep 3
    done
    grep -im 3 error "$1" >&2 || tail -n 3 "$1" >&2
    fail "$2 could not fetch what it needs; see $1"
}

# classpath NAME [SOURCE...]: fetches what NAME/pom.xml names, and compiles the sources, once; the class path is in CLASSPATH.
# The file `jars` names each from the cache on, in a line of its own.
classpath() {
    local sources=("${@:2}") tool
    for tool in java javac mvn curl; do command -v $tool >/dev/null || fail "$tool is missing (openjdk-17-jdk-headless, maven, curl)"; done
    if must_make "$1" pom.xml "${sources[@]}" "$SERVERS/lib.sh"; then
        mkdir -p "$MADE/classes"
        fetch "$MADE/mvn.log" mvn -q -B -f "$FROM/pom.xml" -Dmaven.repo.local="$CACHE/m2" dependency:build-classpath \
            -Dmdep.outputFile="$MADE/classpath"
        tr : '\n' <"$MADE/classpath" | sed "s#^$CACHE/##" >"$MADE/jars"
        rm "$MADE/classpath"
        if [ ${#sources[@]} != 0 ]; then
            (cd "$FROM" && javac -nowarn -cp "$(jars)" -d "$MADE/classes" "${sources[@]}") 2>"$MADE/javac.log" ||
                fail "the sources of $1 do not compile; see $MADE/javac.log"
        fi
        made
    fi
    CLASSPATH=$MADE/classes:$(jars)
}

jars() { sed "s#^#$CACHE/#" "$MADE/jars" | paste -sd :; }

# nacos_settings PORT AUTH: the settings of both generations of Nacos. NACOS_TOKEN_KEY (base64, 32 bytes) signs tokens.
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
nacos.core.auth.plugin.nacos.token.secret.key=${NACOS_TOKEN_KEY:-UG9ydG9sYW5Pbmx5Rm9yTG9jYWxUZXN0c19fX19fX19fX18=}
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
