# tap.sh - tests in shell that print TAP: ok "what" command..., then done_testing; and what commands
# of $dfx, run in a folder of the test's own, must do.
tap_count=0
tap_failures=0

# Runs the command; its output follows as comments when it fails.
ok()
{
    tap_what=$1
    shift
    tap_count=$((tap_count + 1))
    if tap_output=$("$@" 2>&1); then
        echo "ok $tap_count - $tap_what"
    else
        tap_failures=$((tap_failures + 1))
        echo "not ok $tap_count - $tap_what"
        printf '%s\n' "$tap_output" | sed 's/^/# /'
    fi
}

skip()
{
    tap_count=$((tap_count + 1))
    echo "ok $tap_count - $1 # SKIP $2"
}

done_testing()
{
    echo "1..$tap_count"
    test "$tap_failures" -eq 0
}

# fails CODE PATTERN ARGUMENT...: that exit status, nothing on stdout, one line "PROGRAM: PATTERN".
fails()
{
    want=$1
    pattern=$2
    shift 2
    "$dfx" "$@" >out.txt 2>err.txt
    code=$?
    cat out.txt err.txt
    test "$code" -eq "$want" && test ! -s out.txt && test "$(wc -l <err.txt)" -eq 1 &&
        grep -q "^$(basename "$dfx"): $pattern" err.txt
}

# prints PATTERN ARGUMENT...: exit status 0 and the pattern on stdout.
prints()
{
    pattern=$1
    shift
    "$dfx" "$@" >out.txt 2>err.txt
    code=$?
    cat out.txt err.txt
    test "$code" -eq 0 && grep -q -e "$pattern" out.txt
}
