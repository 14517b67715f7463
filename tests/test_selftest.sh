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
    DFX_DEBUG=check "$dfx" generate "red apple" --steps 1 --seed 1 --device opencl \
        --output "$work/o.png" "$@"
}

insisting()
{
    DFX_VARIANT=linear:vector checked_run
}

measured()
{
    DFX_TUNE=all checked_run
}

# break_kernel FOLDER NAME SCRIPT: kernels of the source tree, NAME.cl edited by sed.
break_kernel()
{
    mkdir "$work/$1" && cp "$srcdir"/cl/*.cl "$work/$1" && chmod -R u+w "$work/$1" &&
        sed "$3" "$srcdir/cl/$2.cl" >"$work/$1/$2.cl" &&
        ! cmp "$srcdir/cl/$2.cl" "$work/$1/$2.cl"
}

# The kernel of linear:vector, which conv2d:vector uses too, with a line at its beginning.
break_linear()
{
    break_kernel "$1" linear "s/^    room o;/    $2\\n&/"
}

# says PATTERN COMMAND...: it succeeds, and its output has the pattern.
says()
{
    pattern=$1
    shift
    "$@" >"$work/out.txt" 2>&1
    code=$?
    cat "$work/out.txt"
    test $code -eq 0 && grep -q -e "$pattern" "$work/out.txt"
}

# Without a word of a fault.
silently()
{
    "$@" >"$work/out.txt" 2>&1 && ! grep "does without" "$work/out.txt"
}

faults()
{
    cat "$XDG_CACHE_HOME"/dfxcl/*.faults.json
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

# A copy, as what follows leaves faults there.
cp -R "${XDG_CACHE_HOME:-$HOME/.cache}" "$work/kept"
XDG_CACHE_HOME=$work/kept
export XDG_CACHE_HOME

test_no_way_left()
{
    ok "a layer norm that forgets the mean" break_kernel norm layer_norm \
        's/ - mean) \* factor/) * factor/'
    DFX_KERNELS=$work/norm
    export DFX_KERNELS
    ok "is named where it stands in a model" fails_with \
        "text_encoder.layers.0.layer_norm1: layer_norm: element [0-9]* differs" checked_run
    ok "and found" fails_with "layer_norm .*FAILED" selftest --op layer_norm
    ok "with what it computes" grep -q "element [0-9]* is [-0-9.e]*, not [-0-9.e]*" "$work/out.txt"
    ok "a model says that there is no other" fails_with \
        "text_encoder.layers.0.layer_norm1: .* no layer_norm right .*--device cpu" checked_run
    ok "in one line" test "$(wc -l <"$work/out.txt")" -eq 1
    unset DFX_KERNELS
    ok "the library's own kernels are not affected" silently checked_run
}

test_another_way()
{
    ok "a linear layer that computes nothing" break_linear wrong 'return;'
    DFX_KERNELS=$work/wrong
    export DFX_KERNELS
    ok "spoils a model" fails_with "linear: element [0-9]* differs" checked_run
    ok "and is found" fails_with "linear *vector *f32 .*FAILED" selftest --op linear
    ok "alone" test -z "$(grep 'tiled.*FAILED' "$work/out.txt")"
    ok "in convolutions too" fails_with "conv2d *vector *f32 .*FAILED" selftest --op conv2d
    ok "the file says why" says '"linear:vector f32": {' faults
    ok "the model is right without it" says "does without .* linear:vector f32" checked_run
    ok "and says so in one line" test "$(grep -c "does without" "$work/out.txt")" -eq 1
    ok "DFX_VARIANT insists" fails_with "linear: element [0-9]* differs" insisting
    cp "$srcdir/cl/linear.cl" "$work/wrong/linear.cl"
    ok "once it is mended it passes" selftest --op linear
    ok "and is used again" says "does without what .* conv2d:vector f32" checked_run
    ok "alone, too" test -z "$(grep linear: "$work/out.txt")"
    unset DFX_KERNELS
}

test_no_compiling()
{
    ok "a linear layer that does not compile" break_linear torn 'not_there();'
    DFX_KERNELS=$work/torn
    export DFX_KERNELS
    ok "is done in another way" says "does without linear:vector, which fails on it" checked_run
    ok "where each call is measured, too" measured
    ok "and found" fails_with "linear *vector *f32 .*FAILED" selftest --op linear
    ok "then it is not tried" says "does without what .* linear:vector f32" checked_run
    unset DFX_KERNELS
}

test_crash()
{
    ok "a linear layer that ends the process" break_linear crash \
        '*(volatile __global int *)8 = 1;'
    DFX_KERNELS=$work/crash
    before=${ASAN_OPTIONS-}
    ASAN_OPTIONS=${before:+$before:}handle_segv=0 # it ends as it does without a sanitizer
    export DFX_KERNELS ASAN_OPTIONS
    ok "is found" fails_with "linear *vector *f32 .*FAILED" selftest --op linear
    ok "with what comes behind it" grep -q "linear *direct *bf16 .*ok" "$work/out.txt"
    ok "in convolutions too" fails_with "the process ended" selftest --op conv2d
    ok "a model is right without it" says "does without what .* linear:vector f32" checked_run
    cp "$srcdir/cl/linear.cl" "$work/crash/linear.cl"
    ok "once it is mended it passes" selftest --op linear
    ASAN_OPTIONS=$before
    unset DFX_KERNELS
}

test_no_way_left
test_another_way
test_no_compiling
test_crash
ok "a kernel file that is missing" fails_with "common.cl" env DFX_KERNELS="$work" "$dfx" selftest \
    --device opencl --op add
ok "programs are cached" sh -c "XDG_CACHE_HOME='$work/cache' '$dfx' selftest --device opencl \
    --op silu --small && ls '$work/cache/dfxcl'/*.bin"
ok "torn files are not used" torn
ok "changed files are not used" flipped
ok "two processes at once" two_at_once
ok "no temporary file is left" test -z "$(find "$work/cache" -type f ! -name '*.bin' ! -name '*.json' ! -name '*.lock')"
ok "a cache that cannot be written" caches "$work/out.txt/none"
done_testing
