#!/bin/sh
# test_limits.sh - poor devices: what DFX_DEVICE_LIMITS makes of the OpenCL device that is there, and
# that a model runs on it.
. "$srcdir/tests/tap.sh"

dfx=${DFX:-./dfx}
work=$(mktemp -d "${TMPDIR:-/tmp}/dfx-limits.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT

if ! "$dfx" devices | grep -q '^opencl:0 '; then
    skip "limits" "no OpenCL device"
    done_testing
    exit
fi

# limited LIMITS COMMAND...
limited()
{
    DFX_DEVICE_LIMITS=$1
    export DFX_DEVICE_LIMITS
    shift
    "$@"
    code=$?
    unset DFX_DEVICE_LIMITS
    return $code
}

# field NAME LIMITS: of the first device's description.
field()
{
    limited "$2" "$dfx" devices --json | sed -n "s/.*\"$1\": *\\([^,]*\\),*$/\\1/p" | head -n 1
}

# refused LIMITS: in one line, by a command that lists devices and by one that opens one.
refused()
{
    limited "$1" "$dfx" devices >"$work/out.txt" 2>&1 && return 1
    limited "$1" "$dfx" selftest --device opencl >>"$work/out.txt" 2>&1 && return 1
    cat "$work/out.txt"
    test "$(grep -c 'DFX_DEVICE_LIMITS=.*it takes gpu, group=N' "$work/out.txt")" -eq 2 &&
        test "$(wc -l <"$work/out.txt")" -eq 2
}

for limits in group group= group=0 group=-1 group=64x group=64, ,gpu gpu=1 groups=64 local=16X \
    buffer=1e99; do
    ok "$limits is refused" refused "$limits"
done
ok "nothing is no limit" test "$(field max_group '')" = "$(field max_group gpu)"
ok "groups" test "$(field max_group group=64)" -eq 64
ok "local memory" test "$(field local_memory gpu,local=16K)" -eq 16384
ok "buffers" test "$(field max_buffer buffer=32M,group=64)" -eq 33554432
ok "it only lowers" test "$(field max_group group=4G)" = "$(field max_group gpu)"
ok "kernels for GPUs" test "$(field gpu gpu)" = true

too_small()
{
    limited "$1" "$dfx" selftest --device opencl:0 >"$work/out.txt" 2>&1 && return 1
    cat "$work/out.txt"
    grep -q "cannot be used: $2" "$work/out.txt"
}
ok "groups of 8 are too small" too_small group=8 "its work-groups are smaller than 16"
ok "and 8 KiB of local memory" too_small local=8K "it has less than 16 KiB of local memory"

# The shipped model in 128 MiB, each call compared with the native CPU.
checked_run()
{
    DFX_MEMORY_LIMIT=128M DFX_DEBUG=check "$dfx" generate "red apple" --steps 1 --seed 1 --device opencl --quiet \
        --output "$work/o.png"
}
ok "a model on a GPU with groups of 64 and 16 KiB" limited gpu,group=64,local=16K,buffer=8M \
    checked_run
ok "and with groups of 16" limited gpu,group=16,local=16K,buffer=8M checked_run
done_testing
