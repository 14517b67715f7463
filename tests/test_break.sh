#!/bin/sh
# test_break.sh - things broken on purpose: of the calls that a command makes (allocations, files,
# OpenCL; tests/break.c) one fails, and caches cannot be used. Each run ends well with the same
# result, or with status 1 and one line, and each file at its output is the old one or the whole new
# one; a run afterwards, with the same cache, is as ever.
#
# A spread of each kind's calls is broken. BREAK_STEP=1 breaks every one, which takes half an hour,
# BREAK_STEP=10 every tenth; BREAK_ONLY=WORD takes the sweeps with the word in their names.
srcdir=${srcdir:-.}
. "$srcdir/tests/tap.sh"
data=$(cd "$srcdir/tests/data" && pwd)
dfx=${BREAK_DFX:-./tests/break_dfx}
case $dfx in
    /*) ;;
    *) dfx=$PWD/$dfx ;;
esac
if ! test -x "$dfx"; then
    skip "calls that fail" "the linker has no --wrap"
    done_testing
    exit
fi
if ! test -c /dev/full; then
    skip "calls that fail" "no /dev/full"
    done_testing
    exit
fi
same_picture=$(dirname "$dfx")/same_picture
work=$(mktemp -d "$PWD/test_break.XXXXXX") || exit 1
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
cd "$work" || exit 1
XDG_CACHE_HOME=$work/cache
POCL_CACHE_DIR=${POCL_CACHE_DIR:-$work/pocl} # its own, which is not tested here
OMP_NUM_THREADS=1 # or the order of calls would change
OMP_WAIT_POLICY=passive
ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}exitcode=98
LSAN_OPTIONS=${LSAN_OPTIONS:+$LSAN_OPTIONS:}exitcode=98
export XDG_CACHE_HOME POCL_CACHE_DIR OMP_NUM_THREADS OMP_WAIT_POLICY ASAN_OPTIONS LSAN_OPTIONS
unset DFX_DEVICE DFX_DTYPE DFX_MODEL DFX_TUNE DFX_DEBUG
model=$data/tiny

# Lines of stderr that say what takes long or which other way was taken.
fallback='^dfx: \(compiling\|measuring\) kernels\|^dfx: .* does without \|^dfx: device .* has no more than '

# spread CALLS RUNS: which of the calls are broken.
spread()
{
    awk -v calls="$1" -v runs="$2" -v step="${BREAK_STEP:-0}" 'BEGIN {
        if (!step && calls > runs)
            step = calls / runs
        for (n = 1; n <= calls; n += step ? step : 1)
            print int(n)
    }'
}

# started FOLDER: the output and the cache as they are before a run.
started()
{
    rm -rf out && cp -R "$1" out
    case $forgets in
        all) rm -rf cache ;;
        faults) rm -f cache/dfxcl/*.faults.json ;;
    esac
}

# same WANT GOT: the files of a result. In less memory the CPU takes over, which rounds otherwise.
same()
{
    case $1 in
        *.png) cmp -s "$1" "$2" || "$same_picture" "$1" "$2" ;;
        *) diff -rq "$1" "$2" ;;
    esac
}

# kept FOLDER: what stands in it is in out/ too, as it was or as it is to be.
kept()
{
    for file in "$1"/* "$1"/.[!.]*; do
        name=${file##*/}
        case $name in '*' | '.[!.]*') continue ;; esac
        diff -rq "out/$name" "$before/$name" || same "want/$name" "out/$name" || return 1
    done >kept.txt 2>&1 || { cat kept.txt; return 1; }
}

# is_right CODE: whether a run may end so and leave what it left.
is_right()
{
    said=$(grep -v "$fallback" stderr.txt)
    case $1 in
        0) test -z "$said" && diff want.txt stdout.txt || return 1
            for file in want/*; do
                test ! -e "$file" || same "$file" "out/${file##*/}" || return 1
            done ;;
        1) test "$(printf '%s\n' "$said" | wc -l)" -eq 1 || return 1
            case $said in "dfx: "?*) ;; *) return 1 ;; esac ;;
        *) return 1 ;;
    esac
    kept out && kept "$before"
}

# broken KIND:N[+] FOLDER ARGUMENT...: one run, with the folder's files at its output.
broken()
{
    at=$1 before=$2
    shift 2
    started "$before"
    DFX_BREAK=$at "$dfx" "$@" >stdout.txt 2>stderr.txt
    code=$?
    if is_right $code >diff.txt; then
        eval "ended_$code=\$((ended_$code + 1))"
        test $code -eq 0 || printf '%s %s: %s\n' "$what" "$at" "$said" >>said.txt
        return 0
    fi
    echo "DFX_BREAK=$at: status $code"
    cat diff.txt stderr.txt
    return 1
}

# sweep_kind KIND[+] RUNS ARGUMENT...: breaks calls one after the other, every second time with a
# file at the output.
sweep_kind()
{
    kind=$1 runs=$2
    shift 2
    calls=$(awk -v kind="${kind%+}" '$1 == kind { print $2 }' counts.txt)
    bad=0 ended_0=0 ended_1=0
    for n in $(spread "$calls" "$runs"); do
        with=none
        test $((n % 2)) -eq 0 || with=$old
        broken "${kind%+}:$n${kind#"${kind%+}"}" "$with" "$@" || bad=$((bad + 1))
    done
    printf '# %s: %d calls, broken %d times: %d failed, %d went on, %d wrong\n' "$what: $kind" \
        "$calls" $((ended_0 + ended_1 + bad)) $ended_1 $ended_0 $bad >>"$work/report.txt"
    echo "of $calls calls"
    test $bad -eq 0 && afterwards "$@"
}

# The same run when nothing fails any more.
afterwards()
{
    forgets='' before=none
    started none
    test -z "$heals" || "$dfx" "$@" >/dev/null 2>&1
    "$dfx" "$@" >stdout.txt 2>stderr.txt
    code=$?
    cat stderr.txt
    is_right $code && test $code -eq 0
}

reference()
{
    rm -rf counts.txt out want
    mkdir out
    DFX_BREAK_COUNT=counts.txt "$dfx" "$@" >want.txt && mv out want
}

# sweep NAME "KIND=RUNS ..." ARGUMENT...: a command, which writes to out/.
sweep()
{
    what=$1 kinds=$2
    shift 2
    case $what in *"$BREAK_ONLY"*) ;; *) return ;; esac
    ok "$what" reference "$@"
    for entry in $kinds; do
        ok "$what, ${entry%=*} fails" sweep_kind "${entry%=*}" "${entry#*=}" "$@"
    done
}

mkdir -p none some hollow/o
echo old >some/o.png
echo old >some/o.safetensors
# What of the cache goes before each run; whether a run takes back what the last one left there.
forgets='' heals='' old=some

# As a whole: tiles of pictures so small are no such pictures any more.
draw()
{
    name=$1 kinds=$2
    shift 2
    sweep "$name" "$kinds" generate "a cat" --model "$model" --width 16 --height 16 --steps 1 \
        --seed 1 --quiet --tile off "$@"
}

# ---- what a command needs ----

ok "a model in one file" "$dfx" convert "$model" --to one.safetensors --dtype f16
ok "a picture with a record" "$dfx" generate "a cat" --model one.safetensors --width 16 --height 16 \
    --steps 1 --quiet --device cpu --output recorded.png

draw "a picture on the CPU" "malloc=40 malloc+=20 file=12 write=12" --device cpu --output out/o.png
draw "latents and a trace" "malloc=16 write=16" --device cpu --output out/o.png \
    --trace out/o.safetensors --save-latents out/l.safetensors
draw "a picture from a picture" "malloc=16 file=12" --device cpu --output out/o.png \
    --init-image "$data/emoji/red_apple.png" --strength 1

old=none
sweep "a model to one file" "malloc=20 file=8 write=16" convert "$model" --to out/o.safetensors \
    --dtype f16
draw "a picture from one file" "malloc=12" --device cpu --output out/o.png --model one.safetensors
old=hollow
sweep "a model to shards" "malloc=20 file=8 write=24" convert "$model" --to out/o --shard-size 500K
old=none
sweep "random numbers" "malloc=20 write=12" rng --seed 1 --shape 1,4,8,8 --out out/n.safetensors
sweep "timesteps" "malloc=12" schedule --config "$model/scheduler" --steps 4 --json
sweep "tokens" "malloc=12" tokenize --model "$model/tokenizer" "two cats"
sweep "a model's description" "malloc=20" inspect "$model" --json
sweep "a picture's record" "malloc=12 file=2" inspect recorded.png --json
sweep "devices" "malloc=8" devices --json
sweep "operators on the CPU" "malloc=12" selftest --device cpu --op linear --small

if ! "$dfx" devices | grep -q '^opencl:0 '; then
    skip "OpenCL that fails" "no OpenCL device"
    test -s report.txt && cat report.txt
    done_testing
    exit
fi

old=some
draw "a picture by OpenCL" "malloc=8 create=8 build=6 build+=3 enqueue=10 query=8 lost=12" \
    --device opencl --output out/o.png
test -n "$BREAK_ONLY" || cp want/o.png right.png
old=none forgets=faults heals=yes
sweep "an operator by OpenCL" "malloc=6 build=2 write=12 enqueue=6 lost=6" selftest \
    --device opencl --op silu
forgets=all
sweep "kernels that are compiled" "write=3" selftest --device opencl --op silu
forgets='' heals=''

# ---- caches ----

# drawn CACHE: the picture of the sweep above, without a word.
drawn()
{
    rm -f o.png
    XDG_CACHE_HOME=$1 "$dfx" generate "a cat" --model "$model" --width 16 --height 16 --steps 1 \
        --seed 1 --quiet --device opencl --output o.png >/dev/null 2>stderr.txt
    code=$?
    cat stderr.txt
    test $code -eq 0 && cmp o.png right.png && test -z "$(grep -v "$fallback" stderr.txt)"
}

# The same with each call measured, which reads and writes choices, and checked against the CPU.
measured()
{
    DFX_TUNE=all DFX_DEBUG=check "$dfx" generate "a cat" --model "$model" --width 8 --height 8 \
        --steps 1 --seed 1 --quiet --device opencl --output m.png >/dev/null 2>stderr.txt
    code=$?
    cat stderr.txt
    test $code -eq 0 && test -z "$(grep -v "$fallback" stderr.txt)"
}

# What can have become of a file of the cache.
cut_short()
{
    size=$(wc -c <"$1")
    head -c $((size / 2)) "$1" >cut && mv cut "$1"
}

emptied()
{
    : >"$1"
}

overwritten()
{
    head -c "$(wc -c <"$1")" /dev/zero | tr '\0' '{' >cut && mv cut "$1"
}

a_folder()
{
    rm "$1" && mkdir "$1"
}

a_pipe()
{
    rm "$1" && mkfifo "$1"
}

a_loop()
{
    rm "$1" && ln -s "${1##*/}" "$1"
}

# damaged "HOW ..." PATTERN COMMAND...: it works with a cache whose files of the pattern, in turn,
# are so.
damaged()
{
    hows=$1
    pattern=$2
    shift 2
    rm -rf cache && cp -R good cache
    for file in cache/dfxcl/$pattern; do
        how=${hows%% *}
        hows=${hows#"$how"}
        hows="${hows# } $how"
        hows=${hows# }
        $how "$file" || return 1
    done
    "$@"
}

ways="cut_short emptied overwritten a_folder a_pipe a_loop"

test_places()
{
    ok "a picture" drawn "$work/good"
    mkdir locked && chmod 500 locked
    ok "a cache below a file" drawn "$work/right.png/cache"
    ok "a cache that may not be written" drawn "$work/locked"
    ok "a cache in a folder that is not there" drawn "$work/none/such"
    ok "a cache whose name is too long" drawn "/$(printf '%02000d' 0)"
}

test_files()
{
    XDG_CACHE_HOME=$work/good
    ok "calls are measured" measured
    ok "and a fault is found" sh -c "DFX_BREAK=build:1+ '$dfx' selftest --device opencl --op silu \
        >/dev/null 2>&1; ls good/dfxcl/*.faults.json"
    XDG_CACHE_HOME=$work/cache
    ok "the cache has files of all kinds" ls good/dfxcl/*.bin good/dfxcl/*.json good/dfxcl/*.lock
    ok "kernels that are damaged in all ways" damaged "$ways" '*.bin' drawn "$work/cache"
    for how in $ways; do
        ok "choices, faults and locks that are $how" damaged $how '*[!n]' drawn "$work/cache"
    done
    ok "choices that are cut short are measured again" damaged cut_short '*[!n]' measured
    ok "and when they are overwritten" damaged overwritten '*[!n]' measured
}

if test -z "$BREAK_ONLY"; then
    test_places
    test_files
fi

test -s report.txt && cat report.txt
done_testing
