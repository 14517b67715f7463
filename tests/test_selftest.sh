#!/bin/sh
# test_selftest.sh - the native CPU's variants for each instruction set, and the OpenCL device against
# the native CPU: every operator, a kernel that is wrong, a whole model with DFX_DEBUG=check, and the
# program cache when its files are torn.
. "$srcdir/tests/tap.sh"

dfx=${DFX:-./dfx}
work=$(mktemp -d "${TMPDIR:-/tmp}/dfx-selftest.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT

for isa in base avx2 avx512 best; do
    ok "the native CPU's variants, $isa" env DFX_CPU_ISA=$isa "$dfx" selftest --device cpu
done

if ! "$dfx" devices | grep -q '^opencl:0 '; then
    skip "selftest" "no OpenCL device"
    done_testing
    exit
fi

# selftest [ARGUMENT...] on the OpenCL device
selftest()
{
    "$dfx" selftest --device opencl "$@"
}

# fails_with PATTERN COMMAND...: it fails, and its output has the pattern.
fails_with()
{
    pattern=$1
    shift
    "$@" >"$work/out.txt" 2>&1 && return 1
    cat "$work/out.txt"
    grep -q -e "$pattern" "$work/out.txt"
}

# One step of the shipped model, each call compared with the CPU as it runs.
checked_run()
{
    DFX_DEBUG=check "$dfx" generate "red apple" --steps 1 --seed 1 --device opencl --quiet \
        --output "$work/o.png" "$@"
}

# Kernels of the source tree with a layer_norm that forgets the mean.
break_layer_norm()
{
    mkdir "$work/cl" && cp "$srcdir"/cl/*.cl "$work/cl" && chmod -R u+w "$work/cl" &&
        sed 's/ - mean) \* factor/) * factor/' "$srcdir/cl/layer_norm.cl" >"$work/cl/layer_norm.cl"
}

caches()
{
    XDG_CACHE_HOME=$1 selftest --op silu --small
}


# All files of the cache cut short, then one byte of each changed.
torn()
{
    for file in "$work"/cache/dfxcl/*.bin; do
        size=$(wc -c <"$file")
        dd if="$file" of="$work/cut" bs=1 count=$((size - 7)) 2>/dev/null && mv "$work/cut" "$file"
    done
    caches "$work/cache"
}

flipped()
{
    for file in "$work"/cache/dfxcl/*.bin; do
        size=$(wc -c <"$file")
        printf '\377\376' | dd of="$file" bs=1 seek=$((size / 2)) conv=notrunc 2>/dev/null
    done
    caches "$work/cache"
}

two_at_once()
{
    rm -rf "$work/cache"
    caches "$work/cache" >"$work/one.txt" 2>&1 &
    caches "$work/cache" && wait $! && cat "$work/one.txt"
}

ok "every operator, variant and dtype" selftest
ok "linear layers without the native CPU's dot product" env DFX_CPU_ISA=base "$dfx" selftest \
    --device opencl --op linear
ok "and convolutions" env DFX_CPU_ISA=base "$dfx" selftest --device opencl --op conv2d
ok "a whole model, call by call" checked_run
ok "in bf16" checked_run --dtype bf16
ok "the kernels of a folder" env DFX_KERNELS="$srcdir/cl" "$dfx" selftest --device opencl --op add
ok "a wrong kernel is made" break_layer_norm
ok "and found" fails_with "layer_norm .*FAILED" env DFX_KERNELS="$work/cl" "$dfx" selftest \
    --device opencl --op layer_norm
DFX_KERNELS=$work/cl
export DFX_KERNELS
ok "and named where it stands in a model" fails_with \
    "text_encoder.layers.0.layer_norm1: layer_norm: element [0-9]* differs" checked_run
unset DFX_KERNELS
ok "a kernel file that is missing" fails_with "common.cl" env DFX_KERNELS="$work" "$dfx" selftest \
    --device opencl --op add
ok "programs are cached" sh -c "XDG_CACHE_HOME='$work/cache' '$dfx' selftest --device opencl \
    --op silu --small && ls '$work/cache/dfxcl'/*.bin"
ok "torn files are not used" torn
ok "changed files are not used" flipped
ok "two processes at once" two_at_once
ok "no temporary file is left" test -z "$(find "$work/cache" -type f ! -name '*.bin')"
ok "a cache that cannot be written" caches "$work/out.txt/none"
done_testing
