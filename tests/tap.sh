# tap.sh - tests in shell that print TAP: ok "what" command..., then done_testing.
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
